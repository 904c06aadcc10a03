// The instructions there are. What is not in the table is an error, never skipped.
#pragma once

#include <string_view>

#include "engine/runtime/ptx/program.h"

namespace thorax::ptx {

// What counters tell apart ("Instruction Set", by section).
enum class Kind : std::uint8_t {
  integer,
  float32,
  float64,
  conversion,
  move,
  predicate,
  special_function,
  load_global,
  store_global,
  load_shared,
  store_shared,
  load_local,
  store_local,
  load_parameter,
  atomic,
  async_copy,
  matrix,
  shuffle,
  barrier,
  control,
  none  // a step that is no instruction
};
std::string_view name_of(Kind kind);
constexpr int kKinds = static_cast<int>(Kind::none);

// `operands` has a letter for each, results first: p predicate, h 16 bits, w 32 bits, l 64 bits,
// f 32 bits whose constants are binary32, d 64 bits whose constants are binary64, i a constant,
// which goes to Step::value.
struct Opcode {
  std::string_view name;
  std::string_view operands;
  Kind kind = Kind::none;
  Run run[2] = {};
};
// nullptr when there is none.
const Opcode* find_opcode(std::string_view name);

// Steps that come from several opcodes, or from none.
struct Builtins {
  Run branch[2];  // to `target` for the lanes with predicate a
  Run branch_not[2];
  Run jump[2];
  Run join[2];    // the lanes that a branch parted meet here
  Run finish[2];  // ret, exit
  Run guard[2];   // the lanes with predicate a go on; none: to `target`
  Run guard_not[2];
  Run unguard[2];
  Run mark[2];   // register a has been written: d keeps the lanes
  Run check[2];  // that it has been
  Run copy_32[2], copy_64[2], copy_predicate[2];
  Run pack_16[2], unpack_16[2], pack_32[2], unpack_32[2];
  Run add_64[2], subtract_64[2];
};
const Builtins& builtins();

// A load or store by its space, the type in memory, elements and the width of its registers.
// Fills run, move, bytes and kind; false: there is none.
bool find_access(bool store, Space space, std::string_view type, int elements, Width width,
                 Step& step);
// atom and red: "add.u32" after the space; `code` is for Step::more.
bool find_atomic(std::string_view operation, Space space, Step& step, std::uint32_t& code);

}  // namespace thorax::ptx
