// Many tensors in one launch: a network has hundreds of parameters, most of them too small to fill
// a GPU. Their addresses, sizes and constants travel as the kernel's argument (at most 4 KB), so
// that nothing is allocated or copied and a CUDA graph may hold the launch. Every block works on
// one chunk of one tensor, and finds out by bisection which.
#pragma once

#include <cstdint>

#include "engine/runtime/launch.cuh"

namespace thorax {
namespace THORAX_GPU {

constexpr int kListThreads = 256;
constexpr int kListSteps = 4;
constexpr std::int64_t kListChunk = kListThreads * kListSteps * 4;  // elements per block

// Four elements as one access.
template <class T>
struct alignas(4 * sizeof(T)) Quad {
  T v[4];
};

// A list of tensors that are contiguous and equally long in groups of kArrays (a parameter, its
// gradient, its state), each with constants of its own.
template <class T, int kArrays, class Constants>
struct TensorList {
  struct Entry {
    T* arrays[kArrays] = {};
    std::int64_t count = 0;  // elements of each array
    Constants constants{};
    unsigned first_block = 0;
    bool vectors = false;  // all arrays are aligned to a Quad
  };
  static constexpr int kCapacity = static_cast<int>(4000 / sizeof(Entry));
  int size = 0;
  Entry entries[kCapacity];

  // The entry whose chunk the calling block works on.
  __device__ int entry_of_block() const {
    int low = 0, high = size - 1;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (entries[middle].first_block <= blockIdx.x)
        low = middle;
      else
        high = middle - 1;
    }
    return low;
  }
};

// Up to four elements from `i` on; the others are 0.
template <class T>
__device__ inline Quad<T> load_quad(const T* from, std::int64_t i, int count, bool vectors) {
  if (vectors && count == 4) return *reinterpret_cast<const Quad<T>*>(from + i);
  Quad<T> result{};
  for (int k = 0; k < 4; ++k)
    if (k < count) result.v[k] = from[i + k];
  return result;
}
template <class T>
__device__ inline void store_quad(T* to, std::int64_t i, int count, bool vectors,
                                  const Quad<T>& values) {
  if (vectors && count == 4) {
    *reinterpret_cast<Quad<T>*>(to + i) = values;
  } else {
    for (int k = 0; k < 4; ++k)
      if (k < count) to[i + k] = values.v[k];
  }
}

// Calls fn(first element, how many up to 4) for the groups of four that the calling thread has in
// its block's chunk of an entry.
template <class Entry, class Fn>
__device__ inline void for_quads(const Entry& entry, const Fn& fn) {
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x - entry.first_block) * kListChunk;
  for (int step = 0; step < kListSteps; ++step) {
    const std::int64_t i =
        begin + 4 * (static_cast<std::int64_t>(step) * kListThreads + threadIdx.x);
    if (i >= entry.count) break;
    fn(i, entry.count - i < 4 ? static_cast<int>(entry.count - i) : 4);
  }
}

// Blocks that `count` elements take.
inline unsigned list_blocks(std::int64_t count) {
  return blocks_for(count, kListChunk);
}

// Packs `tensors` tensors into lists: describe(i, entry) sets arrays, count and constants;
// run(list, blocks) launches a full list, in order. Empty tensors are left out.
template <class List, class Describe, class Run>
void in_lists(std::size_t tensors, const Describe& describe, const Run& run) {
  List list;
  unsigned blocks = 0;
  for (std::size_t i = 0; i < tensors; ++i) {
    typename List::Entry& entry = list.entries[list.size];
    describe(i, entry);
    if (entry.count == 0) continue;
    entry.vectors = true;
    for (const auto* array : entry.arrays)
      if (reinterpret_cast<std::uintptr_t>(array) % sizeof(Quad<std::decay_t<decltype(*array)>>) !=
          0)
        entry.vectors = false;
    entry.first_block = blocks;
    blocks += list_blocks(entry.count);
    if (++list.size < List::kCapacity) continue;
    run(list, blocks);
    list.size = 0;
    blocks = 0;
  }
  if (list.size > 0) run(list, blocks);
}

}  // namespace THORAX_GPU
}  // namespace thorax
