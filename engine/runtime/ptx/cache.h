// Where the sectors that a launch asks for come from: L1 of the block, L2 of the card, DRAM.
//
// Simulated, so that it is exact for the model and not for a card, whose replacement, hash of
// addresses and order of blocks are not published. What the model is:
// - lines of 128 bytes in 16 ways, least recently used, with four sectors of 32 bytes each that are
//   fetched one by one; consecutive lines lie in consecutive sets;
// - L1 belongs to a block (its share of what shared memory leaves); loads without .cg and .volatile
//   are cached there, stores go through, nothing is left of it when the block ends;
// - L2 is written back, a sector that was stored in part is fetched when it is evicted or read;
// - the blocks of a wave take turns, 16 sectors each; waves follow one another.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <vector>

#include "engine/runtime/ptx/cards.h"
#include "engine/runtime/ptx/request.h"

namespace thorax::ptx {

constexpr std::uint64_t kSectorBytes = 32;

// Bytes; whole sectors.
struct Traffic {
  std::uint64_t l1_hits = 0;                      // of loads, served by L1
  std::uint64_t l2_read = 0, l2_written = 0;      // asked of L2; an atomic is both
  std::uint64_t dram_read = 0, dram_written = 0;  // between L2 and DRAM
  // Sectors that the launch read before it wrote them, and sectors that it wrote, each once: what a
  // cache without limits would move.
  std::uint64_t least_read = 0, least_written = 0;

  std::uint64_t dram() const { return dram_read + dram_written; }
  std::uint64_t least() const { return least_read + least_written; }
  void add(const Traffic& other);
  // What came after `first`, times the factor, and `first`.
  Traffic extended(const Traffic& first, double factor) const;
};

struct CacheLine {
  std::uint64_t number = ~std::uint64_t{0};  // address / 128
  std::uint64_t used = 0;                    // when it was last
  std::uint8_t valid = 0, dirty = 0;         // by sector
  std::array<std::uint32_t, 4> written{};    // bytes of sectors that are not valid
};

// Lines by set. A size that is no multiple of 16 lines is rounded down, at least 16 lines.
class Cache {
 public:
  explicit Cache(std::size_t bytes);
  // The line, in the place of the set's least recently used one if it was not there; that one is
  // given to `evicted` when it holds a line.
  template <class Evicted>
  CacheLine& find(std::uint64_t number, const Evicted& evicted);
  CacheLine* look(std::uint64_t number);  // nullptr: not there
  void clear();
  template <class Each>
  void for_each(const Each& each) {
    for (CacheLine& line : lines_)
      if (line.number != ~std::uint64_t{0}) each(line);
  }

 private:
  static constexpr std::size_t kWays = 16;
  CacheLine* set_of(std::uint64_t number);
  std::uint64_t sets_, clock_ = 0;
  std::vector<CacheLine> lines_;
};

enum class AccessKind : std::uint8_t { load, store, atomic };

// What one block asks of L2, in order.
class BlockTrace {
 public:
  struct Access {
    std::uint64_t sector = 0;  // address / 32
    std::uint32_t bytes = 0;   // of a store: which of the 32
    AccessKind kind = AccessKind::load;
  };
  // Begins a block with an L1 of so many bytes; 0: none.
  void begin(std::size_t l1_bytes);
  // A request for global memory, split in sectors; `cached`: in L1.
  void note(const Addresses& addresses, std::uint32_t bytes, AccessKind kind, bool cached);

  const std::vector<Access>& accesses() const { return accesses_; }
  std::uint64_t l1_hits() const { return l1_hits_; }

 private:
  std::vector<Access> accesses_;
  std::vector<Cache> l1_;  // none or one
  std::size_t l1_bytes_ = 0;
  std::uint64_t l1_hits_ = 0;
};

// L2 and DRAM of one card; keeps its lines from launch to launch.
class CardMemory {
 public:
  explicit CardMemory(const Card& card) : card_(card), l2_(card.l2_bytes) {}
  const Card& card() const { return card_; }

  void begin_launch();
  // Blocks that run at the same time.
  void replay(const std::vector<BlockTrace>& wave);
  // Since begin_launch().
  const Traffic& traffic() const { return traffic_; }

  // Blocks of a launch that run for each multiprocessor, from the grid's middle, one on each at a
  // time; 0: all run. The others are taken to be like them: counts are scaled to all blocks, what
  // the first on each moved is counted once and what later ones moved scaled to the rest. Results
  // of the launch are then meaningless.
  void sample(int blocks) { sampled_blocks_ = blocks; }
  int sampled_blocks() const { return sampled_blocks_; }
  // Of the launch: blocks in all, of the first turn that ran, and in all that ran.
  void scale(std::uint64_t whole, std::uint64_t first, std::uint64_t ran, const Traffic& of_first);
  // Writes all dirty sectors back; returns the bytes (filled sectors are read first).
  Traffic write_back();

 private:
  void access(const BlockTrace::Access& access);
  void evict(CacheLine& line, Traffic& traffic) const;

  const Card& card_;
  Cache l2_;
  Traffic traffic_;
  int sampled_blocks_ = 0;
  struct Touched {
    std::array<std::uint64_t, 2> read{}, written{};  // the 128 sectors of 4 KiB
  };
  std::unordered_map<std::uint64_t, Touched> touched_;  // by address / 4096
};

template <class Evicted>
CacheLine& Cache::find(std::uint64_t number, const Evicted& evicted) {
  CacheLine* const set = set_of(number);
  CacheLine* oldest = set;
  for (CacheLine* line = set; line != set + kWays; ++line) {
    if (line->number == number) {
      line->used = ++clock_;
      return *line;
    }
    if (line->used < oldest->used) oldest = line;
  }
  if (oldest->number != ~std::uint64_t{0}) evicted(*oldest);
  *oldest = {};
  oldest->number = number;
  oldest->used = ++clock_;
  return *oldest;
}

}  // namespace thorax::ptx
