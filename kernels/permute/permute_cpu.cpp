// Writes along memory, and where x's elements lie apart there reads 16 neighbouring runs of y
// together, so that a cache line of x is used up before it is gone.
#include "engine/runtime/parallel.h"
#include "kernels/permute/permute.h"
#include "kernels/permute/permute_walk.h"

namespace thorax {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements per chunk
constexpr std::int64_t kTile = 16;        // floats of a cache line

void forward(const PermuteProblem& p, const Tensor& x, const Tensor& y) {
  const auto walk = permute_walk(p, x, y);
  const float* from = x.data<float>();
  float* to = y.data<float>();
  if (walk.count() == 0) return;
  // The axis of the walk along which x's elements are neighbours.
  int along = walk.rank() - 1;
  for (int axis = 0; axis < walk.rank(); ++axis)
    if (walk.steps(axis)[0] == 1) along = axis;
  const int inner = walk.rank() - 1;
  const auto [inner_from, inner_to] = walk.steps(inner);
  if (along == inner) {
    parallel_for(0, walk.count(), kGrain,
                 [&, f = inner_from, t = inner_to](std::int64_t first, std::int64_t last) {
                   walk.for_runs(first, last,
                                 [&](const auto& at, std::int64_t, std::int64_t length) {
                                   for (std::int64_t i = 0; i < length; ++i)
                                     to[at[1] + i * t] = from[at[0] + i * f];
                                 });
                 });
    return;
  }
  // Tiles of kTile (along x) x kTile (along y); the other axes one position after the other.
  StridedWalk<2> others;
  for (int axis = 0; axis < walk.rank(); ++axis)
    if (axis != along && axis != inner) others.add_axis(walk.extent(axis), walk.steps(axis));
  const std::int64_t rows = walk.extent(along), columns = walk.extent(inner);
  const std::int64_t row_tiles = (rows + kTile - 1) / kTile;
  const std::int64_t row_to = walk.steps(along)[1];
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (kTile * columns));
  parallel_for(0, others.count() * row_tiles, grain,
               [&, f = inner_from, t = inner_to](std::int64_t first, std::int64_t last) {
                 for (std::int64_t task = first; task < last; ++task) {
                   const auto at = others.offsets(task / row_tiles);
                   const std::int64_t row = task % row_tiles * kTile,
                                      height = std::min(kTile, rows - row);
                   for (std::int64_t column = 0; column < columns; column += kTile) {
                     const std::int64_t width = std::min(kTile, columns - column);
                     const float* source = from + at[0] + row + column * f;
                     float* target = to + at[1] + row * row_to + column * t;
                     for (std::int64_t r = 0; r < height; ++r)
                       for (std::int64_t c = 0; c < width; ++c)
                         target[r * row_to + c * t] = source[r + c * f];
                   }
                 }
               });
}

}  // namespace

THORAX_PROVIDER(permute_cpu, permute_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority =
                     [](const PermuteProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward = forward});

}  // namespace thorax
