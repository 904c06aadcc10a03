// PTX as data: what the parser makes of the text that nvcc emits. Sections are those of NVIDIA's
// "PTX ISA", version 9.0.
//
// A register of PTX has a width and no type ("Register State Space"); the types are in the
// instructions. opcodes.h says which instructions there are and what their operands must be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace thorax::ptx {

// The widths a register may have. Registers of 16 bits occupy 32 with the upper half zero.
enum class Width : std::uint8_t { predicate, b16, b32, b64 };
std::string_view name_of(Width width);

enum class Space : std::uint8_t { generic, global, shared, local, param, constant };
std::string_view name_of(Space space);

struct Operand {
  enum class Kind : std::uint8_t {
    reg,      // %r1, !%p1
    integer,  // 12, -1, 0x1f
    real,     // 0f3F800000, 0d3FF0000000000000, 1.5
    symbol,   // a variable, a parameter
    label,    // what a branch goes to
    special,  // %tid.x
    list,     // {%f1, %f2}
    pair,     // %r1|%p1
    sink      // _
  } kind = Kind::sink;
  bool address = false;     // in brackets; `offset` counts bytes
  bool negated = false;     // !%p1
  bool wide = false;        // a real given as 0d...
  std::uint32_t reg = 0;    // in Function::registers
  std::int64_t offset = 0;  // what is added to a register or symbol
  std::uint64_t bits = 0;   // of an integer; of a real, as binary64
  std::string name;         // of a symbol, label or special register
  std::vector<Operand> parts;
};

// Where an instruction comes from (.loc, "Debugging Directives"): the line it was written on and,
// of a function that was inlined, the line it was called from; 0 where there is none.
struct Source {
  std::uint32_t file = 0, line = 0;
  std::uint32_t caller_file = 0, caller_line = 0;
  friend bool operator==(const Source&, const Source&) = default;
};

struct Instruction {
  std::string name;  // with all modifiers: "ld.global.v4.f32"
  std::vector<Operand> operands;
  static constexpr std::uint32_t kNoGuard = ~0u;
  std::uint32_t guard = kNoGuard;  // @%p1: a register
  bool guard_negated = false;      // @!%p1
  std::uint32_t line = 0;          // in the PTX file
  Source source;
};

struct Register {
  std::string name;
  Width width = Width::b32;
};

// .shared, .local, .global, .const ("State Spaces"): an array of bytes.
struct Variable {
  std::string name;
  Space space = Space::shared;
  std::size_t bytes = 0;  // 0: as many as the launch says (.extern .shared)
  std::size_t alignment = 1;
  std::vector<unsigned char> initial;  // empty: none was given
};

struct Parameter {
  std::string name;
  std::size_t bytes = 0, alignment = 1;
  std::size_t offset = 0;  // among the parameters
};

// A kernel (.entry, "Kernel and Function Directives").
struct Function {
  std::string name;
  std::vector<Parameter> parameters;
  std::vector<Register> registers;
  std::vector<Variable> variables;
  std::vector<Instruction> instructions;
  std::map<std::string, std::uint32_t, std::less<>> labels;  // the instruction after it
  std::uint32_t max_threads = 0;  // .maxntid, "Performance-Tuning Directives"; 0: not given
};

// A PTX file. Kernels are parsed when they are asked for: files of matrix kernels have megabytes.
class Module {
 public:
  // Throws Error "[ptx] PATH:LINE: ..." for text that is no PTX.
  Module(std::string path, std::string text);

  struct Entry {
    std::string name;  // mangled
    std::size_t begin = 0, end = 0;
    std::uint32_t line = 0;
  };
  const std::string& path() const { return path_; }
  int target() const { return target_; }  // 75 for sm_75
  const std::vector<Entry>& entries() const { return entries_; }
  const std::vector<Variable>& variables() const { return variables_; }
  const std::string& file(std::uint32_t number) const;
  // "kernels/conv2d/x.cu:12, called at ...:30"; what is known.
  std::string describe(const Source& source) const;
  // Throws Error "[ptx] PATH:LINE: ...".
  Function parse(const Entry& entry) const;

 private:
  std::string path_, text_;
  int target_ = 0;
  std::vector<Entry> entries_;
  std::vector<Variable> variables_;
  std::map<std::uint32_t, std::string> files_;
};

}  // namespace thorax::ptx
