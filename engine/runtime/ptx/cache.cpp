#include "engine/runtime/ptx/cache.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace thorax::ptx {

namespace {
constexpr std::uint64_t Traffic::*kFields[] = {
    &Traffic::l1_hits,      &Traffic::l2_read,    &Traffic::l2_written,   &Traffic::dram_read,
    &Traffic::dram_written, &Traffic::least_read, &Traffic::least_written};
}  // namespace

void Traffic::add(const Traffic& other) {
  for (const auto field : kFields) this->*field += other.*field;
}

Traffic Traffic::extended(const Traffic& first, double factor) const {
  Traffic all = first;
  for (const auto field : kFields)
    all.*field += static_cast<std::uint64_t>(
        std::llround(static_cast<double>(this->*field - first.*field) * factor));
  return all;
}

Cache::Cache(std::size_t bytes)
    : sets_(std::max<std::size_t>(1, bytes / (128 * kWays))), lines_(sets_ * kWays) {}

CacheLine* Cache::set_of(std::uint64_t number) {
  // Every stretch of as many lines as there are sets has each set once; the next one begins
  // elsewhere, so that large powers of two do not meet in one set.
  const std::uint64_t set = (number + number / sets_ * 97) % sets_;
  return lines_.data() + set * kWays;
}

CacheLine* Cache::look(std::uint64_t number) {
  CacheLine* const set = set_of(number);
  for (CacheLine* line = set; line != set + kWays; ++line)
    if (line->number == number) return line;
  return nullptr;
}

void Cache::clear() {
  std::fill(lines_.begin(), lines_.end(), CacheLine{});
}

void BlockTrace::begin(std::size_t l1_bytes) {
  accesses_.clear();
  l1_hits_ = 0;
  if (l1_.empty() ? l1_bytes == 0 : l1_bytes == l1_bytes_) {
    for (Cache& l1 : l1_) l1.clear();
    return;
  }
  l1_.clear();
  l1_bytes_ = l1_bytes;
  if (l1_bytes > 0) l1_.emplace_back(l1_bytes);
}

void BlockTrace::note(const Addresses& addresses, std::uint32_t bytes, AccessKind kind,
                      bool cached) {
  // The sectors of the request, each with the bytes that lanes touch; a lane's lie in one sector,
  // since they are aligned to their width of at most 16.
  std::array<Access, kLanes> found;
  std::size_t count = 0;
  for (std::uint32_t left = addresses.lanes; left != 0; left &= left - 1) {
    const std::uint64_t at = addresses.at[static_cast<std::size_t>(std::countr_zero(left))];
    const std::uint32_t mask =
        static_cast<std::uint32_t>(((std::uint64_t{1} << bytes) - 1) << (at % kSectorBytes));
    const std::uint64_t sector = at / kSectorBytes;
    // Neighbouring lanes mostly touch the sector found last.
    std::size_t i = count;
    while (i > 0 && found[i - 1].sector != sector) --i;
    if (i == 0) {
      found[count++] = {sector, mask, kind};
    } else {
      found[i - 1].bytes |= mask;
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (!l1_.empty()) {
      const std::uint64_t line = found[i].sector / 4;
      const auto bit = static_cast<std::uint8_t>(1u << found[i].sector % 4);
      if (kind == AccessKind::load && cached) {
        CacheLine& entry = l1_[0].find(line, [](const CacheLine&) {});
        if ((entry.valid & bit) != 0) {
          l1_hits_ += kSectorBytes;
          continue;
        }
        entry.valid |= bit;
      } else if (kind == AccessKind::atomic) {
        if (CacheLine* entry = l1_[0].look(line)) entry->valid &= static_cast<std::uint8_t>(~bit);
      }
    }
    accesses_.push_back(found[i]);
  }
}

void CardMemory::begin_launch() {
  traffic_ = {};
  touched_.clear();
}

void CardMemory::evict(CacheLine& line, Traffic& traffic) const {
  for (int i = 0; i < 4; ++i) {
    if ((line.dirty >> i & 1) == 0) continue;
    if ((line.valid >> i & 1) == 0) traffic.dram_read += kSectorBytes;
    traffic.dram_written += kSectorBytes;
  }
  line.dirty = 0;
}

void CardMemory::access(const BlockTrace::Access& access) {
  const std::uint64_t index = access.sector % 4;
  const auto bit = static_cast<std::uint8_t>(1u << index);
  const bool reads = access.kind != AccessKind::store, writes = access.kind != AccessKind::load;
  Touched& page = touched_[access.sector / 128];
  const std::size_t word = access.sector % 128 / 64;
  const std::uint64_t flag = std::uint64_t{1} << access.sector % 64;
  if (reads && ((page.read[word] | page.written[word]) & flag) == 0)
    traffic_.least_read += kSectorBytes;
  if (reads) page.read[word] |= flag;
  if (writes && (page.written[word] & flag) == 0) traffic_.least_written += kSectorBytes;
  if (writes) page.written[word] |= flag;

  CacheLine& line = l2_.find(access.sector / 4, [&](CacheLine& old) { evict(old, traffic_); });
  if (reads) {
    traffic_.l2_read += kSectorBytes;
    if ((line.valid & bit) == 0) traffic_.dram_read += kSectorBytes;
    line.valid |= bit;
  }
  if (writes) {
    traffic_.l2_written += kSectorBytes;
    line.dirty |= bit;
    line.written[index] |= access.bytes;
    if (line.written[index] == ~0u) line.valid |= bit;
  }
}

void CardMemory::replay(const std::vector<BlockTrace>& wave) {
  constexpr std::size_t kTurn = 16;
  for (const BlockTrace& block : wave) traffic_.l1_hits += block.l1_hits();
  bool more = true;
  for (std::size_t first = 0; more; first += kTurn) {
    more = false;
    for (const BlockTrace& block : wave) {
      const auto& accesses = block.accesses();
      for (std::size_t i = first; i < std::min(accesses.size(), first + kTurn); ++i)
        access(accesses[i]);
      more |= accesses.size() > first + kTurn;
    }
  }
}

void CardMemory::scale(std::uint64_t whole, std::uint64_t first, std::uint64_t ran,
                       const Traffic& of_first) {
  if (whole == ran) return;
  // A single turn: the others move as much as it did.
  traffic_ = ran == first
                 ? traffic_.extended({}, static_cast<double>(whole) / static_cast<double>(ran))
                 : traffic_.extended(of_first, static_cast<double>(whole - first) /
                                                   static_cast<double>(ran - first));
  // Few blocks leave what they write in L2; of all blocks' it holds no more than fits.
  if (traffic_.least_written > card_.l2_bytes)
    traffic_.dram_written =
        std::max<std::uint64_t>(traffic_.dram_written, traffic_.least_written - card_.l2_bytes);
}

Traffic CardMemory::write_back() {
  Traffic traffic;
  l2_.for_each([&](CacheLine& line) { evict(line, traffic); });
  return traffic;
}

}  // namespace thorax::ptx
