#include "engine/runtime/ptx/opcodes.h"

#include <array>
#include <cstring>
#include <map>

#include "engine/runtime/ptx/tables.h"

namespace thorax::ptx {
namespace {

const StepTables& tables() {
  static const StepTables& chosen = []() -> const StepTables& {
#if defined(__x86_64__)
    if (steps_v4() != nullptr && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
      return *steps_v4();
#endif
    return steps_v3();
  }();
  return chosen;
}

// "u32": bytes and whether a sign is brought along; 0: no such type.
std::size_t bytes_of(std::string_view type, bool& sign) {
  if (type.size() < 2) return 0;
  sign = type[0] == 's';
  if (std::string_view("busf").find(type[0]) == type.npos) return 0;
  const std::string_view bits = type.substr(1);
  return bits == "8" ? 1 : bits == "16" ? 2 : bits == "32" ? 4 : bits == "64" ? 8 : 0;
}

}  // namespace

std::string_view name_of(Kind kind) {
  constexpr std::array<std::string_view, 21> kNames{
      "integer",   "float32",   "float64",   "conversion", "move",     "predicate", "special",
      "ld.global", "st.global", "ld.shared", "st.shared",  "ld.local", "st.local",  "ld.param",
      "atomic",    "cp.async",  "matrix",    "shuffle",    "barrier",  "control",   ""};
  return kNames[static_cast<std::size_t>(kind)];
}

const Opcode* find_opcode(std::string_view name) {
  static const std::map<std::string_view, const Opcode*>& all = *[] {
    auto* made = new std::map<std::string_view, const Opcode*>;
    for (std::size_t i = 0; i < tables().opcode_count; ++i)
      made->emplace(tables().opcodes[i].name, &tables().opcodes[i]);
    return made;
  }();
  const auto found = all.find(name);
  return found == all.end() ? nullptr : found->second;
}

const Builtins& builtins() {
  return *tables().builtins;
}

bool find_access(bool store, Space space, std::string_view type, int elements, Width width,
                 Step& step) {
  bool sign = false;
  const std::size_t bytes = bytes_of(type, sign);
  const std::size_t held = width == Width::b64 ? 8 : width == Width::predicate ? 0 : 4;
  for (std::size_t i = 0; i < tables().move_count; ++i) {
    const MoveRow& row = tables().moves[i];
    if (row.bytes != bytes || row.count != elements || row.register_bytes != held) continue;
    // The sign matters where the register is wider.
    if (!store && row.sign != (sign && bytes < held)) continue;
    if (store && row.sign) continue;
    std::memcpy(step.move, store ? row.store : row.load, sizeof(step.move));
    step.bytes = static_cast<std::uint16_t>(bytes * static_cast<std::size_t>(elements));
    for (std::size_t a = 0; a < tables().access_count; ++a)
      if (tables().accesses[a].space == space)
        std::memcpy(step.run, tables().accesses[a].run, sizeof(step.run));
    Kind kind = store ? Kind::store_global : Kind::load_global;
    if (space == Space::shared) kind = store ? Kind::store_shared : Kind::load_shared;
    if (space == Space::local) kind = store ? Kind::store_local : Kind::load_local;
    if (space == Space::param) kind = Kind::load_parameter;
    step.kind = static_cast<std::uint8_t>(kind);
    return step.run[0] != nullptr;
  }
  return false;
}

bool find_atomic(std::string_view operation, Space space, Step& step, std::uint32_t& code) {
  for (std::size_t i = 0; i < tables().atomic_count; ++i) {
    const AtomicRow& row = tables().atomics[i];
    if (row.name != operation) continue;
    std::memcpy(step.move, row.move, sizeof(step.move));
    step.bytes = static_cast<std::uint16_t>(row.bytes);
    code = row.code;
    step.kind = static_cast<std::uint8_t>(Kind::atomic);
    for (std::size_t a = 0; a < tables().access_count; ++a)
      if (tables().accesses[a].space == space)
        std::memcpy(step.run, tables().accesses[a].run, sizeof(step.run));
    return true;
  }
  return false;
}

}  // namespace thorax::ptx
