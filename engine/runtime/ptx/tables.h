// What steps.h makes for each kind of processor.
#pragma once

#include <cstddef>
#include <string_view>

#include "engine/runtime/ptx/opcodes.h"

namespace thorax::ptx {

struct AccessRow {
  Space space;
  Run run[2];
};
struct MoveRow {
  std::size_t bytes;  // of an element in memory
  bool sign;          // is brought along
  int count;
  std::size_t register_bytes;
  Move load[2], store[2];
};
struct AtomicRow {
  std::string_view name;
  std::size_t bytes;
  std::uint8_t code;
  Move move[2];
};
struct StepTables {
  const Opcode* opcodes;
  std::size_t opcode_count;
  const Builtins* builtins;
  const AccessRow* accesses;
  std::size_t access_count;
  const MoveRow* moves;
  std::size_t move_count;
  const AtomicRow* atomics;
  std::size_t atomic_count;
};
// For the processors that every build runs on, and for those with AVX-512 (nullptr: this build has
// none).
const StepTables& steps_v3();
const StepTables* steps_v4();

}  // namespace thorax::ptx
