#include "apps/bench/sass.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

struct Prefix {
  std::string_view text;
  SassClass of;
};
// The first that fits; whole names end with a dot, which every name is given.
using C = SassClass;
constexpr Prefix kPrefixes[] = {
    {"FFMA.", C::ffma},         {"FFMA32I.", C::ffma},    {"HMMA.", C::hmma},
    {"IMMA.", C::hmma},         {"DMMA.", C::hmma},       {"QMMA.", C::hmma},
    {"HGMMA.", C::hmma},        {"IGMMA.", C::hmma},      {"WARPGROUP.", C::barrier},
    {"BAR.", C::barrier},       {"MEMBAR.", C::barrier},  {"DEPBAR.", C::barrier},
    {"LDGDEPBAR.", C::barrier}, {"ERRBAR.", C::barrier},  {"SYNCS.", C::barrier},
    {"CCTL.", C::barrier},      {"FENCE.", C::barrier},   {"WARPSYNC.", C::barrier},
    {"NANOSLEEP.", C::barrier}, {"LDSM.", C::ldsm},       {"LDS.", C::lds},
    {"STS.", C::sts},           {"LDGSTS.", C::ldgsts},   {"UBLKCP.", C::ldgsts},
    {"UTMALDG.", C::ldgsts},    {"LDG.", C::ldg},         {"LD.", C::ldg},
    {"STG.", C::stg},           {"ST.", C::stg},          {"LDL.", C::local},
    {"STL.", C::local},         {"ATOM.", C::atomic},     {"ATOMG.", C::atomic},
    {"ATOMS.", C::atomic},      {"RED.", C::atomic},      {"REDUX.", C::shuffle},
    {"SHFL.", C::shuffle},      {"VOTE.", C::shuffle},    {"VOTEU.", C::shuffle},
    {"MATCH.", C::shuffle},     {"MUFU.", C::mufu},       {"IMAD.", C::imad},
    {"F2F.", C::conversion},    {"F2I.", C::conversion},  {"I2F.", C::conversion},
    {"F2FP.", C::conversion},   {"I2FP.", C::conversion}, {"FRND.", C::conversion},
    {"I2I.", C::conversion},    {"I2IP.", C::conversion}, {"MOV.", C::move},
    {"MOV32I.", C::move},       {"SEL.", C::move},        {"FSEL.", C::move},
    {"S2R.", C::move},          {"CS2R.", C::move},       {"P2R.", C::move},
    {"R2P.", C::move},          {"PRMT.", C::move},       {"MOVM.", C::move},
    {"S2UR.", C::uniform},      {"R2UR.", C::uniform},    {"LDC.", C::move},
    {"BRA.", C::control},       {"BRX.", C::control},     {"JMP.", C::control},
    {"CALL.", C::control},      {"RET.", C::control},     {"EXIT.", C::control},
    {"BSSY.", C::control},      {"BSYNC.", C::control},   {"BREAK.", C::control},
    {"BMOV.", C::control},      {"YIELD.", C::control},   {"NOP.", C::control},
    {"BPT.", C::control},       {"KILL.", C::control},    {"PLOP3.", C::integer},
    {"POPC.", C::integer},      {"FLO.", C::integer},     {"BREV.", C::integer},
    {"LOP3.", C::integer},      {"LEA.", C::integer},     {"SHF.", C::integer},
    {"SGXT.", C::integer},      {"BMSK.", C::integer},    {"VABSDIFF.", C::integer},
    {"VIADD.", C::integer},     {"VIMNMX.", C::integer},  {"IADD3.", C::integer},
    {"IABS.", C::integer},      {"IMNMX.", C::integer},   {"ISETP.", C::integer},
    {"IDP.", C::integer},       {"ICMP.", C::integer},    {"ISCADD.", C::integer},
    {"IADD.", C::integer},      {"LOP.", C::integer},     {"SHL.", C::integer},
    {"SHR.", C::integer},       {"FADD", C::float32},     {"FMUL", C::float32},
    {"FMNMX", C::float32},      {"FSETP.", C::float32},   {"FSET.", C::float32},
    {"FCHK.", C::float32},      {"FSWZADD.", C::float32}, {"HADD2", C::half},
    {"HMUL2", C::half},         {"HFMA2", C::half},       {"HSETP2", C::half},
    {"HSET2", C::half},         {"HMNMX2", C::half},      {"DADD", C::float64},
    {"DMUL", C::float64},       {"DFMA", C::float64},     {"DSETP", C::float64},
    {"U", C::uniform},
};

// A basic block: instructions [first, last) and where it may go on.
struct Block {
  std::size_t first, last;
  std::vector<std::size_t> next, before;
};

bool is(const SassInstruction& i, std::string_view name) {
  return i.opcode == name || (i.opcode.starts_with(name) && i.opcode[name.size()] == '.');
}

class Graph {
 public:
  explicit Graph(const std::vector<SassInstruction>& code) : code_(code) {
    if (code.empty()) return;
    std::vector<bool> begins(code.size() + 1);
    begins[0] = true;
    for (std::size_t i = 0; i < code.size(); ++i) {
      if (code[i].target != SassInstruction::kNone)
        if (const auto at = index_of(code[i].target)) begins[*at] = true;
      if (ends_block(code[i])) begins[i + 1] = true;
    }
    block_of_.resize(code.size());
    for (std::size_t i = 0; i < code.size(); ++i) {
      if (begins[i]) blocks_.push_back({i, i, {}, {}});
      block_of_[i] = blocks_.size() - 1;
      blocks_.back().last = i + 1;
    }
    for (std::size_t b = 0; b < blocks_.size(); ++b) connect(b);
    find_dominators();
  }

  // Each loop as its head and the blocks in it, by head.
  std::map<std::size_t, std::vector<bool>> loops() const {
    std::map<std::size_t, std::vector<bool>> found;
    for (std::size_t from = 0; from < blocks_.size(); ++from) {
      if (!reached(from)) continue;
      for (const std::size_t head : blocks_[from].next) {
        if (!dominates(head, from)) continue;
        auto& body = found.try_emplace(head, std::vector<bool>(blocks_.size())).first->second;
        body[head] = true;
        std::vector<std::size_t> open{from};
        while (!open.empty()) {
          const std::size_t b = open.back();
          open.pop_back();
          if (body[b]) continue;
          body[b] = true;
          for (const std::size_t p : blocks_[b].before)
            if (reached(p)) open.push_back(p);
        }
      }
    }
    return found;
  }
  const std::vector<Block>& blocks() const { return blocks_; }

 private:
  std::optional<std::size_t> index_of(std::uint32_t address) const {
    const auto at =
        std::lower_bound(code_.begin(), code_.end(), address,
                         [](const SassInstruction& i, std::uint32_t a) { return i.address < a; });
    if (at == code_.end() || at->address != address) return std::nullopt;
    return static_cast<std::size_t>(at - code_.begin());
  }
  static bool ends_block(const SassInstruction& i) {
    return is(i, "BRA") || is(i, "BRX") || is(i, "JMP") || is(i, "JMX") || is(i, "RET") ||
           is(i, "EXIT") || is(i, "BSYNC") || is(i, "KILL");
  }
  void connect(std::size_t b) {
    const SassInstruction& last = code_[blocks_[b].last - 1];
    const auto go = [&](std::size_t to) {
      blocks_[b].next.push_back(to);
      blocks_[to].before.push_back(b);
    };
    std::uint32_t target = last.target;
    const bool branch = is(last, "BRA") || is(last, "JMP");
    // Threads meet at the end of the region that BSSY opened with that barrier.
    const bool meets = is(last, "BSYNC");
    if (meets)
      for (std::size_t i = blocks_[b].last; i-- > 0;)
        if (is(code_[i], "BSSY") && code_[i].barrier == last.barrier) {
          target = code_[i].target;
          break;
        }
    bool goes = false;
    if ((branch || meets) && target != SassInstruction::kNone)
      if (const auto at = index_of(target)) {
        go(block_of_[*at]);
        goes = true;
      }
    // A branch with a condition among its operands (BRA.DIV, BRA P1, ...) is taken for guarded.
    const bool falls = !ends_block(last) || last.guarded || (meets && !goes);
    if (falls && blocks_[b].last < code_.size()) go(block_of_[blocks_[b].last]);
  }
  bool reached(std::size_t b) const { return b == 0 || dominator_[b] != kUnknown; }
  bool dominates(std::size_t a, std::size_t b) const {
    while (b != a && b != 0) b = dominator_[b];
    return b == a;
  }
  // "A Simple, Fast Dominance Algorithm", Cooper, Harvey, Kennedy.
  void find_dominators() {
    dominator_.assign(blocks_.size(), kUnknown);
    std::vector<std::size_t> order, number(blocks_.size());
    std::vector<char> seen(blocks_.size());
    std::vector<std::pair<std::size_t, std::size_t>> path{{0, 0}};
    seen[0] = 1;
    while (!path.empty()) {
      auto& [b, edge] = path.back();
      if (edge < blocks_[b].next.size()) {
        const std::size_t to = blocks_[b].next[edge++];
        if (seen[to] == 0) {
          seen[to] = 1;
          path.emplace_back(to, 0);
        }
        continue;
      }
      number[b] = order.size();
      order.push_back(b);
      path.pop_back();
    }
    dominator_[0] = 0;
    for (bool changed = true; changed;) {
      changed = false;
      for (auto at = order.rbegin(); at != order.rend(); ++at) {
        if (*at == 0) continue;
        std::size_t common = kUnknown;
        for (const std::size_t p : blocks_[*at].before) {
          if (dominator_[p] == kUnknown) continue;
          if (common == kUnknown) {
            common = p;
            continue;
          }
          std::size_t other = p;
          while (common != other) {
            while (number[common] < number[other]) common = dominator_[common];
            while (number[other] < number[common]) other = dominator_[other];
          }
        }
        if (common != kUnknown && dominator_[*at] != common) {
          dominator_[*at] = common;
          changed = true;
        }
      }
    }
  }

  static constexpr std::size_t kUnknown = ~std::size_t{0};
  const std::vector<SassInstruction>& code_;
  std::vector<Block> blocks_;
  std::vector<std::size_t> block_of_, dominator_;
};

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// The number at the beginning of the text, in that base; what it is followed by does not matter.
std::optional<std::uint32_t> number(std::string_view text, int base) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// "@!P0 BRA P1, 0x2830".
SassInstruction instruction(std::string_view text, std::uint32_t address) {
  SassInstruction i;
  i.address = address;
  if (text.starts_with('@')) {
    i.guarded = true;
    text = trimmed(text.substr(std::min(text.find(' '), text.size())));
  }
  const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
  i.opcode = text.substr(0, end);
  const std::string_view operands = trimmed(text.substr(end));
  if (is(i, "BRA") || is(i, "JMP") || is(i, "BSSY")) {
    if (const std::size_t at = operands.rfind("0x"); at != operands.npos)
      i.target = number(operands.substr(at + 2), 16).value_or(SassInstruction::kNone);
    // A predicate or a mask of threads before the target; not .U, which holds for all alike.
    if (!is(i, "BSSY") && operands.find(',') != operands.npos) i.guarded = true;
  }
  if ((is(i, "BSSY") || is(i, "BSYNC")))
    if (const std::size_t at = operands.find('B'); at != operands.npos)
      i.barrier = number(operands.substr(at + 1), 10).value_or(SassInstruction::kNone);
  return i;
}

}  // namespace

std::string_view name_of(SassClass c) {
  constexpr std::array<std::string_view, kSassClasses> kNames{
      "ffma",       "float32", "half",    "float64", "hmma",    "lds",     "ldsm",    "sts",
      "ldg",        "stg",     "ldgsts",  "local",   "atomic",  "imad",    "integer", "move",
      "conversion", "mufu",    "shuffle", "uniform", "barrier", "control", "other"};
  return kNames[static_cast<std::size_t>(c)];
}

SassClass class_of(std::string_view opcode) {
  const std::string name = std::string(opcode) + ".";
  for (const Prefix& p : kPrefixes)
    if (name.starts_with(p.text)) return p.of;
  return SassClass::other;
}

int SassLoop::instructions() const {
  return std::accumulate(counts.begin(), counts.end(), 0);
}

std::vector<SassLoop> SassKernel::loops() const {
  const Graph graph(instructions);
  const auto found = graph.loops();
  std::vector<SassLoop> result;
  for (const auto& [head, body] : found) {
    SassLoop loop;
    loop.head = instructions[graph.blocks()[head].first].address;
    for (std::size_t b = 0; b < body.size(); ++b) {
      if (!body[b]) continue;
      ++loop.blocks;
      for (std::size_t i = graph.blocks()[b].first; i < graph.blocks()[b].last; ++i)
        ++loop.counts[static_cast<std::size_t>(class_of(instructions[i].opcode))];
    }
    for (const auto& [other, around] : found) {
      if (other == head) continue;
      if (around[head]) ++loop.depth;
      if (body[other]) loop.innermost = false;
    }
    result.push_back(loop);
  }
  // A branch to itself behind the end only fills space; it is not reached and so no loop.
  std::stable_sort(result.begin(), result.end(), [](const SassLoop& a, const SassLoop& b) {
    return std::pair(a.depth, a.head) < std::pair(b.depth, b.head);
  });
  return result;
}

std::vector<SassKernel> parse_sass(std::string_view text, const std::string& file) {
  std::vector<SassKernel> kernels;
  std::map<std::pair<int, std::string>, std::pair<int, int>> resources;
  int capability = 0, line_number = 0;
  bool open = false;         // a kernel's instructions follow
  std::string resources_of;  // whose numbers follow
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
    ++line_number;
    const auto wrong = [&](const std::string& what) {
      fail("[sass] {}:{}: {}; wanted is the output of `cuobjdump -sass`", file, line_number, what);
    };
    const std::size_t arch = line.find("sm_");
    if (arch != line.npos && (line.starts_with("code for") || line.starts_with("arch ="))) {
      const auto value = number(line.substr(arch + 3), 10);
      if (!value || *value > 999) wrong(fmt::format("an architecture is 'sm_' and a number"));
      capability = static_cast<int>(*value);
      open = false;
    } else if (line.starts_with("Function :")) {
      if (capability == 0) wrong("a function before any 'code for sm_...'");
      SassKernel kernel;
      kernel.name = trimmed(line.substr(10));
      if (kernel.name.empty()) wrong("a function without a name");
      kernel.capability = capability;
      kernels.push_back(std::move(kernel));
      open = true;
    } else if (line.starts_with("Function ") && line.ends_with(':')) {
      resources_of = trimmed(line.substr(9, line.size() - 10));
    } else if (line.starts_with("REG:") && !resources_of.empty()) {
      const std::size_t shared = line.find("SHARED:");
      const auto registers = number(line.substr(4), 10);
      const auto bytes = shared == line.npos ? std::optional<std::uint32_t>(0)
                                             : number(line.substr(shared + 7), 10);
      if (!registers || !bytes || *registers > 1024 || *bytes > 1u << 24)
        wrong("registers and shared memory of a function are small numbers");
      resources[{capability, resources_of}] = {static_cast<int>(*registers),
                                               static_cast<int>(*bytes)};
      resources_of.clear();
    } else if (line.starts_with("/*") && line.size() > 2 && line[2] != ' ') {
      const std::size_t close = line.find("*/");
      const auto address = number(line.substr(2), 16);
      if (close == line.npos || !address) wrong("an instruction without its address");
      if (!open) wrong("an instruction outside a function");
      std::string_view body = line.substr(close + 2);
      body = trimmed(body.substr(0, body.find("/*")));
      // Two that are issued together stand in braces on some architectures.
      while (!body.empty() && (body.front() == '{' || body.front() == ' ')) body.remove_prefix(1);
      body = trimmed(body.substr(0, body.find(';')));
      if (body.empty()) wrong("an address without an instruction");
      auto& code = kernels.back().instructions;
      if (!code.empty() && *address <= code.back().address)
        wrong("an address that is not behind the one before it");
      code.push_back(instruction(body, *address));
      if (code.back().opcode.empty()) wrong("a guard without an instruction");
    }
  }
  THORAX_CHECK(!kernels.empty(),
               "[sass] {}: there is no function; wanted is the output of `cuobjdump -sass`", file);
  // Of a cubin, which has one architecture, -res-usage does not say which.
  for (SassKernel& kernel : kernels)
    for (const int of : {0, kernel.capability})
      if (const auto found = resources.find({of, kernel.name}); found != resources.end())
        std::tie(kernel.registers, kernel.shared) = found->second;
  return kernels;
}

}  // namespace thorax::app
