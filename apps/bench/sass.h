// Machine code of NVIDIA GPUs as `cuobjdump -sass` lists it: basic blocks, loops, and what
// instructions they are made of.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace thorax::app {

// By opcode; what a pipe or a cost has in common.
enum class SassClass : std::uint8_t {
  ffma,
  float32,  // others
  half,     // two of 16 bits: HFMA2 ...
  float64,
  hmma,  // tensor cores: HMMA, IMMA, HGMMA ...
  lds,
  ldsm,
  sts,
  ldg,
  stg,
  ldgsts,  // from global to shared memory
  local,   // LDL, STL: spilled registers, arrays
  atomic,
  imad,
  integer,  // others
  move,     // MOV, SEL, S2R, CS2R ...
  conversion,
  mufu,     // special functions
  shuffle,  // and votes
  uniform,  // the uniform datapath
  barrier,  // BAR, MEMBAR, DEPBAR ...
  control,
  other,
};
constexpr std::size_t kSassClasses = static_cast<std::size_t>(SassClass::other) + 1;
std::string_view name_of(SassClass c);
// "IMAD.MOV.U32".
SassClass class_of(std::string_view opcode);

struct SassInstruction {
  std::uint32_t address = 0;  // bytes from the kernel's beginning
  std::string opcode;         // with its modifiers
  bool guarded = false;       // @P0
  std::uint32_t target = kNone;
  std::uint32_t barrier = kNone;  // of BSSY and BSYNC: B0 ...
  static constexpr std::uint32_t kNone = ~0u;
};

// A natural loop: the blocks that reach a branch back to its head, which all ways into it pass.
struct SassLoop {
  std::uint32_t head = 0;  // address
  int depth = 1;           // 1: in no other loop
  bool innermost = true;   // no other loop in it
  int blocks = 0;
  std::array<int, kSassClasses> counts{};
  int instructions() const;
  int operator[](SassClass c) const { return counts[static_cast<std::size_t>(c)]; }
};

struct SassKernel {
  std::string name;  // mangled
  int capability = 0;
  int registers = -1, shared = -1;  // of `cuobjdump -res-usage`; -1: not in the text
  std::vector<SassInstruction> instructions;
  // Outer ones before those in them; calls are taken to return, what is called is not in the loop.
  std::vector<SassLoop> loops() const;
};

// The kernels of a listing, which may have the output of `cuobjdump -res-usage` before or behind.
// Throws Error "[sass] FILE:LINE: ..." for text that is none.
std::vector<SassKernel> parse_sass(std::string_view text, const std::string& file);

}  // namespace thorax::app
