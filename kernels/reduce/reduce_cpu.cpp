// Sums in parts of a fixed length, on several threads; the parts are added in order, so that the
// bits do not depend on the number of threads.
#include <algorithm>
#include <vector>

#include "engine/runtime/parallel.h"
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reduce_axes.h"

namespace thorax {
namespace {

constexpr std::int64_t kPart = 1 << 14;   // elements of a sum that one task adds
constexpr std::int64_t kColumns = 256;    // neighbouring sums that one task makes side by side
constexpr std::int64_t kGrain = 1 << 14;  // elements per chunk of the backward pass

// Eight sums side by side, then these.
double sum_run(const float* x, std::int64_t count, std::int64_t step) {
  double lanes[8] = {};
  std::int64_t i = 0;
  if (step == 1) {
    for (; i + 8 <= count; i += 8)
      for (int k = 0; k < 8; ++k) lanes[k] += static_cast<double>(x[i + k]);
  }
  for (; i < count; ++i) lanes[i % 8] += static_cast<double>(x[i * step]);
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

void forward(const ReduceProblem& p, const Tensor& x, const Tensor& y) {
  const ReduceAxes axes(p, x);
  const std::int64_t results = y.numel(), count = p.count();
  const std::int64_t parts = std::max<std::int64_t>(1, (count + kPart - 1) / kPart);
  std::vector<double> sums(static_cast<std::size_t>(parts * results));
  const float* from = x.data<float>();
  const auto part_end = [&](std::int64_t part) { return std::min(count, (part + 1) * kPart); };
  if (axes.rows()) {
    const std::int64_t step = axes.summed.steps(axes.summed.rank() - 1)[0];
    const std::int64_t grain =
        std::max<std::int64_t>(1, kPart / std::clamp<std::int64_t>(count, 1, kPart));
    parallel_for(0, parts * results, grain, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t task = first; task < last; ++task) {
        const std::int64_t part = task / results;
        const float* begin = from + axes.kept.offsets(task % results)[0];
        double total = 0;
        axes.summed.for_runs(part * kPart, part_end(part),
                             [&](const auto& at, std::int64_t, std::int64_t length) {
                               total += sum_run(begin + at[0], length, step);
                             });
        sums[static_cast<std::size_t>(task)] = total;
      }
    });
  } else {
    const std::int64_t blocks = (results + kColumns - 1) / kColumns;
    const std::int64_t across = axes.kept.steps(axes.kept.rank() - 1)[0];
    const std::int64_t down = axes.summed.steps(axes.summed.rank() - 1)[0];
    parallel_for(0, parts * blocks, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t task = first; task < last; ++task) {
        const std::int64_t part = task / blocks, begin = task % blocks * kColumns;
        double* to = sums.data() + part * results;
        axes.kept.for_runs(begin, std::min(results, begin + kColumns),
                           [&](const auto& column, std::int64_t m, std::int64_t columns) {
                             axes.summed.for_runs(
                                 part * kPart, part_end(part),
                                 [&](const auto& at, std::int64_t, std::int64_t length) {
                                   const float* row = from + column[0] + at[0];
                                   for (std::int64_t r = 0; r < length; ++r, row += down)
                                     for (std::int64_t k = 0; k < columns; ++k)
                                       to[m + k] += static_cast<double>(row[k * across]);
                                 });
                           });
      }
    });
  }
  for (std::int64_t m = 0; m < results; ++m) {
    double total = 0;
    for (std::int64_t part = 0; part < parts; ++part)
      total += sums[static_cast<std::size_t>(part * results + m)];
    y.data<float>()[m] = static_cast<float>(p.scale * total);
  }
}

void backward(const ReduceProblem& p, const Tensor& dy, const Tensor& dx) {
  const auto walk = broadcast_walk<2>(p.shape, {&dy, &dx});
  const float* from = dy.data<float>();
  float* to = dx.data<float>();
  const float scale = static_cast<float>(p.scale);
  const std::int64_t step = walk.steps(walk.rank() - 1)[0], next = walk.steps(walk.rank() - 1)[1];
  parallel_for(0, walk.count(), kGrain, [&](std::int64_t first, std::int64_t last) {
    walk.for_runs(first, last, [&](const auto& at, std::int64_t, std::int64_t length) {
      for (std::int64_t i = 0; i < length; ++i)
        to[at[1] + i * next] = scale * from[at[0] + i * step];
    });
  });
}

}  // namespace

THORAX_PROVIDER(reduce_cpu, reduce_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority = [](const ReduceProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace thorax
