// PTX text -> module.h. A directive that is not known is an error: skipped, it might have meant
// something.
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <utility>

#include "engine/runtime/ptx/lexer.h"
#include "engine/runtime/ptx/module.h"
#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

// Bytes of a fundamental type as a directive names it, ".u32"; 0: it is none.
std::size_t bytes_of_type(std::string_view type) {
  if (type.size() < 3 || type[0] != '.' || std::string_view("busf").find(type[1]) == type.npos)
    return 0;
  const std::string_view bits = type.substr(2);
  return bits == "8" ? 1 : bits == "16" ? 2 : bits == "32" ? 4 : bits == "64" ? 8 : 0;
}

bool width_of_type(std::string_view type, Width& width) {
  if (type == ".pred") {
    width = Width::predicate;
    return true;
  }
  const std::size_t bytes = bytes_of_type(type);
  width = bytes == 2 ? Width::b16 : bytes == 4 ? Width::b32 : Width::b64;
  return bytes >= 2;
}

// [.align A] .type name[bytes] [= {...}], after the state space.
Variable read_variable(Lexer& lexer, Space space) {
  Variable variable;
  variable.space = space;
  bool aligned = false;
  if (lexer.skip(".align")) {
    variable.alignment = lexer.number();
    aligned = true;
  }
  const std::size_t element = bytes_of_type(lexer.take());
  if (element == 0) lexer.wrong("a variable of a type that is not known");
  if (!aligned) variable.alignment = element;
  variable.name = lexer.take();
  std::size_t count = 1;
  while (lexer.skip("[")) {
    count *= lexer.at("]") ? 0 : lexer.number();
    lexer.expect("]");
  }
  variable.bytes = count * element;
  if (lexer.skip("=")) {
    const bool list = lexer.skip("{");
    do {
      if (list && lexer.at("}")) break;
      const bool negative = lexer.skip("-");
      std::uint64_t value = lexer.number();
      if (negative) value = 0 - value;
      for (std::size_t i = 0; i < element; ++i)
        variable.initial.push_back(static_cast<unsigned char>(value >> (8 * i)));
    } while (list && lexer.skip(","));
    if (list) lexer.expect("}");
    if (variable.initial.size() > variable.bytes) lexer.wrong("more values than the variable has");
    variable.initial.resize(variable.bytes);
  }
  return variable;
}

bool variable_space(std::string_view word, Space& space) {
  constexpr std::array<std::pair<std::string_view, Space>, 4> kSpaces{
      std::pair{std::string_view(".shared"), Space::shared},
      {".local", Space::local},
      {".global", Space::global},
      {".const", Space::constant}};
  for (const auto& [name, of] : kSpaces)
    if (word == name) {
      space = of;
      return true;
    }
  return false;
}

class BodyParser {
 public:
  BodyParser(Lexer& lexer, Function& function) : lexer_(lexer), function_(function) {}

  void parameters() {
    lexer_.expect("(");
    std::size_t offset = 0;
    while (!lexer_.skip(")")) {
      lexer_.expect(".param");
      const Variable read = read_variable(lexer_, Space::param);
      const std::size_t a = read.alignment;
      offset = (offset + a - 1) / a * a;
      function_.parameters.push_back({read.name, read.bytes, a, offset});
      offset += read.bytes;
      lexer_.skip(",");
    }
  }

  void directives_before_body() {
    while (!lexer_.at("{")) {
      const std::string_view directive = lexer_.take();
      if (directive == ".maxntid") {
        std::uint64_t threads = lexer_.number();
        while (lexer_.skip(",")) threads *= lexer_.number();
        function_.max_threads = static_cast<std::uint32_t>(threads);
      } else if (directive == ".minnctapersm" || directive == ".maxnreg") {
        lexer_.number();  // for ptxas
      } else {
        lexer_.wrong(fmt::format("the directive '{}' of a kernel is not known", directive));
      }
    }
  }

  void body() {
    lexer_.expect("{");
    scopes_.emplace_back();
    while (!scopes_.empty()) statement();
  }

 private:
  void statement() {
    const std::string_view word = lexer_.word();
    Space space{};
    if (word.empty()) lexer_.wrong("the kernel does not end");
    if (lexer_.skip("{")) {
      scopes_.emplace_back();
    } else if (lexer_.at("}")) {
      scopes_.pop_back();
      if (!scopes_.empty()) lexer_.next();
    } else if (lexer_.skip(".reg")) {
      registers();
    } else if (lexer_.skip(".loc")) {
      location();
    } else if (lexer_.skip(".pragma")) {
      lexer_.skip_past(";");  // hints: unrolling, bytes of a vector that are used
    } else if (variable_space(word, space)) {
      lexer_.next();
      function_.variables.push_back(read_variable(lexer_, space));
      lexer_.expect(";");
    } else if (word[0] == '.') {
      lexer_.wrong(fmt::format("the directive '{}' is not known", word));
    } else if (word.back() == ':') {
      const std::string label(word.substr(0, word.size() - 1));
      if (!function_.labels.emplace(label, count()).second)
        lexer_.wrong(fmt::format("label '{}' twice", label));
      lexer_.next();
    } else if (!lexer_.skip(";")) {
      instruction();
    }
  }

  std::uint32_t count() const { return static_cast<std::uint32_t>(function_.instructions.size()); }

  void registers() {
    Width width{};
    if (!width_of_type(lexer_.take(), width)) lexer_.wrong("registers of a type that is not known");
    do {
      const std::string name(lexer_.take());
      if (lexer_.skip("<")) {
        const std::uint64_t many = lexer_.number();
        lexer_.expect(">");
        if (many > 1'000'000) lexer_.wrong("a million registers");
        for (std::uint64_t i = 0; i < many; ++i) add_register(name + std::to_string(i), width);
      } else {
        add_register(name, width);
      }
    } while (lexer_.skip(","));
    lexer_.expect(";");
  }

  void add_register(const std::string& name, Width width) {
    const auto number = static_cast<std::uint32_t>(function_.registers.size());
    if (!scopes_.back().emplace(name, number).second)
      lexer_.wrong(fmt::format("register {} twice", name));
    function_.registers.push_back({name, width});
  }

  bool find_register(std::string_view name, std::uint32_t& number) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (const auto found = scope->find(name); found != scope->end()) {
        number = found->second;
        return true;
      }
    return false;
  }

  void location() {
    source_ = {};
    source_.file = static_cast<std::uint32_t>(lexer_.number());
    source_.line = static_cast<std::uint32_t>(lexer_.number());
    lexer_.number();  // column
    while (lexer_.skip(",")) {
      if (lexer_.skip("function_name")) {
        lexer_.next();
        if (lexer_.skip("+")) lexer_.number();
      } else if (lexer_.skip("inlined_at")) {
        source_.caller_file = static_cast<std::uint32_t>(lexer_.number());
        source_.caller_line = static_cast<std::uint32_t>(lexer_.number());
        lexer_.number();
      } else {
        lexer_.wrong(fmt::format("'{}' in .loc is not known", lexer_.word()));
      }
    }
  }

  void instruction() {
    Instruction result;
    result.line = lexer_.line();
    result.source = source_;
    if (lexer_.skip("@")) {
      result.guard_negated = lexer_.skip("!");
      if (!find_register(lexer_.word(), result.guard) ||
          function_.registers[result.guard].width != Width::predicate)
        lexer_.wrong(fmt::format("the guard '{}' is no predicate", lexer_.word()));
      lexer_.next();
    }
    result.name = lexer_.take();
    while (!lexer_.skip(";")) {
      result.operands.push_back(operand());
      if (!lexer_.at(";")) lexer_.expect(",");
    }
    if (result.name == "call" || result.name.starts_with("call."))
      lexer_.wrong("'call': functions that are not inlined are not supported");
    function_.instructions.push_back(std::move(result));
  }

  Operand operand() {
    Operand result;
    if (lexer_.skip("[")) {
      result = simple();
      result.address = true;
      if (lexer_.at("+") || lexer_.at("-")) {
        bool negative = lexer_.take() == "-";
        negative ^= lexer_.skip("-");
        const auto offset = static_cast<std::int64_t>(lexer_.number());
        result.offset = negative ? -offset : offset;
      }
      lexer_.expect("]");
    } else if (lexer_.skip("{")) {
      result.kind = Operand::Kind::list;
      do result.parts.push_back(simple());
      while (lexer_.skip(","));
      lexer_.expect("}");
    } else {
      result = simple();
      if (lexer_.skip("|")) {
        Operand pair;
        pair.kind = Operand::Kind::pair;
        pair.parts = {std::move(result), simple()};
        result = std::move(pair);
      } else if (result.kind == Operand::Kind::symbol && lexer_.skip("+")) {
        result.offset = static_cast<std::int64_t>(lexer_.number());
      }
    }
    return result;
  }

  Operand simple() {
    Operand result;
    const bool negative = lexer_.skip("-");
    result.negated = lexer_.skip("!");
    const std::string_view word = lexer_.take();
    if (word.empty()) lexer_.wrong("an operand is missing");
    if (word == "_") return result;
    if (find_register(word, result.reg)) {
      result.kind = Operand::Kind::reg;
    } else if (word[0] == '%') {
      result.kind = Operand::Kind::special;
      result.name = word;
    } else if (word[0] >= '0' && word[0] <= '9') {
      constant(word, negative, result);
    } else if (word[0] == '$' || word[0] == '_' || (word[0] | 32) >= 'a') {
      result.kind = word.starts_with("$L") ? Operand::Kind::label : Operand::Kind::symbol;
      result.name = word;
    } else {
      lexer_.wrong(fmt::format("'{}' where an operand must stand", word));
    }
    return result;
  }

  // 0f and 0d: the bits of a number ("Floating-Point Constants").
  void constant(std::string_view word, bool negative, Operand& result) {
    if (word.starts_with("0f") || word.starts_with("0F") || word.starts_with("0d") ||
        word.starts_with("0D")) {
      result.kind = Operand::Kind::real;
      result.wide = (word[1] | 32) == 'd';
      std::uint64_t bits = 0;
      const char* end = word.data() + word.size();
      const auto [rest, error] = std::from_chars(word.data() + 2, end, bits, 16);
      if (error != std::errc() || rest != end || word.size() != (result.wide ? 18U : 10U))
        lexer_.wrong(fmt::format("'{}' is no number", word));
      result.bits = negative ? bits ^ (std::uint64_t{1} << (result.wide ? 63 : 31)) : bits;
      return;
    }
    result.kind = Operand::Kind::integer;
    if (!read_integer(word, result.bits)) lexer_.wrong(fmt::format("'{}' is no number", word));
    if (negative) result.bits = 0 - result.bits;
  }

  Lexer& lexer_;
  Function& function_;
  std::vector<std::map<std::string, std::uint32_t, std::less<>>> scopes_;
  Source source_;
};

}  // namespace

std::string_view name_of(Width width) {
  constexpr std::array<std::string_view, 4> kNames{"a predicate", "16 bits", "32 bits", "64 bits"};
  return kNames[static_cast<std::size_t>(width)];
}

std::string_view name_of(Space space) {
  constexpr std::array<std::string_view, 6> kNames{"generic", "global",    "shared",
                                                   "local",   "parameter", "constant"};
  return kNames[static_cast<std::size_t>(space)];
}

Module::Module(std::string path, std::string text)
    : path_(std::move(path)), text_(std::move(text)) {
  Lexer lexer(path_, text_, 1);
  lexer.expect(".version");
  lexer.next();
  lexer.expect(".target");
  const std::string_view target = lexer.take();
  const char* end = target.data() + target.size();
  if (!target.starts_with("sm_") ||
      std::from_chars(target.data() + 3, end, target_).ec != std::errc())
    lexer.wrong(fmt::format(".target '{}': sm_ and a number must stand", target));
  while (lexer.skip(",")) lexer.next();
  while (!lexer.done()) {
    const std::string_view word = lexer.take();
    Space space{};
    if (word == ".visible" || word == ".extern" || word == ".weak" || word == ";") continue;
    if (word == ".address_size") {
      if (lexer.number() != 64) lexer.wrong("addresses have 64 bits");
    } else if (word == ".entry") {
      Entry entry;
      entry.line = lexer.line();
      entry.begin = lexer.position();
      entry.name = lexer.take();
      lexer.skip_past("{");
      lexer.skip_block();
      entry.end = lexer.done() ? text_.size() : lexer.position();
      entries_.push_back(std::move(entry));
    } else if (word == ".file") {
      const auto number = static_cast<std::uint32_t>(lexer.number());
      const std::string_view quoted = lexer.take();
      files_[number] = quoted.substr(1, quoted.size() - 2);
      while (lexer.skip(",")) lexer.next();  // time and size of the file
    } else if (word == ".section") {
      lexer.skip_past("{");
      lexer.skip_block();
    } else if (variable_space(word, space)) {
      variables_.push_back(read_variable(lexer, space));
      lexer.expect(";");
    } else {
      lexer.wrong(fmt::format("'{}' is not known here", word));
    }
  }
}

const std::string& Module::file(std::uint32_t number) const {
  static const std::string unknown = "?";
  const auto found = files_.find(number);
  return found == files_.end() ? unknown : found->second;
}

std::string Module::describe(const Source& source) const {
  if (source.file == 0) return "no source line";
  std::string text = fmt::format("{}:{}", file(source.file), source.line);
  if (source.caller_file != 0)
    text += fmt::format(", called at {}:{}", file(source.caller_file), source.caller_line);
  return text;
}

Function Module::parse(const Entry& entry) const {
  Lexer lexer(path_, std::string_view(text_).substr(entry.begin, entry.end - entry.begin),
              entry.line);
  Function function;
  function.name = lexer.take();
  BodyParser body(lexer, function);
  body.parameters();
  body.directives_before_body();
  body.body();
  return function;
}

}  // namespace thorax::ptx
