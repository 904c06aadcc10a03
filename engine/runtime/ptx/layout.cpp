#include "engine/runtime/ptx/layout.h"

#include <algorithm>
#include <utility>

namespace thorax::ptx {
namespace {

constexpr std::uint32_t kBytes32 = 4 * kLanes, kBytes64 = 8 * kLanes;

}  // namespace

Layout::Layout(const Module& module, Program& program, const Flow& flow)
    : module_(module), program_(program), flow_(flow) {
  place_variables();
  place_registers();
}

std::uint32_t Layout::predicate() {
  top_ = (top_ + 63) / 64 * 64;
  return take(64);
}

std::uint32_t Layout::temporary() {
  if (temporary_ == 0) {
    top_ = (top_ + 63) / 64 * 64;
    temporary_ = take(kBytes32);
  }
  return temporary_;
}

void Layout::finish() {
  program_.register_bytes = (top_ + 63) / 64 * 64;
}

// Static shared memory in the order of its declarations, local memory of a thread alike.
void Layout::place_variables() {
  std::size_t local = 0, shared = 0;
  const auto place = [&](std::size_t& size, const Variable& v) {
    size = (size + v.alignment - 1) / v.alignment * v.alignment;
    symbols_[v.name] = size;
    size += v.bytes;
  };
  const auto with_values = [&](const Variable& v) {
    std::vector<unsigned char> bytes = v.initial;
    bytes.resize(v.bytes);
    program_.variables.push_back(std::move(bytes));
    symbols_[v.name] = reinterpret_cast<std::uint64_t>(program_.variables.back().data());
  };
  for (const auto* variables : {&module_.variables(), &std::as_const(program_.function.variables)})
    for (const Variable& v : *variables) {
      if (v.space == Space::shared) {
        // Of a module's variables a kernel has those that it names.
        if (v.bytes > 0 && (variables != &module_.variables() || names(v.name))) place(shared, v);
      } else if (v.space == Space::local) {
        place(local, v);
      } else {
        with_values(v);
      }
    }
  shared = (shared + 15) / 16 * 16;
  for (const Variable& v : module_.variables())
    if (v.space == Space::shared && v.bytes == 0) symbols_[v.name] = shared;
  program_.static_shared = shared;
  program_.local_bytes = local;
  for (const Parameter& p : program_.function.parameters) {
    symbols_[p.name] = p.offset;
    program_.parameter_bytes = p.offset + p.bytes;
  }
}

bool Layout::names(const std::string& symbol) const {
  for (const Instruction& i : program_.function.instructions)
    for (const Operand& o : i.operands)
      if (o.kind == Operand::Kind::symbol && o.name == symbol) return true;
  return false;
}

// Registers whose lives do not overlap share a place (linear scan, without spilling): the
// working set stays in the host's caches.
void Layout::place_registers() {
  const std::size_t count = program_.function.registers.size();
  places_.assign(count, 0);
  std::vector<std::uint32_t> order;
  for (std::uint32_t r = 0; r < count; ++r) {
    if (flow_.lives[r].first > flow_.lives[r].second) continue;
    if (program_.function.registers[r].width == Width::predicate) {
      places_[r] = take(4);
    } else {
      order.push_back(r);
    }
  }
  for (const auto& list : flow_.unwritten)
    for (const std::uint32_t r : list)
      if (!written_.contains(r)) written_[r] = take(4);
  sink_predicate_ = take(4);
  program_.cleared_bytes = top_;
  top_ = (top_ + 63) / 64 * 64;
  sink_ = take(kBytes64);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return flow_.lives[a].first < flow_.lives[b].first;
  });
  for (const bool wide : {false, true}) {
    std::vector<std::uint32_t> free;
    std::multimap<std::uint32_t, std::uint32_t> in_use;  // by the end of the life
    for (const std::uint32_t r : order) {
      if ((program_.function.registers[r].width == Width::b64) != wide) continue;
      const auto [first, last] = flow_.lives[r];
      while (!in_use.empty() && in_use.begin()->first < first) {
        free.push_back(in_use.begin()->second);
        in_use.erase(in_use.begin());
      }
      if (free.empty()) {
        places_[r] = take(wide ? kBytes64 : kBytes32);
      } else {
        places_[r] = free.back();
        free.pop_back();
      }
      in_use.emplace(last, places_[r]);
    }
  }
}

std::uint32_t Layout::take(std::uint32_t bytes) {
  const std::uint32_t at = top_;
  top_ += bytes;
  return at;
}

std::uint32_t Layout::preset(Preset::What what, Width width, std::uint64_t bits) {
  if (width == Width::b16) width = Width::b32;
  for (const Preset& p : program_.presets)
    if (p.what == what && p.width == width && p.bits == bits) return p.offset;
  std::uint32_t offset = 0;
  if (width == Width::predicate) {
    top_ = (top_ + 3) / 4 * 4;
    offset = take(64);
  } else {
    offset = take(width == Width::b64 ? kBytes64 : kBytes32);
  }
  program_.presets.push_back({what, width, offset, bits});
  return offset;
}
std::uint32_t Layout::constant(Width width, std::uint64_t bits) {
  if (width == Width::b16) bits &= 0xffffu;
  if (width == Width::b32) bits &= 0xffffffffu;
  if (width == Width::predicate) bits = bits != 0 ? kAllLanes : 0;
  return preset(Preset::What::constant, width, bits);
}

}  // namespace thorax::ptx
