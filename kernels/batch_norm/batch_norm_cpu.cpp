// Vectorised float32, bound by memory rather than arithmetic. What it does about that:
//  - Statistics in one pass. Each chunk of pixels sums x - k and (x - k)^2 with k = the chunk's own
//    first pixel, so that a mean far from zero costs no digits; chunks are combined in double, in
//    order. Shifted by a value of the data the relative error of a variance stays below that of one
//    float sum (Chan, Golub, LeVeque, "Algorithms for computing the sample variance", 1983).
//  - ReLU's mask is computed again from x, bit for bit as forward did, instead of reading y, unless
//  a
//    residual went in.
//  - The second pass goes backwards: it starts with what the first one left in the cache.
//  - Several pixels form a row whose length is a multiple of 8, so that 18 channels fill vectors.
// Work is cut by problem size only: the bits do not depend on the number of threads.
#include <array>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <vector>

#include "engine/runtime/allocator.h"
#include "engine/runtime/parallel.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/lanes.h"

namespace thorax {
namespace {

using namespace lanes;

constexpr std::int64_t kMinWidth = 64;          // floats in a row
constexpr std::int64_t kChunkFloats = 1 << 14;  // 64 KiB: the chunk of one task
constexpr std::int64_t kMinChunkRows = 32;      // the sums of a chunk are worth combining
// Wider rows are walked one by one: four streams a kilobyte apart defeat the hardware's prefetching
// (measured on Zen 3: 8x56x56x256 took twice as long).
constexpr std::int64_t kWideRow = 160;
constexpr std::int64_t kFloatRows = 64;  // rows summed in float before double takes over

// How the pixels x channels matrix is cut: `rows` rows of `per_row` pixels (the last may be
// shorter), `chunk_rows` rows to a task.
struct Plan {
  std::int64_t channels, pixels, per_row = 1, width, rows, chunk_rows, chunks;

  // Channel slices have gaps between pixels: there a row is one pixel.
  Plan(const BatchNormProblem& pr, bool contiguous) : channels(pr.channels()), pixels(pr.pixels()) {
    if (contiguous) {
      const std::int64_t unit = 8 / std::gcd(channels, std::int64_t{8});
      per_row =
          unit * std::max<std::int64_t>(1, (kMinWidth + channels * unit - 1) / (channels * unit));
      per_row = std::min(per_row, pixels);
    }
    width = channels * per_row;
    rows = (pixels + per_row - 1) / per_row;
    chunk_rows = std::max(kMinChunkRows, kChunkFloats / width);
    chunks = (rows + chunk_rows - 1) / chunk_rows;
  }
  std::int64_t first_row(std::int64_t chunk) const { return chunk * chunk_rows; }
  std::int64_t last_row(std::int64_t chunk) const {
    return std::min(rows, (chunk + 1) * chunk_rows);
  }
  std::int64_t chunk_pixels(std::int64_t chunk) const {
    return std::min(pixels, last_row(chunk) * per_row) - first_row(chunk) * per_row;
  }
  // Calls block(count, row, width) for rows [first, last): count = 4 or 1 consecutive rows, as an
  // integral_constant.
  template <class Block>
  void for_blocks(std::int64_t first, std::int64_t last, const Block& block) const {
    const std::int64_t whole = std::min(last, pixels / per_row);
    std::int64_t row = first;
    if (width <= kWideRow)
      for (; row + 4 <= whole; row += 4) block(std::integral_constant<int, 4>{}, row, width);
    for (; row < whole; ++row) block(std::integral_constant<int, 1>{}, row, width);
    if (row < last)
      block(std::integral_constant<int, 1>{}, row, (pixels - row * per_row) * channels);
  }
};

bool all_contiguous(std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* tensor : tensors)
    if (tensor->defined() && !tensor->contiguous()) return false;
  return true;
}

struct Rows {
  float* data = nullptr;
  std::int64_t stride = 0;
  Rows(const Plan& plan, const Tensor& tensor) {
    if (!tensor.defined()) return;
    data = tensor.data<float>();
    stride = tensor.contiguous() ? plan.width : tensor.pixel_stride();
  }
  float* at(std::int64_t row) const { return data + row * stride; }
  // Pointers to kCount consecutive rows. The innermost loops capture these by value: a pointer kept
  // in memory would have to be read again after every store.
  template <int kCount>
  std::array<float*, static_cast<std::size_t>(kCount)> block(std::int64_t row) const {
    std::array<float*, static_cast<std::size_t>(kCount)> pointers{};
    for (std::size_t r = 0; r < pointers.size(); ++r)
      pointers[r] = at(row + static_cast<std::int64_t>(r));
    return pointers;
  }
};

// One float per column of a row, from one value per channel.
class Columns {
 public:
  explicit Columns(const Plan& plan) : values_(static_cast<std::size_t>(plan.width)) {}
  template <class Value>
  Columns(const Plan& plan, const Value& value) : Columns(plan) {
    for (std::int64_t c = 0; c < plan.channels; ++c)
      values_[static_cast<std::size_t>(c)] = static_cast<float>(value(c));
    repeat(plan);
  }
  void repeat(const Plan& plan) {
    for (std::int64_t i = plan.channels; i < plan.width; ++i) data()[i] = data()[i - plan.channels];
  }
  float* data() const { return values_.data(); }

 private:
  Workspace<float> values_;
};

// Two sums per column over the rows of a chunk: short stretches in float, the whole in double.
class ChunkSums {
 public:
  explicit ChunkSums(const Plan& plan)
      : plan_(plan), a_(plan), b_(plan), total_(static_cast<std::size_t>(2 * plan.width)) {
    std::fill_n(total_.data(), 2 * plan.width, 0.0);
  }
  // Calls add(count, row, width, a, b), which adds rows to the float sums a and b.
  template <class Add>
  void run(std::int64_t chunk, const Add& add) {
    const std::int64_t last = plan_.last_row(chunk);
    for (std::int64_t row = plan_.first_row(chunk); row < last; row += kFloatRows) {
      std::fill_n(a_.data(), plan_.width, 0.0f);
      std::fill_n(b_.data(), plan_.width, 0.0f);
      plan_.for_blocks(row, std::min(last, row + kFloatRows),
                       [&](auto count, std::int64_t r, std::int64_t width) {
                         add(count, r, width, a_.data(), b_.data());
                       });
      for (std::int64_t i = 0; i < plan_.width; ++i) {
        total_[static_cast<std::size_t>(i)] += static_cast<double>(a_.data()[i]);
        total_[static_cast<std::size_t>(plan_.width + i)] += static_cast<double>(b_.data()[i]);
      }
    }
  }
  // Sums per channel, to a[channels] and b[channels].
  void fold(double* a, double* b) const {
    std::fill_n(a, plan_.channels, 0.0);
    std::fill_n(b, plan_.channels, 0.0);
    for (std::int64_t i = 0; i < plan_.width; i += plan_.channels) {
      for (std::int64_t c = 0; c < plan_.channels; ++c) {
        a[c] += total_.data()[i + c];
        b[c] += total_.data()[plan_.width + i + c];
      }
    }
  }

 private:
  const Plan& plan_;
  Columns a_, b_;
  Workspace<double> total_;
};

void statistics(const Plan& plan, const Tensor& x, double* mean, double* variance) {
  const Rows in(plan, x);
  const std::int64_t channels = plan.channels;
  // Per chunk: mean, then the sum of squared distances from it.
  const Workspace<double> parts(static_cast<std::size_t>(plan.chunks * 2 * channels));
  parallel_for(0, plan.chunks, 1, [&](std::int64_t chunk, std::int64_t) {
    const float* first = in.at(plan.first_row(chunk));
    const Columns shift(plan, [&](std::int64_t c) { return first[c]; });
    const float* k = shift.data();
    ChunkSums sums(plan);
    sums.run(chunk, [&](auto count, std::int64_t row, std::int64_t width, float* s, float* q) {
      const auto rows = in.block<count()>(row);
      for_lanes(width, [=]<class V>(std::int64_t i) {
        const V shifted = load<V>(k + i);
        V sum = load<V>(s + i), squares = load<V>(q + i);
        for (std::size_t r = 0; r < rows.size(); ++r) {
          const V d = load<V>(rows[r] + i) - shifted;
          sum += d;
          squares = fused(d, d, squares);
        }
        store(s + i, sum);
        store(q + i, squares);
      });
    });
    double *m = parts.data() + chunk * 2 * channels, *m2 = m + channels;
    sums.fold(m, m2);
    const double n = static_cast<double>(plan.chunk_pixels(chunk));
    for (std::int64_t c = 0; c < channels; ++c) {
      m2[c] = std::max(m2[c] - m[c] * m[c] / n, 0.0);  // a NaN stays one
      m[c] = static_cast<double>(first[c]) + m[c] / n;
    }
  });
  const double total = static_cast<double>(plan.pixels);
  std::fill_n(mean, channels, 0.0);
  std::fill_n(variance, channels, 0.0);
  for (std::int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
    const double n = static_cast<double>(plan.chunk_pixels(chunk));
    for (std::int64_t c = 0; c < channels; ++c)
      mean[c] += n / total * parts.data()[chunk * 2 * channels + c];
  }
  for (std::int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
    const double n = static_cast<double>(plan.chunk_pixels(chunk));
    const double* m = parts.data() + chunk * 2 * channels;
    for (std::int64_t c = 0; c < channels; ++c) {
      const double d = m[c] - mean[c];
      variance[c] += (m[channels + c] + n * d * d) / total;
    }
  }
}

// The forward map of one channel as pre = (x - center) * scale + shift. The digits of the mean that
// `center` cannot hold go into the shift.
struct Affine {
  Columns center, scale, shift;
  Affine(const Plan& plan, const BatchNormProblem& pr, const Tensor& weight, const Tensor& bias,
         const double* mean, const double* variance)
      : center(plan, [&](std::int64_t c) { return mean[c]; }),
        scale(plan, [&](std::int64_t c) { return scale_of(pr, weight, variance, c); }),
        shift(plan, [&](std::int64_t c) {
          const double lost = mean[c] - static_cast<double>(static_cast<float>(mean[c]));
          return static_cast<double>(bias.data<float>()[c]) -
                 lost * scale_of(pr, weight, variance, c);
        }) {}
  static double scale_of(const BatchNormProblem& pr, const Tensor& weight, const double* variance,
                         std::int64_t c) {
    return static_cast<double>(weight.data<float>()[c]) / std::sqrt(variance[c] + pr.epsilon);
  }
};

// Calls task(first row, last row) for every chunk, the last chunk first.
template <class Task>
void for_chunks_backwards(const Plan& plan, const Task& task) {
  parallel_for(0, plan.chunks, 1, [&](std::int64_t i, std::int64_t) {
    const std::int64_t chunk = plan.chunks - 1 - i;
    task(plan.first_row(chunk), plan.last_row(chunk));
  });
}

// Calls fn with a std::bool_constant.
template <class Fn>
void with_bool(bool value, const Fn& fn) {
  value ? fn(std::true_type{}) : fn(std::false_type{});
}

void forward(const BatchNormProblem& pr, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& residual, const BatchNormStatistics& known, const Tensor& y) {
  if (pr.pixels() == 0) return;
  double *mean = known.mean.data<double>(), *variance = known.variance.data<double>();
  if (pr.training) statistics(Plan(pr, x.contiguous()), x, mean, variance);
  const Plan plan(pr, all_contiguous({&x, &residual, &y}));
  const Rows in(plan, x), added(plan, residual), out(plan, y);
  const Affine map(plan, pr, weight, bias, mean, variance);
  const float *center = map.center.data(), *scale = map.scale.data(), *shift = map.shift.data();
  with_bool(pr.residual, [&](auto with_residual) {
    with_bool(pr.relu, [&](auto with_relu) {
      for_chunks_backwards(plan, [&](std::int64_t first, std::int64_t last) {
        plan.for_blocks(first, last, [&](auto count, std::int64_t row, std::int64_t width) {
          const auto rows = in.block<count()>(row), extra = added.block<count()>(row),
                     to = out.block<count()>(row);
          for_lanes(width, [=]<class V>(std::int64_t i) {
            const V c = load<V>(center + i), s = load<V>(scale + i), b = load<V>(shift + i);
            for (std::size_t r = 0; r < rows.size(); ++r) {
              V value = fused(load<V>(rows[r] + i) - c, s, b);
              if constexpr (with_residual()) value += load<V>(extra[r] + i);
              if constexpr (with_relu()) value = relu(value);
              store(to[r] + i, value);
            }
          });
        });
      });
    });
  });
  update_running_on_cpu(pr, known);
}

// Where the mask of ReLU comes from.
enum class Mask { none, from_x, from_y };

template <class Fn>
void with_mask(Mask mask, const Fn& fn) {
  switch (mask) {
    case Mask::none:
      return fn(std::integral_constant<Mask, Mask::none>{});
    case Mask::from_x:
      return fn(std::integral_constant<Mask, Mask::from_x>{});
    case Mask::from_y:
      return fn(std::integral_constant<Mask, Mask::from_y>{});
  }
}

// dy behind the mask. `centered` is x - center.
template <Mask mask, class V>
inline V masked(V grad, V centered, const float* scale, const float* shift, const float* y) {
  if constexpr (mask == Mask::from_x)
    return relu_gradient(fused(centered, load<V>(scale), load<V>(shift)), grad);
  else if constexpr (mask == Mask::from_y)
    return relu_gradient(load<V>(y), grad);
  else
    return grad;
}

void backward(const BatchNormProblem& pr, const Tensor& dy, const Tensor& x, const Tensor& y,
              const Tensor& weight, const Tensor& bias, const BatchNormStatistics& known,
              const Tensor& dx, const Tensor& dresidual, const Tensor& dweight,
              const Tensor& dbias) {
  const std::int64_t channels = pr.channels();
  if (pr.pixels() == 0) {
    if (dweight.defined()) dweight.fill(0);
    if (dbias.defined()) dbias.fill(0);
    return;
  }
  const Plan plan(pr, all_contiguous({&dy, &x, &y, &dx, &dresidual}));
  const double *m = known.mean.data<double>(), *v = known.variance.data<double>();
  const Affine map(plan, pr, weight, bias, m, v);
  const float *center = map.center.data(), *scale = map.scale.data(), *shift = map.shift.data();
  const Rows grad(plan, dy), in(plan, x), out(plan, dx), dz_out(plan, dresidual);
  const Rows result(plan, pr.relu ? y : dy);  // only read for Mask::from_y
  const Mask mask = !pr.relu ? Mask::none : pr.residual ? Mask::from_y : Mask::from_x;

  // First pass: sums of dz and of dz * (x - center); dz itself where the residual wants it.
  const Workspace<double> parts(static_cast<std::size_t>(plan.chunks * 2 * channels));
  with_mask(mask, [&](auto kind) {
    with_bool(dresidual.defined(), [&](auto write) {
      parallel_for(0, plan.chunks, 1, [&](std::int64_t chunk, std::int64_t) {
        ChunkSums sums(plan);
        sums.run(chunk, [&](auto count, std::int64_t row, std::int64_t width, float* s, float* p) {
          const auto rows = in.block<count()>(row), grads = grad.block<count()>(row),
                     results = result.block<count()>(row), to = dz_out.block<count()>(row);
          for_lanes(width, [=]<class V>(std::int64_t i) {
            const V c = load<V>(center + i);
            V sum = load<V>(s + i), product = load<V>(p + i);
            for (std::size_t r = 0; r < rows.size(); ++r) {
              const V centered = load<V>(rows[r] + i) - c;
              const V dz = masked<kind()>(load<V>(grads[r] + i), centered, scale + i, shift + i,
                                          results[r] + i);
              if constexpr (write()) store(to[r] + i, dz);
              sum += dz;
              product = fused(dz, centered, product);
            }
            store(s + i, sum);
            store(p + i, product);
          });
        });
        double* a = parts.data() + chunk * 2 * channels;
        sums.fold(a, a + channels);
      });
    });
  });
  std::vector<double> sum(static_cast<std::size_t>(channels)), product(sum);
  for (std::int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
    const double* a = parts.data() + chunk * 2 * channels;
    for (std::int64_t c = 0; c < channels; ++c) {
      sum[static_cast<std::size_t>(c)] += a[c];
      product[static_cast<std::size_t>(c)] += a[channels + c];
    }
  }
  const auto lost = [&](std::int64_t c) {
    return m[c] - static_cast<double>(static_cast<float>(m[c]));
  };
  for (std::int64_t c = 0; c < channels; ++c) {
    const std::size_t i = static_cast<std::size_t>(c);
    product[i] -= lost(c) * sum[i];
    if (dweight.defined())
      dweight.data<float>()[c] = static_cast<float>(product[i] / std::sqrt(v[c] + pr.epsilon));
    if (dbias.defined()) dbias.data<float>()[c] = static_cast<float>(sum[i]);
  }
  if (!dx.defined()) return;

  // Second pass: dx = scale * (dz - mean(dz) - xhat * mean(dz * xhat)), as
  // scale * dz + (x - center) * slope + offset. The running statistics do not depend on x.
  const double n = static_cast<double>(plan.pixels);
  const auto slope_of = [&](std::int64_t c) {
    return -Affine::scale_of(pr, weight, v, c) / (v[c] + pr.epsilon) *
           product[static_cast<std::size_t>(c)] / n;
  };
  const Columns slopes(plan, slope_of);
  const Columns offsets(plan, [&](std::int64_t c) {
    return -Affine::scale_of(pr, weight, v, c) * sum[static_cast<std::size_t>(c)] / n -
           slope_of(c) * lost(c);
  });
  const float *slope = slopes.data(), *offset = offsets.data();
  // dz is at hand where the first pass wrote it.
  const Rows source = dresidual.defined() ? dz_out : grad;
  with_mask(dresidual.defined() ? Mask::none : mask, [&](auto kind) {
    with_bool(pr.training, [&](auto training) {
      for_chunks_backwards(plan, [&](std::int64_t first, std::int64_t last) {
        plan.for_blocks(first, last, [&](auto count, std::int64_t row, std::int64_t width) {
          const auto rows = in.block<count()>(row), grads = source.block<count()>(row),
                     results = result.block<count()>(row), to = out.block<count()>(row);
          for_lanes(width, [=]<class V>(std::int64_t i) {
            const V c = load<V>(center + i), a = load<V>(scale + i);
            for (std::size_t r = 0; r < rows.size(); ++r) {
              V centered{};
              if constexpr (training() || kind() == Mask::from_x)
                centered = load<V>(rows[r] + i) - c;
              const V dz = masked<kind()>(load<V>(grads[r] + i), centered, scale + i, shift + i,
                                          results[r] + i);
              V value = a * dz;
              if constexpr (training())
                value = fused(a, dz, fused(load<V>(slope + i), centered, load<V>(offset + i)));
              store(to[r] + i, value);
            }
          });
        });
      });
    });
  });
}

}  // namespace

THORAX_PROVIDER(batch_norm_cpu, batch_norm_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority =
                     [](const BatchNormProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace thorax
