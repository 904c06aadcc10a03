// Vectorised float32 over channels. The backward pass gathers: each input pixel adds up, in order,
// the output pixels that it went into, so that no two threads ever add to one value.
#include <vector>

#include "engine/runtime/allocator.h"
#include "engine/runtime/parallel.h"
#include "kernels/common/repeat.h"
#include "kernels/upsample/upsample.h"

namespace thorax {
namespace {

using namespace lanes;

constexpr std::int64_t kChunkFloats = 1 << 14;  // 64 KiB to a task

struct Image {
  float* data;
  std::int64_t width, stride;
  explicit Image(const Tensor& t)
      : data(t.data<float>()), width(t.size(2)), stride(t.pixel_stride()) {}
  // `row` counts over all images.
  float* at(std::int64_t row, std::int64_t w) const { return data + (row * width + w) * stride; }
};

// Calls task(row) for every row of all images, in parallel; a row costs `row_floats`.
template <class Task>
void for_rows(std::int64_t rows, std::int64_t row_floats, const Task& task) {
  parallel_for(0, rows, kChunkFloats / std::max<std::int64_t>(1, row_floats),
               [&](std::int64_t first, std::int64_t last) {
                 for (std::int64_t row = first; row < last; ++row) task(row);
               });
}

void nearest_forward(const UpsampleProblem& pr, const Tensor& x, const Tensor& y) {
  const Image in(x), out(y);
  const std::int64_t factor = pr.factor();
  for_rows(pr.batch * pr.out_height, pr.out_width * pr.channels, [&](std::int64_t row) {
    repeat_row(in.at(row / factor, 0), in.stride, pr.width, factor, pr.channels, out.at(row, 0),
               out.stride);
  });
}

void nearest_backward(const UpsampleProblem& pr, const Tensor& dy, const Tensor& dx) {
  const Image grad(dy), out(dx);
  const std::int64_t factor = pr.factor(), floats = pr.out_width * pr.channels;
  for_rows(pr.batch * pr.height, factor * floats, [&](std::int64_t row) {
    const Workspace<float> buffer(static_cast<std::size_t>(2 * floats));
    float *sums = buffer.data(), *line = sums + floats;
    for (std::int64_t r = 0; r < factor; ++r) {
      const float* from =
          dense_row(grad.at(row * factor + r, 0), grad.stride, pr.out_width, pr.channels, line);
      if (r == 0) {
        std::copy_n(from, floats, sums);
      } else {
        for_lanes(floats, [=]<class V>(std::int64_t i) {
          store(sums + i, load<V>(sums + i) + load<V>(from + i));
        });
      }
    }
    sum_row(sums, pr.width, factor, pr.channels, out.at(row, 0), out.stride);
  });
}

// The two input pixels of every output pixel of an axis.
std::vector<SamplePoint> sample_points(std::int64_t size, std::int64_t out_size,
                                       bool align_corners) {
  std::vector<SamplePoint> points;
  for (std::int64_t i = 0; i < out_size; ++i) {
    points.push_back(sample_point(i, size, out_size, align_corners));
    // A neighbour of no weight is not looked at: it may be infinite.
    if (points.back().fraction == 0) points.back().high = points.back().low;
  }
  return points;
}

void bilinear_forward(const UpsampleProblem& pr, const Tensor& x, const Tensor& y) {
  const Image in(x), out(y);
  const auto rows = sample_points(pr.height, pr.out_height, pr.align_corners);
  const auto columns = sample_points(pr.width, pr.out_width, pr.align_corners);
  for_rows(pr.batch * pr.out_height, pr.out_width * pr.channels, [&](std::int64_t row) {
    const SamplePoint& r = rows[static_cast<std::size_t>(row % pr.out_height)];
    const std::int64_t image = row / pr.out_height * pr.height;
    for (std::int64_t q = 0; q < pr.out_width; ++q) {
      const SamplePoint& s = columns[static_cast<std::size_t>(q)];
      const float *a = in.at(image + r.low, s.low), *b = in.at(image + r.low, s.high);
      const float *c = in.at(image + r.high, s.low), *d = in.at(image + r.high, s.high);
      const auto wa = static_cast<float>((1 - r.fraction) * (1 - s.fraction));
      const auto wb = static_cast<float>((1 - r.fraction) * s.fraction);
      const auto wc = static_cast<float>(r.fraction * (1 - s.fraction));
      const auto wd = static_cast<float>(r.fraction * s.fraction);
      float* to = out.at(row, q);
      for_lanes_overlapped(pr.channels, [=]<class V>(std::int64_t i) {
        V sum = load<V>(a + i) * (V{} + wa);
        sum = fused(load<V>(b + i), V{} + wb, sum);
        sum = fused(load<V>(c + i), V{} + wc, sum);
        store(to + i, fused(load<V>(d + i), V{} + wd, sum));
      });
    }
  });
}

struct Use {
  std::int64_t position;
  double weight;
};
// For every input pixel of an axis, the output pixels that it goes into, in order.
std::vector<std::vector<Use>> uses(std::int64_t size, std::int64_t out_size, bool align_corners) {
  std::vector<std::vector<Use>> table(static_cast<std::size_t>(size));
  const std::vector<SamplePoint> points = sample_points(size, out_size, align_corners);
  for (std::int64_t i = 0; i < out_size; ++i) {
    const SamplePoint& p = points[static_cast<std::size_t>(i)];
    if (p.low == p.high) {
      table[static_cast<std::size_t>(p.low)].push_back({i, 1.0});
    } else {
      table[static_cast<std::size_t>(p.low)].push_back({i, 1 - p.fraction});
      table[static_cast<std::size_t>(p.high)].push_back({i, p.fraction});
    }
  }
  return table;
}

void bilinear_backward(const UpsampleProblem& pr, const Tensor& dy, const Tensor& dx) {
  const Image grad(dy), out(dx);
  const auto rows = uses(pr.height, pr.out_height, pr.align_corners);
  const auto columns = uses(pr.width, pr.out_width, pr.align_corners);
  const std::int64_t work = pr.out_height * pr.out_width / std::max<std::int64_t>(1, pr.height);
  for_rows(pr.batch * pr.height, std::max(work, pr.width) * pr.channels, [&](std::int64_t row) {
    const auto& from_rows = rows[static_cast<std::size_t>(row % pr.height)];
    const std::int64_t image = row / pr.height * pr.out_height;
    for (std::int64_t w = 0; w < pr.width; ++w) {
      const auto& from_columns = columns[static_cast<std::size_t>(w)];
      float* to = out.at(row, w);
      for_lanes_overlapped(pr.channels, [&, to]<class V>(std::int64_t i) {
        V sum{};
        for (const Use& p : from_rows)
          for (const Use& q : from_columns)
            sum = fused(load<V>(grad.at(image + p.position, q.position) + i),
                        V{} + static_cast<float>(p.weight * q.weight), sum);
        store(to + i, sum);
      });
    }
  });
}

}  // namespace

THORAX_PROVIDER(upsample_cpu, upsample_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority =
                     [](const UpsampleProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward =
                     [](const UpsampleProblem& p, const Tensor& x, const Tensor& y) {
                       if (y.numel() == 0) return;
                       p.mode == UpsampleMode::nearest ? nearest_forward(p, x, y)
                                                       : bilinear_forward(p, x, y);
                     },
                 .backward =
                     [](const UpsampleProblem& p, const Tensor& dy, const Tensor& dx) {
                       if (dx.numel() == 0) return;
                       p.mode == UpsampleMode::nearest ? nearest_backward(p, dy, dx)
                                                       : bilinear_backward(p, dy, dx);
                     }});

}  // namespace thorax
