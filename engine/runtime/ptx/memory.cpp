// Which addresses a kernel may access, and what is said of others.
#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "engine/runtime/ptx/memory.h"
#include "engine/runtime/ptx/opcodes.h"
#include "engine/runtime/ptx/warp.h"
#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

struct Blocks {
  std::mutex mutex;
  std::map<std::uint64_t, std::uint64_t> ends;  // by begin
  std::shared_ptr<const std::vector<Range>> listed;
};
Blocks& blocks() {
  static Blocks& all = *new Blocks;
  return all;
}

std::string in_space(std::uint64_t address) {
  if ((address & kWindowMask) == kSharedWindow)
    return fmt::format("an address of shared memory (byte {})", address - kSharedWindow);
  if ((address & kWindowMask) == kLocalWindow)
    return fmt::format("an address of local memory (byte {})", address - kLocalWindow);
  return fmt::format("address {:#x}", address);
}

// The block of memory that begins last of those before the address.
std::string nearest_block(const Warp& warp, std::uint64_t address) {
  const auto memory = warp.block->memory;
  const auto after = std::upper_bound(memory.begin(), memory.end(), address,
                                      [](std::uint64_t a, const Range& r) { return a < r.begin; });
  if (after == memory.begin()) return "before all device memory";
  const Range& before = *(after - 1);
  return fmt::format("byte {} of a block of {} bytes", address - before.begin,
                     before.end - before.begin);
}

bool inside(std::uint64_t address, std::uint64_t bytes, std::uint64_t size) {
  return address <= size && bytes <= size - address;
}

unsigned char* shared_byte(Warp& w, const Step& s, int lane, std::uint64_t address) {
  if (!inside(address, s.bytes, w.block->shared_bytes)) {
    if ((address & kWindowMask) != 0)
      fault(w, s, lane, in_space(address) + " as a generic one, where an offset must stand");
    fault(w, s, lane,
          fmt::format("byte {} of {} bytes of shared memory", address, w.block->shared_bytes));
  }
  return w.block->shared + address;
}

unsigned char* local_byte(Warp& w, const Step& s, int lane, std::uint64_t address) {
  const std::size_t size = w.block->program->local_bytes;
  if (!inside(address, s.bytes, size))
    fault(w, s, lane, fmt::format("byte {} of {} bytes of local memory", address, size));
  return w.local.data() + static_cast<std::size_t>(lane) * size + address;
}

unsigned char* global_byte(Warp& w, const Step& s, int lane, std::uint64_t address) {
  const Range& known = w.known[s.slot];
  if (address >= known.begin && inside(address - known.begin, s.bytes, known.end - known.begin))
    return reinterpret_cast<unsigned char*>(address);
  const auto memory = w.block->memory;
  const auto after = std::upper_bound(memory.begin(), memory.end(), address,
                                      [](std::uint64_t a, const Range& r) { return a < r.begin; });
  if (after != memory.begin()) {
    const Range& range = *(after - 1);
    if (inside(address - range.begin, s.bytes, range.end - range.begin)) {
      w.known[s.slot] = range;
      return reinterpret_cast<unsigned char*>(address);
    }
  }
  for (const auto& variable : w.block->program->variables) {
    const auto begin = reinterpret_cast<std::uint64_t>(variable.data());
    if (address >= begin && inside(address - begin, s.bytes, variable.size()))
      return reinterpret_cast<unsigned char*>(address);
  }
  if ((address & kWindowMask) != 0) fault(w, s, lane, in_space(address));
  fault(w, s, lane,
        fmt::format("{} is not device memory: {}", in_space(address), nearest_block(w, address)));
}

unsigned char* byte_at(Warp& w, const Step& s, int lane, Space space, std::uint64_t address) {
  switch (space) {
    case Space::shared:
      return shared_byte(w, s, lane, address);
    case Space::local:
      return local_byte(w, s, lane, address);
    case Space::param:
      if (!inside(address, s.bytes, w.block->program->parameter_bytes))
        fault(w, s, lane,
              fmt::format("byte {} of {} bytes of parameters", address,
                          w.block->program->parameter_bytes));
      return const_cast<unsigned char*>(w.block->parameters) + address;
    case Space::generic:
      if ((address & kWindowMask) == kSharedWindow)
        return shared_byte(w, s, lane, address - kSharedWindow);
      if ((address & kWindowMask) == kLocalWindow)
        return local_byte(w, s, lane, address - kLocalWindow);
      return global_byte(w, s, lane, address);
    default:
      return global_byte(w, s, lane, address);
  }
}

}  // namespace

void note_memory(const void* block, std::size_t bytes) {
  const std::scoped_lock lock(blocks().mutex);
  const auto begin = reinterpret_cast<std::uint64_t>(block);
  blocks().ends[begin] = begin + bytes;
  blocks().listed = nullptr;
}

void forget_memory(const void* block) noexcept {
  const std::scoped_lock lock(blocks().mutex);
  blocks().ends.erase(reinterpret_cast<std::uint64_t>(block));
  blocks().listed = nullptr;
}

std::shared_ptr<const std::vector<Range>> device_memory() {
  const std::scoped_lock lock(blocks().mutex);
  if (blocks().listed == nullptr) {
    auto list = std::make_shared<std::vector<Range>>();
    for (const auto& [begin, end] : blocks().ends) list->push_back({begin, end});
    blocks().listed = std::move(list);
  }
  return blocks().listed;
}

void resolve(Warp& warp, const Step& step, Space space, unsigned char* (&at)[kLanes]) {
  unsigned char* one = nullptr;
  for (int lane = 0; lane < kLanes; ++lane) {
    at[lane] = nullptr;
    if ((warp.active >> lane & 1) == 0) continue;
    const auto offset = static_cast<std::uint64_t>(step.value);
    const std::uint64_t address =
        step.address_32 ? static_cast<std::uint32_t>(warp.lanes<std::uint32_t>(step.a)[lane] +
                                                     static_cast<std::uint32_t>(offset))
                        : warp.lanes<std::uint64_t>(step.a)[lane] + offset;
    if (address % step.bytes != 0)
      fault(warp, step, lane,
            fmt::format("{} for {} bytes is not a multiple of it", in_space(address), step.bytes));
    at[lane] = byte_at(warp, step, lane, space, address);
    if (one == nullptr) one = at[lane];
  }
  for (unsigned char*& address : at)
    if (address == nullptr) address = one;
}

void start_copy(Warp& warp, const Step& step, int lane, unsigned char* to,
                const unsigned char* from, std::uint32_t valid) {
  DelayedCopy copy;
  copy.to = static_cast<std::uint32_t>(to - warp.block->shared);
  copy.bytes = step.bytes;
  copy.lane = static_cast<std::uint8_t>(lane);
  copy.group = warp.copy_group[static_cast<std::size_t>(lane)];
  if (valid > 0) std::memcpy(copy.data.data(), from, valid);
  warp.copies.push_back(copy);
  std::memset(to, 0xff, step.bytes);
}

void deliver_copies(Warp& warp, int pending) {
  std::erase_if(warp.copies, [&](const DelayedCopy& copy) {
    if ((warp.active >> copy.lane & 1) == 0 || copy.group >= warp.copy_group[copy.lane] - pending)
      return false;
    std::memcpy(warp.block->shared + copy.to, copy.data.data(), copy.bytes);
    return true;
  });
}

}  // namespace thorax::ptx
