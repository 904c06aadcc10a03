#include "engine/runtime/ptx/flow.h"

#include <algorithm>
#include <string_view>

#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

// Sets of registers.
class Bits {
 public:
  explicit Bits(std::size_t size, bool value = false)
      : words_((size + 63) / 64, value ? ~std::uint64_t{0} : 0) {}
  bool has(std::uint32_t i) const { return (words_[i / 64] >> (i % 64) & 1) != 0; }
  void add(std::uint32_t i) { words_[i / 64] |= std::uint64_t{1} << (i % 64); }
  void remove(std::uint32_t i) { words_[i / 64] &= ~(std::uint64_t{1} << (i % 64)); }
  // this = gained | (from & ~without); whether it changed.
  bool flow(const Bits& gained, const Bits& from, const Bits& without) {
    bool changed = false;
    for (std::size_t w = 0; w < words_.size(); ++w) {
      const std::uint64_t value = gained.words_[w] | (from.words_[w] & ~without.words_[w]);
      changed |= value != words_[w];
      words_[w] = value;
    }
    return changed;
  }
  void unite(const Bits& other) {
    for (std::size_t w = 0; w < words_.size(); ++w) words_[w] |= other.words_[w];
  }
  void intersect(const Bits& other) {
    for (std::size_t w = 0; w < words_.size(); ++w) words_[w] &= other.words_[w];
  }

 private:
  std::vector<std::uint64_t> words_;
};

void collect(const Operand& operand, std::vector<std::uint32_t>& to) {
  if (operand.kind == Operand::Kind::reg) to.push_back(operand.reg);
  for (const Operand& part : operand.parts) collect(part, to);
}

std::uint32_t label_of(const Function& function, const Instruction& instruction) {
  const auto found = instruction.operands.size() == 1
                         ? function.labels.find(instruction.operands[0].name)
                         : function.labels.end();
  THORAX_CHECK(found != function.labels.end(), "[ptx] {}: line {}: a branch to no label",
               function.name, instruction.line);
  return found->second;
}

void find_blocks(const Function& function, Flow& flow) {
  const auto count = static_cast<std::uint32_t>(function.instructions.size());
  std::vector<bool> begins(count + 1, false);
  begins[0] = true;
  for (const auto& [name, at] : function.labels) begins[at] = true;
  for (std::uint32_t i = 0; i < count; ++i)
    if (is_branch(function.instructions[i]) || is_end(function.instructions[i]))
      begins[i + 1] = true;
  flow.block_at.assign(count + 1, Flow::kNone);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (begins[i]) {
      flow.block_at[i] = static_cast<std::uint32_t>(flow.blocks.size());
      flow.blocks.emplace_back().begin = i;
    }
    flow.blocks.back().end = i + 1;
  }
  for (std::uint32_t b = 0; b < flow.blocks.size(); ++b) {
    Flow::Block& block = flow.blocks[b];
    const Instruction& last = function.instructions[block.end - 1];
    const bool always = last.guard == Instruction::kNoGuard;
    const auto go_to = [&](std::uint32_t instruction) {
      if (instruction < count) block.next.push_back(flow.block_at[instruction]);
    };
    if (is_branch(last)) go_to(label_of(function, last));
    if (!((is_branch(last) || is_end(last)) && always)) go_to(block.end);
  }
  for (std::uint32_t b = 0; b < flow.blocks.size(); ++b)
    for (const std::uint32_t next : flow.blocks[b].next) flow.blocks[next].before.push_back(b);
}

bool leaves(const Function& function, const Flow::Block& block) {
  return block.next.empty() || is_end(function.instructions[block.end - 1]);
}

// Immediate post-dominators, as dominators of the reversed graph: Cooper, Harvey, Kennedy, "A
// Simple, Fast Dominance Algorithm". A node past the last block stands for the end of the kernel.
void find_meetings(const Function& function, Flow& flow) {
  const auto end = static_cast<std::uint32_t>(flow.blocks.size());
  std::vector<std::uint32_t> order;  // from the end backwards, depth first, as they are finished
  std::vector<std::uint32_t> rank(end + 1, Flow::kNone);
  std::vector<bool> seen(end + 1, false);
  std::vector<std::uint32_t> last_blocks;
  for (std::uint32_t b = 0; b < end; ++b)
    if (leaves(function, flow.blocks[b])) last_blocks.push_back(b);
  const auto before = [&](std::uint32_t node) -> const std::vector<std::uint32_t>& {
    return node == end ? last_blocks : flow.blocks[node].before;
  };
  std::vector<std::pair<std::uint32_t, std::size_t>> stack{{end, 0}};
  seen[end] = true;
  while (!stack.empty()) {
    auto& [node, next] = stack.back();
    if (next < before(node).size()) {
      const std::uint32_t to = before(node)[next++];
      if (!seen[to]) {
        seen[to] = true;
        stack.emplace_back(to, 0);
      }
      continue;
    }
    rank[node] = static_cast<std::uint32_t>(order.size());
    order.push_back(node);
    stack.pop_back();
  }
  std::vector<std::uint32_t> meets(end + 1, Flow::kNone);
  meets[end] = end;
  const auto common = [&](std::uint32_t a, std::uint32_t b) {
    while (a != b) {
      while (rank[a] < rank[b]) a = meets[a];
      while (rank[b] < rank[a]) b = meets[b];
    }
    return a;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (auto node = order.rbegin(); node != order.rend(); ++node) {
      if (*node == end) continue;
      std::uint32_t found = leaves(function, flow.blocks[*node]) ? end : Flow::kNone;
      for (const std::uint32_t next : flow.blocks[*node].next) {
        if (meets[next] == Flow::kNone) continue;
        found = found == Flow::kNone ? next : common(next, found);
      }
      changed |= meets[*node] != found;
      meets[*node] = found;
    }
  }
  for (std::uint32_t b = 0; b < end; ++b) {
    Flow::Block& block = flow.blocks[b];
    block.meets = meets[b] == end ? Flow::kNone : meets[b];
    if (block.meets != Flow::kNone && block.next.size() > 1) flow.blocks[block.meets].join = true;
  }
}

// "Engineering a Compiler", 2nd edition, section 8.6.1 (live variables) and, forwards and with the
// intersection, the registers that every way to a place has written.
void find_lives(const Function& function, Flow& flow) {
  const std::size_t registers = function.registers.size(), blocks = flow.blocks.size();
  const std::size_t count = function.instructions.size();
  std::vector<Uses> uses(count);
  for (std::size_t i = 0; i < count; ++i) uses[i] = uses_of(function.instructions[i]);
  const auto always = [&](std::size_t i) {
    return function.instructions[i].guard == Instruction::kNoGuard;
  };
  std::vector<Bits> needed(blocks, Bits(registers)), written(blocks, Bits(registers)),
      live_in(blocks, Bits(registers)), live_out(blocks, Bits(registers));
  for (std::size_t b = 0; b < blocks; ++b)
    for (std::uint32_t i = flow.blocks[b].begin; i < flow.blocks[b].end; ++i) {
      for (const std::uint32_t r : uses[i].reads)
        if (!written[b].has(r)) needed[b].add(r);
      if (always(i))
        for (const std::uint32_t r : uses[i].writes) written[b].add(r);
    }
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t b = blocks; b-- > 0;) {
      for (const std::uint32_t next : flow.blocks[b].next) live_out[b].unite(live_in[next]);
      changed |= live_in[b].flow(needed[b], live_out[b], written[b]);
    }
  }
  flow.lives.assign(registers, {~0u, 0});
  const auto lives_at = [&](std::uint32_t r, std::uint32_t at) {
    flow.lives[r].first = std::min(flow.lives[r].first, at);
    flow.lives[r].second = std::max(flow.lives[r].second, at);
  };
  for (std::size_t b = 0; b < blocks; ++b) {
    const auto [begin, end] = std::pair(flow.blocks[b].begin, flow.blocks[b].end);
    for (std::uint32_t r = 0; r < registers; ++r) {
      if (live_in[b].has(r)) lives_at(r, 2 * begin);
      if (live_out[b].has(r)) lives_at(r, 2 * end - 1);
    }
    for (std::uint32_t i = begin; i < end; ++i) {
      for (const std::uint32_t r : uses[i].reads) lives_at(r, 2 * i);
      for (const std::uint32_t r : uses[i].writes) lives_at(r, 2 * i + 1);
    }
  }
  std::vector<Bits> known(blocks, Bits(registers, true));  // after the block
  const Bits none(registers);
  const auto at_begin = [&](std::size_t b) {
    Bits result(registers, b != 0);
    for (const std::uint32_t from : flow.blocks[b].before) result.intersect(known[from]);
    return result;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t b = 0; b < blocks; ++b)
      changed |= known[b].flow(written[b], at_begin(b), none);
  }
  flow.unwritten.resize(count);
  for (std::size_t b = 0; b < blocks; ++b) {
    Bits here = at_begin(b);
    for (std::uint32_t i = flow.blocks[b].begin; i < flow.blocks[b].end; ++i) {
      for (const std::uint32_t r : uses[i].reads)
        if (!here.has(r)) flow.unwritten[i].push_back(r);
      if (always(i))
        for (const std::uint32_t r : uses[i].writes) here.add(r);
    }
  }
}

}  // namespace

bool is_branch(const Instruction& instruction) {
  return instruction.name == "bra" || instruction.name == "bra.uni";
}

bool is_end(const Instruction& instruction) {
  return instruction.name == "ret" || instruction.name == "exit";
}

bool has_result(const Instruction& instruction) {
  constexpr std::string_view kNone[] = {"st.",  "bar.sync", "bar.warp", "barrier.", "bra", "ret",
                                        "exit", "trap",     "cp.async", "membar",   "red."};
  return std::none_of(std::begin(kNone), std::end(kNone), [&](std::string_view prefix) {
    return instruction.name.starts_with(prefix);
  });
}

Uses uses_of(const Instruction& instruction) {
  Uses uses;
  const bool result = has_result(instruction);
  for (std::size_t i = 0; i < instruction.operands.size(); ++i)
    collect(instruction.operands[i], i == 0 && result ? uses.writes : uses.reads);
  if (instruction.guard != Instruction::kNoGuard) uses.reads.push_back(instruction.guard);
  return uses;
}

Flow analyse(const Function& function) {
  Flow flow;
  THORAX_CHECK(!function.instructions.empty(), "[ptx] {}: a kernel without instructions",
               function.name);
  find_blocks(function, flow);
  find_meetings(function, flow);
  find_lives(function, flow);
  return flow;
}

}  // namespace thorax::ptx
