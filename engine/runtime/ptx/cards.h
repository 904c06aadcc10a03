// The cards that counters and the time model know, with their documents (TIME_MODEL.md).
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace thorax::ptx {

// What a multiprocessor holds: CUDA C++ Programming Guide, "Technical Specifications per Compute
// Capability". 65,536 registers on each; a warp gets them 256 at a time.
struct Limits {
  int warps, blocks;
  std::size_t shared;    // bytes
  std::size_t reserved;  // of them the system's, a block
};
Limits limits_of(int capability);
// Blocks that a multiprocessor holds at once; registers 0: not known, they do not limit. `shared`:
// bytes of a block, static and dynamic.
int resident_blocks(int capability, int registers, int threads, std::size_t shared);

// Rates are those of the data sheets, by clock and multiprocessor unless said otherwise.
struct Card {
  std::string_view name;
  int capability;
  int multiprocessors;
  double clock;  // Hz, boost
  // Lanes of each pipe: a warp's instruction takes 32 / lanes clocks.
  int float32, integer, float64, special, load_store;
  int l1_rate;                    // bytes of L1 or shared memory
  double matrix_16, matrix_tf32;  // FLOP of mma.sync, float32 sums; 0: there is none
  std::size_t l1_bytes;           // L1 and shared memory together
  std::size_t l2_bytes;           // of the card
  double l2_rate;                 // bytes a clock, of the card
  double dram_rate;               // bytes a second, of the card
};
std::span<const Card> cards();
// Throws Error naming the known ones.
const Card& card_named(std::string_view name);
// That of ptx:0, ptx:1, ptx:2 (75, 80, 90); nullptr for another capability.
const Card* card_of(int capability);

}  // namespace thorax::ptx
