// A row at a time: its largest logit, its sum of exponentials in eight lanes, blocks in double.
#include <cmath>
#include <vector>

#include "engine/runtime/parallel.h"
#include "kernels/common/vector_math.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace thorax {
namespace {

using simd::Floats;

constexpr std::int64_t kBlock = 256;

int vector_length(std::int64_t left) {
  return static_cast<int>(std::min<std::int64_t>(8, left));
}

// Rows per chunk: enough elements to be worth a thread.
std::int64_t row_grain(const CrossEntropyProblem& p) {
  return std::max<std::int64_t>(1, 4096 / p.classes);
}

struct RowNorm {
  float highest;
  double exponentials;  // sum of exp(x - highest)
  double total;         // sum of w (x - highest)
};

// Class weights w; a null pointer stands for ones.
struct ClassWeights {
  const float* values = nullptr;
  double mean = 1;
  explicit ClassWeights(const Tensor& weights) {
    if (!weights.defined()) return;
    values = weights.data<float>();
    mean = 0;
    for (std::int64_t k = 0; k < weights.numel(); ++k) mean += static_cast<double>(values[k]);
    mean /= static_cast<double>(weights.numel());
  }
  double operator[](std::int64_t k) const { return values ? static_cast<double>(values[k]) : 1; }
};

RowNorm row_norm(const float* x, const float* weights, std::int64_t classes) {
  RowNorm result{x[0], 0, 0};
  for (std::int64_t k = 1; k < classes; ++k) {
    // A NaN must reach the result; it would lose every comparison.
    if (!(x[k] <= result.highest)) result.highest = x[k];
  }
  for (std::int64_t first = 0; first < classes; first += kBlock) {
    const std::int64_t length = std::min(kBlock, classes - first);
    Floats exponentials = {}, total = {};
    for (std::int64_t i = 0; i < length; i += 8) {
      const int n = vector_length(length - i);
      const Floats v = simd::load_first<8>(x + first + i, n) - result.highest;
      const Floats e = simd::exp(v);
      exponentials += n < 8 ? simd::keep_first(e, n) : e;
      const Floats weighted = weights ? v * simd::load_first<8>(weights + first + i, n) : v;
      total += n < 8 ? simd::keep_first(weighted, n) : weighted;
    }
    result.exponentials += simd::sum_lanes(exponentials);
    result.total += simd::sum_lanes(total);
  }
  return result;
}

void forward(const CrossEntropyProblem& p, const Tensor& logits, const Tensor& labels,
             const Tensor& class_weights, const Tensor& loss) {
  const auto classes = static_cast<double>(p.classes);
  const ClassWeights w(class_weights);
  std::vector<double> rows(static_cast<std::size_t>(p.rows));
  parallel_for(0, p.rows, row_grain(p), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t n = first; n < last; ++n) {
      const float* x = logits.data<float>() + n * logits.pixel_stride();
      const RowNorm norm = row_norm(x, w.values, p.classes);
      const double log_sum = std::log(norm.exponentials);  // relative to the highest logit
      const std::int64_t label = labels.data<std::int64_t>()[n];
      const double own =
          w[label] *
          (log_sum - (static_cast<double>(x[label]) - static_cast<double>(norm.highest)));
      const double spread = w.mean * log_sum - norm.total / classes;
      rows[static_cast<std::size_t>(n)] =
          (1 - p.label_smoothing) * own + p.label_smoothing * spread;
    }
  });
  double sum = 0;
  for (const double row : rows) sum += row;
  loss.data<float>()[0] = static_cast<float>(sum / static_cast<double>(p.rows));
}

void backward(const CrossEntropyProblem& p, const Tensor& dloss, const Tensor& logits,
              const Tensor& labels, const Tensor& class_weights, const Tensor& dlogits) {
  const ClassWeights w(class_weights);
  const double weight = dloss.item() / static_cast<double>(p.rows);
  const auto shared =
      static_cast<float>(weight * p.label_smoothing / static_cast<double>(p.classes));
  parallel_for(0, p.rows, row_grain(p), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t n = first; n < last; ++n) {
      const float* x = logits.data<float>() + n * logits.pixel_stride();
      float* dx = dlogits.data<float>() + n * dlogits.pixel_stride();
      const RowNorm norm = row_norm(x, nullptr, p.classes);
      const std::int64_t label = labels.data<std::int64_t>()[n];
      // sum of w_k q_k; exactly 1 without weights
      const double all =
          w.values ? (1 - p.label_smoothing) * w[label] + p.label_smoothing * w.mean : 1;
      const auto factor = static_cast<float>(weight * all / norm.exponentials);
      for (std::int64_t i = 0; i < p.classes; i += 8) {
        const int lanes = vector_length(p.classes - i);
        const Floats e = simd::exp(simd::load_first<8>(x + i, lanes) - norm.highest);
        if (w.values)
          simd::store_first<8>(
              dx + i, e * factor - shared * simd::load_first<8>(w.values + i, lanes), lanes);
        else
          simd::store_first<8>(dx + i, e * factor - shared, lanes);
      }
      // The label's own element in double: softmax - 1 cancels when the row is predicted well.
      const double own =
          std::exp(static_cast<double>(x[label]) - static_cast<double>(norm.highest)) /
          norm.exponentials;
      const double wanted =
          1 - p.label_smoothing + p.label_smoothing / static_cast<double>(p.classes);
      dx[label] = static_cast<float>(weight * (all * own - w[label] * wanted));
    }
  });
}

}  // namespace

THORAX_PROVIDER(cross_entropy_cpu, cross_entropy_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority =
                     [](const CrossEntropyProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace thorax
