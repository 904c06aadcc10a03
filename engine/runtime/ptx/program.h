// A kernel made ready to run: steps that a loop calls one after the other, each for the 32 lanes of
// a warp at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/runtime/ptx/module.h"

namespace thorax::ptx {

constexpr int kLanes = 32;
constexpr std::uint32_t kAllLanes = ~0u;

enum class Kind : std::uint8_t;  // opcodes.h
struct Warp;
struct Step;
// Executes a step and returns the next one; nullptr: the warp waits or is done.
using Run = const Step* (*)(Warp&, const Step&);
// Moves data between the lanes' registers and the addresses of the host that `at` names.
using Move = void (*)(Warp&, const Step&, unsigned char* const* at);

// Operands are offsets in bytes into the warp's registers. There a register of 16 or 32 bits is an
// array of 32 std::uint32_t, one of 64 bits of 32 std::uint64_t, a predicate one std::uint32_t with
// a bit per lane. Constants and special registers are registers like others.
struct Step {
  Run run[2] = {};    // [0]: all lanes are active, [1]: some are
  Move move[2] = {};  // of loads and stores
  std::uint32_t d = 0, a = 0, b = 0, c = 0;
  const std::uint32_t* more = nullptr;  // further operands
  std::int64_t value = 0;               // an offset of an address, a number
  const Step* target = nullptr;         // of a branch
  std::uint32_t instruction = 0;        // in Function::instructions
  std::uint16_t bytes = 0;              // that one lane loads or stores
  bool address_32 = false;              // the address has 32 bits
  std::uint8_t kind = 0;                // ptx::Kind, opcodes.h
  std::uint8_t slot = 0;                // in Warp::known, of an access
};

constexpr std::size_t kSlots = 32;

// Addresses of shared and local memory as generic ones: no address of the host looks like them.
constexpr std::uint64_t kSharedWindow = std::uint64_t{1} << 60;
constexpr std::uint64_t kLocalWindow = std::uint64_t{2} << 60;
constexpr std::uint64_t kWindowMask = std::uint64_t{15} << 60;

// What a register holds when a block begins.
struct Preset {
  enum class What : std::uint8_t { constant, tid, ntid, ctaid, nctaid, lane, warp } what;
  Width width = Width::b32;
  std::uint32_t offset = 0;
  std::uint64_t bits = 0;  // the constant, or 0, 1, 2 for x, y, z
};

struct Program {
  const Module* module = nullptr;
  Function function;
  std::vector<Step> steps;
  std::vector<std::unique_ptr<std::uint32_t[]>> operands;  // what Step::more points to
  std::vector<Preset> presets;
  std::uint32_t register_bytes = 0;  // of a warp
  std::uint32_t cleared_bytes = 0;   // at its beginning: predicates, which lanes were written
  std::size_t static_shared = 0;     // bytes
  std::size_t local_bytes = 0;       // of a thread
  std::size_t parameter_bytes = 0;
  // Variables of the module, .global and .const, with their values.
  std::vector<std::vector<unsigned char>> variables;
  std::string name;  // demangled, for messages

  // "FILE.ptx:12: ld.global.f32 (kernels/x.cu:34)".
  std::string describe(std::uint32_t instruction) const;
  // What counters count it as.
  Kind kind_of(std::uint32_t instruction) const;
};

// Throws Error "[ptx] ..." with the PTX line and the source line for an instruction that is not
// known and for operands that do not fit.
std::unique_ptr<Program> make_program(const Module& module, const Module::Entry& entry);

}  // namespace thorax::ptx
