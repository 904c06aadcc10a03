// What a kernel's control flow says about its registers and branches.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/runtime/ptx/module.h"

namespace thorax::ptx {

// The registers that an instruction reads and writes.
struct Uses {
  std::vector<std::uint32_t> reads, writes;
};
Uses uses_of(const Instruction& instruction);
// Whether the first operand is a result.
bool has_result(const Instruction& instruction);
bool is_branch(const Instruction& instruction);  // bra
bool is_end(const Instruction& instruction);     // ret, exit

struct Flow {
  static constexpr std::uint32_t kNone = ~0u;
  struct Block {
    std::uint32_t begin = 0, end = 0;  // instructions
    std::vector<std::uint32_t> next, before;
    // The immediate post-dominator: where the ways that part here meet again; kNone: at the end.
    std::uint32_t meets = kNone;
    bool join = false;  // it is that of a block with a conditional branch
  };
  std::vector<Block> blocks;
  std::vector<std::uint32_t> block_at;  // of an instruction that begins one; else kNone
  // By register: from where to where its value is needed, in twice the instruction's number; a
  // result begins at the odd one. first > second: never used.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> lives;
  // By instruction: registers that it reads and that not every way to it has written.
  std::vector<std::vector<std::uint32_t>> unwritten;
};

// Throws Error "[ptx] ..." for a branch to a label that is not there.
Flow analyse(const Function& function);

}  // namespace thorax::ptx
