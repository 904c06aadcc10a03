// Function -> Program: registers get their places, instructions their steps.
#include "engine/runtime/ptx/program.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "engine/runtime/ptx/flow.h"
#include "engine/runtime/ptx/layout.h"
#include "engine/runtime/ptx/opcodes.h"
#include "engine/runtime/ptx/symbols.h"
#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

class Maker {
 public:
  Maker(const Module& module, Program& program)
      : program_(program), flow_(analyse(program.function)), layout_(module, program, flow_) {}

  void make() {
    for (std::uint32_t i = 0; i < function().instructions.size(); ++i) {
      first_step_.push_back(steps().size());
      if (const std::uint32_t b = flow_.block_at[i]; b != Flow::kNone && flow_.blocks[b].join)
        add(builtins().join, i, Kind::none);
      instruction(i);
    }
    first_step_.push_back(steps().size());
    add(builtins().finish, static_cast<std::uint32_t>(function().instructions.size()) - 1,
        Kind::none);
    connect();
    layout_.finish();
  }

 private:
  const Function& function() const { return program_.function; }
  std::vector<Step>& steps() { return program_.steps; }

  [[noreturn]] void wrong(const std::string& what) const {
    fail("[ptx] {}: {}: {}", program_.name, what, program_.describe(current_));
  }

  // "Special Registers".
  std::uint32_t special(const std::string& name) {
    using What = Preset::What;
    const auto dot = name.find('.');
    const std::string base = name.substr(0, dot);
    const std::uint64_t axis =
        dot == std::string::npos ? 9 : static_cast<std::uint64_t>(name[dot + 1] - 'x');
    std::optional<What> what;
    if (base == "%tid") what = What::tid;
    if (base == "%ntid") what = What::ntid;
    if (base == "%ctaid") what = What::ctaid;
    if (base == "%nctaid") what = What::nctaid;
    if (what && axis <= 2) return layout_.preset(*what, Width::b32, axis);
    if (name == "%laneid") return layout_.preset(What::lane, Width::b32, 0);
    if (name == "%warpid") return layout_.preset(What::warp, Width::b32, 0);
    wrong(fmt::format("the register {} is not known", name));
  }

  std::uint64_t symbol(const Operand& operand) const {
    const std::uint64_t* found = layout_.symbol(operand.name);
    if (found == nullptr) wrong(fmt::format("'{}' is not declared", operand.name));
    return *found + static_cast<std::uint64_t>(operand.offset);
  }

  static Width width_of(char letter) {
    return letter == 'p'                    ? Width::predicate
           : letter == 'h'                  ? Width::b16
           : letter == 'w' || letter == 'f' ? Width::b32
                                            : Width::b64;
  }

  // The place of an operand; a constant has one, too.
  std::uint32_t operand(const Operand& o, char letter, bool result) {
    const Width width = width_of(letter);
    switch (o.kind) {
      case Operand::Kind::reg: {
        const Width has = function().registers[o.reg].width;
        if (has != width)
          wrong(fmt::format("register {} has {}, not {}", function().registers[o.reg].name,
                            name_of(has), name_of(width)));
        if (o.negated) {
          if (width != Width::predicate || result) wrong("'!' where it has no meaning");
          const std::uint32_t place = layout_.predicate();
          Step& step = add(find_opcode("not.pred")->run, current_, Kind::none);
          step.a = layout_.at(o.reg);
          step.d = place;
          return place;
        }
        return layout_.at(o.reg);
      }
      case Operand::Kind::sink:
        if (result) return layout_.sink(width);
        break;
      case Operand::Kind::integer:
        if (!result) {
          if (letter == 'f')
            return layout_.constant(width, std::bit_cast<std::uint32_t>(static_cast<float>(
                                               static_cast<std::int64_t>(o.bits))));
          if (letter == 'd')
            return layout_.constant(width, std::bit_cast<std::uint64_t>(static_cast<double>(
                                               static_cast<std::int64_t>(o.bits))));
          return layout_.constant(width, o.bits);
        }
        break;
      case Operand::Kind::real:
        if (!result && (width == Width::b32 || width == Width::b64)) {
          if (o.wide != (width == Width::b64)) wrong("a constant of another precision");
          return layout_.constant(width, o.bits);
        }
        break;
      case Operand::Kind::symbol:
        if (!result) return layout_.constant(width, symbol(o));
        break;
      case Operand::Kind::special:
        if (!result && width == Width::b32) return special(o.name);
        break;
      default:
        break;
    }
    wrong("an operand of a kind that the instruction does not take");
  }

  // An address: a register with an offset, or a symbol.
  void address(const Operand& o, Step& step) {
    if (!o.address) wrong("no address where one must stand");
    if (o.kind == Operand::Kind::reg) {
      const Width width = function().registers[o.reg].width;
      if (width != Width::b32 && width != Width::b64)
        wrong("an address of 32 or 64 bits must stand");
      step.address_32 = width == Width::b32;
      step.a = layout_.at(o.reg);
      step.value = o.offset;
    } else if (o.kind == Operand::Kind::symbol) {
      step.a = layout_.constant(Width::b64, symbol(o));
    } else {
      step.a = layout_.constant(Width::b64, o.bits + static_cast<std::uint64_t>(o.offset));
    }
  }

  Step& add(const Run (&run)[2], std::uint32_t instruction, Kind kind) {
    Step& step = steps().emplace_back();
    step.run[0] = run[0];
    step.run[1] = run[1];
    step.instruction = instruction;
    step.kind = static_cast<std::uint8_t>(kind);
    return step;
  }

  std::uint8_t next_slot() {
    slot_ = (slot_ + 1) % kSlots;
    return static_cast<std::uint8_t>(slot_);
  }

  const std::uint32_t* keep(const std::vector<std::uint32_t>& list) {
    auto kept = std::make_unique<std::uint32_t[]>(std::max<std::size_t>(list.size(), 4));
    std::copy(list.begin(), list.end(), kept.get());
    program_.operands.push_back(std::move(kept));
    return program_.operands.back().get();
  }

  void instruction(std::uint32_t number) {
    current_ = number;
    const Instruction& i = function().instructions[number];
    for (const std::uint32_t r : flow_.unwritten[number]) {
      Step& step = add(builtins().check, number, Kind::none);
      step.d = *layout_.written(r);
      step.a = r;
    }
    const bool guarded = i.guard != Instruction::kNoGuard;
    if (is_branch(i) || is_end(i)) {
      ends(i, guarded);
    } else {
      std::size_t guard = 0;
      if (guarded) {
        guard = steps().size();
        add(i.guard_negated ? builtins().guard_not : builtins().guard, number, Kind::none).a =
            layout_.at(i.guard);
      }
      body(i);
      for (const std::uint32_t r : uses_of(i).writes)
        if (const std::uint32_t* lanes = layout_.written(r); lanes != nullptr)
          add(builtins().mark, number, Kind::none).d = *lanes;
      if (guarded) {
        add(builtins().unguard, number, Kind::none);
        targets_.push_back({guard, steps().size()});
      }
    }
  }

  void ends(const Instruction& i, bool guarded) {
    const std::size_t at = steps().size();
    if (!guarded && is_end(i)) {
      add(builtins().finish, current_, Kind::control);
      return;
    }
    if (guarded) {
      Step& step =
          add(i.guard_negated ? builtins().branch_not : builtins().branch, current_, Kind::control);
      step.a = layout_.at(i.guard);
      const auto block = std::find_if(flow_.blocks.begin(), flow_.blocks.end(),
                                      [&](const Flow::Block& b) { return b.end == current_ + 1; });
      joins_.push_back({at, block->meets});
    } else {
      add(builtins().jump, current_, Kind::control);
    }
    branches_.push_back({at, is_end(i) ? static_cast<std::uint32_t>(function().instructions.size())
                                       : function().labels.at(i.operands[0].name)});
  }

  void body(const Instruction& i) {
    const std::string_view name = i.name;
    if (name.starts_with("mov.")) {
      move(i);
    } else if (name.starts_with("ld.") || name.starts_with("st.")) {
      access(i);
    } else if (name.starts_with("atom.") || name.starts_with("red.")) {
      atomic(i);
    } else if (name.starts_with("cvta.")) {
      convert_address(i);
    } else {
      const Opcode* opcode = find_opcode(name);
      if (opcode == nullptr) wrong("the instruction is not known");
      if (opcode->operands.empty()) {
        special_form(i, *opcode);
      } else {
        regular(i, *opcode);
      }
    }
  }

  void regular(const Instruction& i, const Opcode& opcode) {
    if (i.operands.size() != opcode.operands.size())
      wrong(fmt::format("{} operands; {} must stand", i.operands.size(), opcode.operands.size()));
    std::vector<std::uint32_t> at;
    std::int64_t value = 0;
    for (std::size_t k = 0; k < i.operands.size(); ++k) {
      if (opcode.operands[k] == 'i') {
        if (i.operands[k].kind != Operand::Kind::integer) wrong("a constant must stand");
        value = static_cast<std::int64_t>(i.operands[k].bits);
        continue;
      }
      const bool result = k == 0 && has_result(i);
      at.push_back(!result && opcode.kind == Kind::conversion
                       ? narrowed(i.operands[k], opcode.operands[k])
                       : operand(i.operands[k], opcode.operands[k], result));
    }
    Step& step = add(opcode.run, current_, opcode.kind);
    step.value = value;
    if (!has_result(i)) at.insert(at.begin(), 0);
    at.resize(std::max<std::size_t>(at.size(), 5));
    step.d = at[0];
    step.a = at[1];
    step.b = at[2];
    step.c = at[3];
    step.more = keep({at[4]});
  }

  // cvt takes the lower bits of a source that is wider than its type ("Operand Size Exceeding
  // Instruction-Type Size").
  std::uint32_t narrowed(const Operand& o, char letter) {
    const Width wanted = width_of(letter);
    if (o.kind != Operand::Kind::reg || function().registers[o.reg].width <= wanted)
      return operand(o, letter, false);
    if (function().registers[o.reg].width == Width::b32) return layout_.at(o.reg);
    const std::uint32_t place = layout_.temporary();
    Step& step = add(find_opcode("cvt.u32.u64")->run, current_, Kind::none);
    step.a = layout_.at(o.reg);
    step.d = place;
    return place;
  }

  void move(const Instruction& i) {
    if (i.operands.size() != 2) wrong("two operands must stand");
    const Operand &to = i.operands[0], &from = i.operands[1];
    const std::string_view type = std::string_view(i.name).substr(4);
    const char letter = type == "pred"                               ? 'p'
                        : type == "f32"                              ? 'f'
                        : type == "f64"                              ? 'd'
                        : type.size() == 3 && type.substr(1) == "16" ? 'h'
                        : type.size() == 3 && type.substr(1) == "32" ? 'w'
                        : type.size() == 3 && type.substr(1) == "64" ? 'l'
                                                                     : '?';
    if (letter == '?') wrong("the instruction is not known");
    const char half = letter == 'l' ? 'w' : 'h';
    const bool lists = to.kind == Operand::Kind::list || from.kind == Operand::Kind::list;
    if (lists) {
      const Operand& list = to.kind == Operand::Kind::list ? to : from;
      if (list.parts.size() != 2 || (letter != 'w' && letter != 'l'))
        wrong("a vector of two halves must stand");
      const bool unpack = &list == &to;
      const std::uint32_t first = operand(list.parts[0], half, unpack),
                          second = operand(list.parts[1], half, unpack),
                          whole = operand(unpack ? from : to, letter, !unpack);
      const Builtins& b = builtins();
      Step& step = add(unpack ? (letter == 'l' ? b.unpack_32 : b.unpack_16)
                              : (letter == 'l' ? b.pack_32 : b.pack_16),
                       current_, Kind::move);
      step.d = unpack ? first : whole;
      step.a = unpack ? whole : first;
      step.b = second;
      return;
    }
    const std::uint32_t source = operand(from, letter, false), target = operand(to, letter, true);
    Step& step = add(letter == 'p'                    ? builtins().copy_predicate
                     : letter == 'l' || letter == 'd' ? builtins().copy_64
                                                      : builtins().copy_32,
                     current_, Kind::move);
    step.d = target;
    step.a = source;
  }

  // cvta.SPACE: the generic address of one of the space; cvta.to.SPACE: the other way.
  void convert_address(const Instruction& i) {
    std::string_view rest = std::string_view(i.name).substr(5);
    const bool from_generic = rest.starts_with("to.");
    if (from_generic) rest.remove_prefix(3);
    if (!rest.ends_with(".u64") || i.operands.size() != 2) wrong("the instruction is not known");
    rest.remove_suffix(4);
    const std::uint64_t window = rest == "shared"                      ? kSharedWindow
                                 : rest == "local"                     ? kLocalWindow
                                 : rest == "global" || rest == "const" ? 0
                                                                       : ~std::uint64_t{0};
    if (window == ~std::uint64_t{0}) wrong("the instruction is not known");
    const std::uint32_t from = operand(i.operands[1], 'l', false),
                        to = operand(i.operands[0], 'l', true);
    const std::uint32_t by = window == 0 ? 0 : layout_.constant(Width::b64, window);
    Step& step = add(window == 0    ? builtins().copy_64
                     : from_generic ? builtins().subtract_64
                                    : builtins().add_64,
                     current_, Kind::move);
    step.d = to;
    step.a = from;
    step.b = by;
  }

  void access(const Instruction& i) {
    const bool store = i.name[0] == 's';
    const AccessName parts = split_access(i.name);
    if (!parts.known || i.operands.size() != 2) wrong("the instruction is not known");
    const Operand& data = i.operands[store ? 1 : 0];
    const auto elements =
        data.kind == Operand::Kind::list ? static_cast<int>(data.parts.size()) : 1;
    if (elements != parts.elements) wrong(fmt::format("a vector of {} must stand", parts.elements));
    std::vector<std::uint32_t> list;
    Width width = Width::b32;
    for (int e = 0; e < elements; ++e) {
      const Operand& o =
          data.kind == Operand::Kind::list ? data.parts[static_cast<std::size_t>(e)] : data;
      Width has = parts.type.ends_with("64") ? Width::b64 : Width::b32;
      if (o.kind == Operand::Kind::reg) has = function().registers[o.reg].width;
      const bool real = parts.type[0] == 'f';
      list.push_back(operand(o,
                             has == Width::b16   ? 'h'
                             : has == Width::b64 ? (real ? 'd' : 'l')
                                                 : (real ? 'f' : 'w'),
                             !store));
      if (has == Width::predicate) wrong("predicates are not in memory");
      width = has;
    }
    Step step;
    if (!find_access(store, parts.space, parts.type, elements, width, step))
      wrong("the instruction is not known for registers of this width");
    address(i.operands[store ? 0 : 1], step);
    step.more = keep(list);
    step.instruction = current_;
    step.slot = next_slot();
    steps().push_back(step);
  }

  void atomic(const Instruction& i) {
    const bool result = i.name[0] == 'a';
    AccessName parts = split_atomic(i.name);
    Step step;
    std::uint32_t code = 0;
    if (!parts.known || !find_atomic(parts.type, parts.space, step, code) ||
        i.operands.size() < (result ? 3u : 2u))
      wrong("the instruction is not known");
    const std::size_t at = result ? 1 : 0;
    const bool real = parts.type.find(".f") != parts.type.npos;
    const char letter = step.bytes == 4 ? (real ? 'f' : 'w') : (real ? 'd' : 'l');
    address(i.operands[at], step);
    step.b = operand(i.operands[at + 1], letter, false);
    const bool three = parts.type.starts_with("cas.");
    if (i.operands.size() != at + (three ? 3 : 2)) wrong("another number of operands must stand");
    if (three) step.c = operand(i.operands[at + 2], letter, false);
    if (result) step.d = operand(i.operands[0], letter, true);
    step.more = keep({code, result ? 1u : 0u});
    step.instruction = current_;
    step.slot = next_slot();
    steps().push_back(step);
  }

  // Instructions whose operands are lists, pairs or optional.
  void special_form(const Instruction& i, const Opcode& opcode) {
    const auto& o = i.operands;
    Step step;
    step.run[0] = opcode.run[0];
    step.run[1] = opcode.run[1];
    step.kind = static_cast<std::uint8_t>(opcode.kind);
    step.instruction = current_;
    step.slot = next_slot();
    const auto need = [&](bool fits) {
      if (!fits) wrong("other operands must stand");
    };
    if (opcode.kind == Kind::matrix) {
      const bool product = i.name[0] == 'm';
      need(o.size() == (product ? 4u : 2u));
      std::vector<std::uint32_t> list;
      for (std::size_t k = 0; k < (product ? 4u : 1u); ++k) {
        const bool real = product && (k == 0 || k == 3);
        need(o[k].kind == Operand::Kind::list);
        for (const Operand& part : o[k].parts)
          list.push_back(operand(part, real ? 'f' : 'w', k == 0));
      }
      need(list.size() == registers_of_matrix(i.name));
      step.more = keep(list);
      if (!product) {
        address(o[1], step);
        step.bytes = 16;
      }
    } else if (opcode.kind == Kind::shuffle) {
      need(o.size() == 5);
      const bool pair = o[0].kind == Operand::Kind::pair;
      step.d = operand(pair ? o[0].parts[0] : o[0], 'w', true);
      step.a = operand(o[1], 'w', false);
      step.b = operand(o[2], 'w', false);
      step.c = operand(o[3], 'w', false);
      const std::uint32_t inside = pair ? operand(o[0].parts[1], 'p', true) : 0;
      step.more = keep({inside, operand(o[4], 'w', false)});
    } else if (i.name == "bar.sync" || i.name == "barrier.sync") {
      need(o.size() == 1 || o.size() == 2);
      step.a = operand(o[0], 'w', false);
      if (o.size() == 2) step.b = operand(o[1], 'w', false);
      step.more = keep({o.size() == 2 ? 1u : 0u});
    } else if (i.name.starts_with("cp.async.c") && i.name.ends_with(".global")) {
      need((o.size() == 3 || o.size() == 4) && o[2].kind == Operand::Kind::integer);
      need(o[2].bits == 4 || o[2].bits == 8 || o[2].bits == 16);
      Step from;
      address(o[0], step);
      address(o[1], from);
      if (from.address_32) wrong("a global address of 64 bits must stand");
      step.bytes = static_cast<std::uint16_t>(o[2].bits);
      step.b = from.a;
      step.c = o.size() == 4 ? operand(o[3], 'w', false) : layout_.constant(Width::b32, o[2].bits);
      step.more =
          keep({static_cast<std::uint32_t>(from.value), static_cast<std::uint32_t>(step.value)});
    } else {
      need(o.empty());
    }
    steps().push_back(step);
  }

  // Branches and guards get the steps that they go to.
  void connect() {
    for (const auto& [at, target] : targets_) steps()[at].target = &steps()[target];
    for (const auto& [at, instruction] : branches_)
      steps()[at].target = &steps()[first_step_[instruction]];
    for (const auto& [at, block] : joins_) {
      const std::int64_t to =
          block == Flow::kNone ? static_cast<std::int64_t>(at)
                               : static_cast<std::int64_t>(first_step_[flow_.blocks[block].begin]);
      steps()[at].more = keep({static_cast<std::uint32_t>(to - static_cast<std::int64_t>(at))});
    }
  }

  Program& program_;
  Flow flow_;
  Layout layout_;
  std::uint32_t current_ = 0;
  std::size_t slot_ = 0;
  std::vector<std::size_t> first_step_;  // of an instruction
  std::vector<std::pair<std::size_t, std::size_t>> targets_;
  std::vector<std::pair<std::size_t, std::uint32_t>> branches_, joins_;
};

}  // namespace

std::string Program::describe(std::uint32_t instruction) const {
  const Instruction& i = function.instructions[instruction];
  return fmt::format("{}:{}: {} ({})", module->path(), i.line, i.name, module->describe(i.source));
}

Kind Program::kind_of(std::uint32_t instruction) const {
  for (const Step& step : steps)
    if (step.instruction == instruction && static_cast<Kind>(step.kind) != Kind::none)
      return static_cast<Kind>(step.kind);
  return Kind::none;
}

std::unique_ptr<Program> make_program(const Module& module, const Module::Entry& entry) {
  auto program = std::make_unique<Program>();
  program->module = &module;
  program->name = demangled(entry.name);
  program->function = module.parse(entry);
  Maker(module, *program).make();
  return program;
}

}  // namespace thorax::ptx
