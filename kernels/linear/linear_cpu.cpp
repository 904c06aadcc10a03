// Every element has its own fixed order of sums, whatever block or thread it falls into:
// forward = eight lanes along the features, the other two = one term after the other.
#include "engine/runtime/allocator.h"
#include "engine/runtime/parallel.h"
#include "kernels/common/vector_math.h"
#include "kernels/linear/linear.h"

namespace thorax {
namespace {

using simd::Floats;

// Multiply-adds that are worth a thread.
constexpr std::int64_t kWork = 1 << 15;

std::int64_t grain_for(std::int64_t work_each) {
  return std::max<std::int64_t>(1, kWork / std::max<std::int64_t>(1, work_each));
}

struct Rows {
  float* data;
  std::int64_t stride;
  explicit Rows(const Tensor& t) : data(t.data<float>()), stride(t.pixel_stride()) {}
  float* operator[](std::int64_t n) const { return data + n * stride; }
};

// y of kRows rows and kOuts outputs: a register each, so that a loaded vector serves several.
template <int kRows, int kOuts>
void forward_tile(const LinearProblem& p, const Rows& x, const float* weight, const float* bias,
                  const Rows& y, std::int64_t n, std::int64_t k) {
  Floats sums[kRows][kOuts] = {};
  const auto step = [&](std::int64_t c, int lanes) {
    Floats w[kOuts];
    for (int j = 0; j < kOuts; ++j)
      w[j] = simd::load_first<8>(weight + (k + j) * p.in_features + c, lanes);
    for (int i = 0; i < kRows; ++i) {
      const Floats v = simd::load_first<8>(x[n + i] + c, lanes);
      for (int j = 0; j < kOuts; ++j) sums[i][j] += v * w[j];
    }
  };
  std::int64_t c = 0;
  for (; c + 8 <= p.in_features; c += 8) step(c, 8);
  if (c < p.in_features) step(c, static_cast<int>(p.in_features - c));
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kOuts; ++j) {
      float value = simd::sum_lanes(sums[i][j]);
      if (bias != nullptr) value += bias[k + j];
      y[n + i][k + j] = p.relu && value < 0 ? 0.0f : value;
    }
  }
}

template <int kRows>
void forward_rows(const LinearProblem& p, const Rows& x, const float* weight, const float* bias,
                  const Rows& y, std::int64_t n, std::int64_t first, std::int64_t last) {
  constexpr int kOuts = kRows == 4 ? 2 : 4;
  std::int64_t k = first;
  for (; k + kOuts <= last; k += kOuts) forward_tile<kRows, kOuts>(p, x, weight, bias, y, n, k);
  for (; k < last; ++k) forward_tile<kRows, 1>(p, x, weight, bias, y, n, k);
}

void forward(const LinearProblem& p, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& y) {
  const Rows in(x), out(y);
  const float* w = weight.data<float>();
  const float* b = bias.defined() ? bias.data<float>() : nullptr;
  // A multiple of the tile's outputs, so that chunks end on whole tiles.
  const std::int64_t grain = (grain_for(p.rows * p.in_features) + 3) / 4 * 4;
  parallel_for(0, p.out_features, grain, [&](std::int64_t first, std::int64_t last) {
    // Blocks of outputs whose weights stay in the first-level cache for all rows.
    const std::int64_t block =
        std::max<std::int64_t>(4, 4096 / std::max<std::int64_t>(1, p.in_features) / 4 * 4);
    for (std::int64_t k = first; k < last; k += block) {
      const std::int64_t end = std::min(k + block, last);
      std::int64_t n = 0;
      for (; n + 4 <= p.rows; n += 4) forward_rows<4>(p, in, w, b, out, n, k, end);
      for (; n + 2 <= p.rows; n += 2) forward_rows<2>(p, in, w, b, out, n, k, end);
      for (; n < p.rows; ++n) forward_rows<1>(p, in, w, b, out, n, k, end);
    }
  });
}

// dy with the ReLU's zeros: rows x out_features, dense.
class GatedGradient {
 public:
  GatedGradient(const LinearProblem& p, const Tensor& dy, const Tensor& y)
      : outs_(p.out_features), values_(static_cast<std::size_t>(p.rows * p.out_features)) {
    const Rows grad(dy), result(p.relu ? y : dy);
    for (std::int64_t n = 0; n < p.rows; ++n) {
      for (std::int64_t k = 0; k < outs_; ++k)
        values_.data()[n * outs_ + k] = p.relu && result[n][k] <= 0 ? 0.0f : grad[n][k];
    }
  }
  float at(std::int64_t n, std::int64_t k) const { return values_.data()[n * outs_ + k]; }

 private:
  std::int64_t outs_;
  Workspace<float> values_;
};

// to[c] += sum over `terms` (1 to 4) of factor[t] * from[t][c], term after term.
void add_terms(int terms, const float* factor, const float* const* from, std::int64_t count,
               float* __restrict to) {
  if (terms == 4) {
    const float *a = from[0], *b = from[1], *c = from[2], *d = from[3];
    const float fa = factor[0], fb = factor[1], fc = factor[2], fd = factor[3];
    for (std::int64_t i = 0; i < count; i += 8) {
      const int n = static_cast<int>(std::min<std::int64_t>(8, count - i));
      Floats sum = simd::load_first<8>(to + i, n);
      sum += fa * simd::load_first<8>(a + i, n);
      sum += fb * simd::load_first<8>(b + i, n);
      sum += fc * simd::load_first<8>(c + i, n);
      sum += fd * simd::load_first<8>(d + i, n);
      simd::store_first<8>(to + i, sum, n);
    }
    return;
  }
  for (int t = 0; t < terms; ++t) {
    for (std::int64_t i = 0; i < count; i += 8) {
      const int n = static_cast<int>(std::min<std::int64_t>(8, count - i));
      Floats sum = simd::load_first<8>(to + i, n);
      sum += factor[t] * simd::load_first<8>(from[t] + i, n);
      simd::store_first<8>(to + i, sum, n);
    }
  }
}

void backward_data(const LinearProblem& p, const Tensor& dy, const Tensor& weight, const Tensor& y,
                   const Tensor& dx) {
  const GatedGradient grad(p, dy, y);
  const Rows out(dx);
  const float* w = weight.data<float>();
  // 256 columns of dx and of four rows of the weight stay in the first-level cache.
  parallel_for(0, p.in_features, 256, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t n = 0; n < p.rows; ++n) std::fill(out[n] + first, out[n] + last, 0.0f);
    for (std::int64_t k = 0; k < p.out_features; k += 4) {
      const int terms = static_cast<int>(std::min<std::int64_t>(4, p.out_features - k));
      const float* from[4] = {};
      for (int t = 0; t < terms; ++t) from[t] = w + (k + t) * p.in_features + first;
      for (std::int64_t n = 0; n < p.rows; ++n) {
        float factor[4] = {};
        for (int t = 0; t < terms; ++t) factor[t] = grad.at(n, k + t);
        add_terms(terms, factor, from, last - first, out[n] + first);
      }
    }
  });
}

void backward_weight(const LinearProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dweight, const Tensor& dbias) {
  const GatedGradient grad(p, dy, y);
  const Rows in(x);
  float* dw = dweight.data<float>();
  const std::int64_t grain = grain_for(p.rows * p.in_features);
  parallel_for(0, p.out_features, grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t k = first; k < last; ++k) {
      float* to = dw + k * p.in_features;
      std::fill(to, to + p.in_features, 0.0f);
      for (std::int64_t n = 0; n < p.rows; n += 4) {
        const int terms = static_cast<int>(std::min<std::int64_t>(4, p.rows - n));
        const float* from[4] = {};
        float factor[4] = {};
        for (int t = 0; t < terms; ++t) {
          from[t] = in[n + t];
          factor[t] = grad.at(n + t, k);
        }
        add_terms(terms, factor, from, p.in_features, to);
      }
      if (dbias.defined()) {
        double sum = 0;
        for (std::int64_t n = 0; n < p.rows; ++n) sum += static_cast<double>(grad.at(n, k));
        dbias.data<float>()[k] = static_cast<float>(sum);
      }
    }
  });
}

}  // namespace

THORAX_PROVIDER(linear_cpu, linear_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority = [](const LinearProblem& p) { return p.dtype == DType::f32 ? 20 : -1; },
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_weight = backward_weight});

}  // namespace thorax
