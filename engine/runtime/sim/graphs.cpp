#include "engine/runtime/sim/graphs.h"

#include <cstring>
#include <iterator>

#include "engine/tensor/error.h"

namespace thorax::sim {

void Graphs::allocated(void* block, std::size_t bytes) {
  const std::scoped_lock lock(mutex_);
  blocks_[reinterpret_cast<std::uintptr_t>(block)] = {bytes, ++allocations_};
}

void Graphs::released(void* block) noexcept {
  const std::scoped_lock lock(mutex_);
  blocks_.erase(reinterpret_cast<std::uintptr_t>(block));
}

void Graphs::begin(int) {
  const std::scoped_lock lock(mutex_);
  open_ = {};
}

void Graphs::add(const char* name, std::span<const std::byte> arguments,
                 std::function<void()> run) {
  const std::scoped_lock lock(mutex_);
  for (std::size_t i = 0; i + sizeof(std::uintptr_t) <= arguments.size();
       i += sizeof(std::uintptr_t)) {
    std::uintptr_t value = 0;
    std::memcpy(&value, arguments.data() + i, sizeof value);
    const auto after = blocks_.upper_bound(value);
    if (after == blocks_.begin()) continue;
    const auto& [address, block] = *std::prev(after);
    if (value - address >= block.bytes) continue;
    open_.uses.try_emplace(block.number, Use{address, block.number, name});
  }
  open_.launches.push_back({name, std::move(run)});
}

std::uint64_t Graphs::end(int) {
  const std::scoped_lock lock(mutex_);
  graphs_[++captured_] = std::move(open_);
  open_ = {};
  return captured_;
}

void Graphs::abandon(int) noexcept {
  const std::scoped_lock lock(mutex_);
  open_ = {};
}

void Graphs::replay(std::uint64_t graph) {
  Recording* recording = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    recording = &graphs_.at(graph);
    for (const auto& [number, use] : recording->uses) {
      const auto found = blocks_.find(use.address);
      THORAX_CHECK(found != blocks_.end() && found->second.number == number,
                   "[sim] graph: memory that '{}' was captured with was freed since", use.launch);
    }
  }
  for (const Launch& launch : recording->launches) launch.run();
}

void Graphs::drop(std::uint64_t graph) noexcept {
  const std::scoped_lock lock(mutex_);
  graphs_.erase(graph);
}

std::size_t Graphs::size(std::uint64_t graph) {
  const std::scoped_lock lock(mutex_);
  return graphs_.at(graph).launches.size();
}

}  // namespace thorax::sim
