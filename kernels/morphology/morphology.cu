// Dilation and erosion on bits in shared memory, and connected components by union-find.
//
// dilate, erode: a block of 8 warps owns a tile of 256 x 32 pixels. A warp turns 32 pixels into one
// word with a vote, so that an iteration is a few shifts and ors (or ands) per 32 pixels; with a
// margin of 8 rows and one word on each side a block performs up to 8 iterations before it has to
// see its neighbours' results again. The margin's outermost rows go stale by one per iteration, the
// tile itself never does. Outside the image every word is 0, whatever happens.
//
// label: 1. every pixel points to the first pixel of its run within 32 columns, found with a vote
// (Hennequin et al., "A new direct connected component labeling and analysis algorithms for GPUs",
// DASIP 2018); 2. neighbouring runs are united by atomicMin, so that the smallest index of a
// component, which a scan meets first, ends as its root whatever the order; 3. roots are found and
// counted per 1024 pixels; 4. they are numbered in scan order, and 5. every pixel takes its root's
// number.
#include <algorithm>

#include "engine/runtime/launch.cuh"
#include "kernels/morphology/morphology.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kAll = 0xffffffffu;

// ---- dilation and erosion ----

constexpr int kSteps = 8;              // iterations per launch
constexpr int kRows = 32, kWords = 8;  // tile
constexpr int kTileRows = kRows + 2 * kSteps, kTileWords = kWords + 2;
static_assert(kSteps < 32, "the margin is one word wide");

struct Tile {
  unsigned words[2][kTileRows][kTileWords];
};

// Bits of the word at column `first` that lie inside the image.
__device__ unsigned inside(std::int64_t row, std::int64_t first, std::int64_t height,
                           std::int64_t width) {
  if (row < 0 || row >= height || first < 0 || first >= width) return 0;
  return width - first >= 32 ? kAll : (1u << (width - first)) - 1;
}

template <bool kDilation>
__device__ unsigned join(unsigned a, unsigned b) {
  return kDilation ? a | b : a & b;
}

// A row's word joined with its left and right neighbours.
template <bool kDilation>
__device__ unsigned along(const unsigned (&row)[kTileWords], int w) {
  const unsigned below = w > 0 ? row[w - 1] >> 31 : 0;
  const unsigned above = w + 1 < kTileWords ? row[w + 1] << 31 : 0;
  return join<kDilation>(row[w], join<kDilation>(row[w] << 1 | below, row[w] >> 1 | above));
}

template <bool kDilation>
__global__ __launch_bounds__(kThreads) void iterate(const std::uint8_t* from, std::uint8_t* to,
                                                    std::int64_t height, std::int64_t width,
                                                    unsigned tiles_across, unsigned tiles_down,
                                                    int steps, bool square) {
  THORAX_SHARED(Tile, tile);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const unsigned tiles = tiles_across * tiles_down, own = blockIdx.x % tiles;
  const std::int64_t image = blockIdx.x / tiles * height * width;
  // The image's row and column of the tile's word (0, 0), margin included.
  const std::int64_t row0 = static_cast<std::int64_t>(own / tiles_across) * kRows - kSteps;
  const std::int64_t column0 = (static_cast<std::int64_t>(own % tiles_across) * kWords - 1) * 32;
  for (int i = warp; i < kTileRows * kTileWords; i += kThreads / 32) {
    const int r = i / kTileWords, w = i % kTileWords;
    const std::int64_t row = row0 + r, column = column0 + 32 * w + lane;
    const bool within = row >= 0 && row < height && column >= 0 && column < width;
    const unsigned word = __ballot_sync(kAll, within && from[image + row * width + column] != 0);
    if (lane == 0) tile.words[0][r][w] = word;
  }
  __syncthreads();
  for (int step = 0; step < steps; ++step) {
    const auto& before = tile.words[step % 2];
    auto& after = tile.words[(step + 1) % 2];
    for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kTileWords; i += kThreads) {
      const int r = i / kTileWords, w = i % kTileWords;
      const unsigned own_row = along<kDilation>(before[r], w);
      unsigned value = own_row;
      for (int other = r - 1; other <= r + 1; other += 2) {
        unsigned word = 0;
        if (other >= 0 && other < kTileRows)
          word = square ? along<kDilation>(before[other], w) : before[other][w];
        value = join<kDilation>(value, word);
      }
      after[r][w] = value & inside(row0 + r, column0 + 32 * w, height, width);
    }
    __syncthreads();
  }
  const auto& result = tile.words[steps % 2];
  for (int i = warp; i < kRows * kWords; i += kThreads / 32) {
    const int r = kSteps + i / kWords, w = 1 + i % kWords;
    const std::int64_t row = row0 + r, column = column0 + 32 * w + lane;
    if (row < height && column < width)
      to[image + row * width + column] = static_cast<std::uint8_t>(result[r][w] >> lane & 1u);
  }
}

template <bool kDilation>
void run(const MorphologyProblem& p, int iterations, Structure structure, const Tensor& mask,
         const Tensor& out) {
  const unsigned across = blocks_for(p.width, 32 * kWords), down = blocks_for(p.height, kRows);
  const LaunchConfig config{dim3(static_cast<unsigned>(p.images) * across * down), dim3(kThreads)};
  Tensor from = mask;
  do {
    const int steps = std::min(iterations, kSteps);
    iterations -= steps;
    const Tensor to = iterations == 0 ? out : Tensor::empty(p.shape(), DType::u8, out.device());
    launch(THORAX_KERNEL(iterate<kDilation>), out.device(), config,
           from.device_data<std::uint8_t>(), to.device_data<std::uint8_t>(), p.height, p.width,
           across, down, steps, structure == Structure::square);
    from = to;
  } while (iterations > 0);
}

// ---- connected components ----

// A pixel of the batch, padded so that every row begins at a multiple of 32 threads.
struct Place {
  std::int64_t image, row, column;  // image: index of its first pixel
  bool valid;
};
__device__ Place place(std::int64_t images, std::int64_t height, std::int64_t width) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t padded = (width + 31) / 32 * 32;
  const std::int64_t row = i / padded, column = i % padded, image = row / height;
  return {image * height * width, row % height, column, image < images && column < width};
}

// parents[i]: an index within the image, of the same component and not above i; -1 for background.
__global__ void start_runs(const std::uint8_t* mask, std::int32_t* parents, std::int64_t images,
                           std::int64_t height, std::int64_t width) {
  const Place at = place(images, height, width);
  const std::int64_t i = at.row * width + at.column;
  const bool set = at.valid && mask[at.image + i] != 0;
  const unsigned bits = __ballot_sync(kAll, set);
  if (!at.valid) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  // The nearest background to the left ends the run.
  const unsigned gaps = ~bits & ((1u << lane) - 1);
  const int begin = gaps == 0 ? 0 : 32 - __clz(static_cast<int>(gaps));
  parents[at.image + i] = set ? static_cast<std::int32_t>(i - (lane - begin)) : -1;
}

// Past the level-1 cache, which atomics of other blocks do not reach. An old value would be an
// ancestor too, only a lower one.
__device__ std::int32_t root_of(const std::int32_t* parents, std::int32_t i) {
  for (;;) {
    const std::int32_t parent = __ldcg(parents + i);
    if (parent == i) return i;
    i = parent;
  }
}

__device__ void unite(std::int32_t* parents, std::int32_t a, std::int32_t b) {
  for (;;) {
    a = root_of(parents, a);
    b = root_of(parents, b);
    if (a == b) return;
    const std::int32_t high = a < b ? b : a, low = a < b ? a : b;
    const std::int32_t old = atomicMin(parents + high, low);
    if (old == high) return;  // it was a root, and now points to the lower one
    a = old;                  // someone was faster: join what it points to
    b = low;
  }
}

__global__ void unite_runs(std::int32_t* parents, std::int64_t images, std::int64_t height,
                           std::int64_t width, bool diagonal) {
  const Place at = place(images, height, width);
  if (!at.valid) return;
  std::int32_t* image = parents + at.image;
  const auto i = static_cast<std::int32_t>(at.row * width + at.column);
  const auto w = static_cast<std::int32_t>(width);
  const auto set = [&](std::int32_t k) { return __ldcg(image + k) >= 0; };
  if (!set(i)) return;
  const bool has_left = at.column > 0, left = has_left && set(i - 1);
  if (left && at.column % 32 == 0) unite(image, i, i - 1);
  if (at.row == 0) return;
  const bool up = set(i - w), up_left = has_left && set(i - w - 1);
  // Where both rows go on to the left, the pixel there does it.
  if (up && !(left && up_left)) unite(image, i, i - w);
  if (!diagonal || up) return;
  if (up_left && !left) unite(image, i, i - w - 1);
  if (at.column + 1 < width && set(i - w + 1)) unite(image, i, i - w + 1);
}

constexpr std::int64_t kChunk = 4 * kThreads;  // pixels per block, all of one image

// Block b: chunk b % chunks of image b / chunks.
__global__ void find_roots(const std::int32_t* parents, std::int32_t* roots, std::int32_t* counts,
                           std::int64_t pixels, unsigned chunks) {
  const std::int64_t image = blockIdx.x / chunks * pixels;
  const std::int64_t begin = blockIdx.x % chunks * kChunk;
  int count = 0;
  for (int k = 0; k < 4; ++k) {
    const std::int64_t i = begin + k * kThreads + threadIdx.x;
    std::int32_t root = -1;
    if (i < pixels && parents[image + i] >= 0)
      root = root_of(parents + image, static_cast<std::int32_t>(i));
    if (i < pixels) roots[image + i] = root;
    count += __syncthreads_count(i < pixels && root == i);
  }
  if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

struct Scan {
  std::int32_t of_warps[kThreads / 32];
};
// Sum of `value` over the block's threads before the calling one; `total` over all. Every thread
// must call.
__device__ std::int32_t scan_before(std::int32_t value, Scan& shared, std::int32_t& total) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  std::int32_t sum = value;
  for (int apart = 1; apart < 32; apart *= 2) {
    const std::int32_t other = __shfl_up_sync(kAll, sum, static_cast<unsigned>(apart));
    if (lane >= apart) sum += other;
  }
  __syncthreads();  // an earlier scan's sums have been read
  if (lane == 31) shared.of_warps[warp] = sum;
  __syncthreads();
  std::int32_t before = 0;
  total = 0;
  for (int k = 0; k < kThreads / 32; ++k) {
    if (k < warp) before += shared.of_warps[k];
    total += shared.of_warps[k];
  }
  return before + sum - value;
}

// Block per image: counts[chunk] becomes the number of roots in the chunks before it.
__global__ void add_counts(std::int32_t* counts, unsigned chunks) {
  THORAX_SHARED(Scan, shared);
  std::int32_t* own = counts + static_cast<std::int64_t>(blockIdx.x) * chunks;
  std::int32_t before = 0;
  for (unsigned first = 0; first < chunks; first += kThreads) {
    const unsigned i = first + threadIdx.x;
    const std::int32_t count = i < chunks ? own[i] : 0;
    std::int32_t total = 0;
    const std::int32_t sum = before + scan_before(count, shared, total);
    if (i < chunks) own[i] = sum;
    before += total;
  }
}

// names[root] = 1, 2, ... in scan order.
__global__ void name_roots(const std::int32_t* roots, const std::int32_t* counts,
                           std::int32_t* names, std::int64_t pixels, unsigned chunks) {
  THORAX_SHARED(Scan, shared);
  const std::int64_t image = blockIdx.x / chunks * pixels;
  const std::int64_t begin = blockIdx.x % chunks * kChunk;
  std::int32_t before = counts[blockIdx.x];
  for (int k = 0; k < 4; ++k) {
    const std::int64_t i = begin + k * kThreads + threadIdx.x;
    const bool is_root = i < pixels && roots[image + i] == i;
    std::int32_t total = 0;
    const std::int32_t rank = scan_before(is_root ? 1 : 0, shared, total);
    if (is_root) names[image + i] = before + rank + 1;
    before += total;
  }
}

// In place of the roots.
__global__ void take_names(const std::int32_t* names, std::int32_t* labels, std::int64_t pixels,
                           unsigned chunks) {
  const std::int64_t image = blockIdx.x / chunks * pixels;
  const std::int64_t begin = blockIdx.x % chunks * kChunk;
  for (int k = 0; k < 4; ++k) {
    const std::int64_t i = begin + k * kThreads + threadIdx.x;
    if (i >= pixels) break;
    const std::int32_t root = labels[image + i];
    labels[image + i] = root < 0 ? 0 : names[image + root];
  }
}

void label(const MorphologyProblem& p, int connectivity, const Tensor& mask, const Tensor& labels) {
  const Device device = mask.device();
  const std::int64_t pixels = p.height * p.width;
  if (p.images * pixels == 0) return;
  const unsigned chunks = blocks_for(pixels, kChunk);
  const unsigned blocks = static_cast<unsigned>(p.images) * chunks;
  const Tensor parents = Tensor::empty({p.images, pixels}, DType::i32, device);
  const Tensor counts = Tensor::empty({p.images, chunks}, DType::i32, device);
  const LaunchConfig by_rows{
      dim3(blocks_for(p.images * p.height * ((p.width + 31) / 32 * 32), kThreads)), dim3(kThreads)};
  const LaunchConfig by_chunks{dim3(blocks), dim3(kThreads)};
  auto* parent = parents.device_data<std::int32_t>();
  auto* count = counts.device_data<std::int32_t>();
  auto* to = labels.device_data<std::int32_t>();
  launch(THORAX_KERNEL(start_runs), device, by_rows, mask.device_data<std::uint8_t>(), parent,
         p.images, p.height, p.width);
  launch(THORAX_KERNEL(unite_runs), device, by_rows, parent, p.images, p.height, p.width,
         connectivity == 8);
  launch(THORAX_KERNEL(find_roots), device, by_chunks, parent, to, count, pixels, chunks);
  launch(THORAX_KERNEL(add_counts), device, {dim3(static_cast<unsigned>(p.images)), dim3(kThreads)},
         count, chunks);
  // The parents are not needed any more: their memory takes the names.
  launch(THORAX_KERNEL(name_roots), device, by_chunks, to, count, parent, pixels, chunks);
  launch(THORAX_KERNEL(take_names), device, by_chunks, parent, to, pixels, chunks);
}

}  // namespace

THORAX_PROVIDER(morphology_gpu, morphology_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority = [](const MorphologyProblem&) { return 10; },
                 .dilate = run<true>,
                 .erode = run<false>,
                 .label = label});

}  // namespace THORAX_GPU
}  // namespace thorax
