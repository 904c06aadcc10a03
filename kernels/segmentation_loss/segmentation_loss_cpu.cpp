// A pixel at a time, its classes in eight lanes (more classes in further vectors). Sums: float
// lanes over a block of 256 pixels, blocks in double, chunks of a fixed size combined in order.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "engine/runtime/parallel.h"
#include "kernels/common/elements.h"
#include "kernels/common/vector_math.h"
#include "kernels/segmentation_loss/overlap_terms.h"

namespace thorax {
namespace {

using segmentation_math::Numbers;
using segmentation_math::Slopes;
using simd::Floats;

constexpr std::int64_t kBlock = 256;
constexpr std::int64_t kChunk = 16 * kBlock;
constexpr int kVectors = (kMaxSegmentationClasses + 7) / 8;

// A pixel's classes in vectors; what lies behind the last class is 0.
using Classes = std::array<Floats, kVectors>;

struct Pixel {
  Classes p, rest, g, entropy;  // rest: 1 - p
};

class PixelReader {
 public:
  PixelReader(const SegmentationLossProblem& problem, const Tensor& logits, const Tensor& target)
      : classes_(static_cast<int>(problem.classes)),
        softmax_(problem.options.softmax),
        entropy_(problem.options.cross_entropy > 0),
        x_(logits.data<float>()),
        stride_(logits.pixel_stride()),
        labels_(softmax_ ? target.data<std::int64_t>() : nullptr),
        planes_(softmax_ ? Tensor::empty({0}) : target) {}

  int vectors() const { return (classes_ + 7) / 8; }
  int lanes(int v) const { return std::min(8, classes_ - 8 * v); }

  void read(std::int64_t i, Pixel& out) const {
    const float* x = x_ + i * stride_;
    if (softmax_)
      softmax(x, static_cast<int>(labels_[i]), out);
    else
      sigmoid(x, i, out);
  }

 private:
  void sigmoid(const float* x, std::int64_t i, Pixel& out) const {
    float buffer[8 * kVectors];
    const float* g = planes_.read(i * classes_, classes_, buffer);
    for (int v = 0; v < vectors(); ++v) {
      const int n = lanes(v);
      const Floats value = simd::load_first<8>(x + 8 * v, n);
      const simd::Sigmoid s = simd::sigmoid(value);
      out.p[static_cast<std::size_t>(v)] = simd::keep_first(s.value, n);
      out.rest[static_cast<std::size_t>(v)] = simd::keep_first(s.rest, n);
      const Floats t = simd::load_first<8>(g + 8 * v, n);
      out.g[static_cast<std::size_t>(v)] = t;
      if (!entropy_) continue;
      const Floats common = simd::log1p_unit(simd::exp(-simd::abs(value)));
      const Floats l = (1.0f - t) * (common + simd::max(value, Floats{})) +
                       t * (common + simd::max(-value, Floats{}));
      out.entropy[static_cast<std::size_t>(v)] = simd::keep_first(l, n);
    }
  }

  void softmax(const float* x, int label, Pixel& out) const {
    float highest = x[0];
    for (int c = 1; c < classes_; ++c)
      if (!(x[c] <= highest)) highest = x[c];  // a NaN stays
    float sum = 0;
    for (int v = 0; v < vectors(); ++v) {
      const int n = lanes(v);
      const Floats e = simd::keep_first(simd::exp(simd::load_first<8>(x + 8 * v, n) - highest), n);
      out.p[static_cast<std::size_t>(v)] = e;
      sum += simd::sum_lanes(e);
    }
    const auto place = static_cast<std::size_t>(label / 8);
    const int lane = label % 8;
    const float own = out.p[place][lane];
    // What all others hold, without cancellation where the label is nearly certain.
    float others = 0;
    for (int v = 0; v < vectors(); ++v) {
      Floats e = out.p[static_cast<std::size_t>(v)];
      if (v == label / 8) e[lane] = 0;
      others += simd::sum_lanes(e);
    }
    const float scale = 1 / sum;
    for (int v = 0; v < vectors(); ++v) {
      const auto at = static_cast<std::size_t>(v);
      out.p[at] *= scale;
      out.rest[at] = 1.0f - out.p[at];
      out.g[at] = out.entropy[at] = Floats{};
    }
    out.rest[place][lane] = others * scale;
    out.g[place][lane] = 1;
    if (!entropy_) return;
    // log(sum / own): where own is most of it, from what the others add.
    const float above = x[label] - highest;
    out.entropy[place][lane] = others < own ? std::log1p(others / own) : std::log(sum) - above;
  }

  int classes_;
  bool softmax_, entropy_;
  const float* x_;
  std::int64_t stride_;
  const std::int64_t* labels_;
  TargetElements<float> planes_;
};

void forward(const SegmentationLossProblem& p, const Tensor& logits, const Tensor& target,
             const Tensor& sums, const Tensor& loss) {
  const Numbers n = segmentation_math::numbers_of(p);
  const PixelReader reader(p, logits, target);
  const bool entropy = n.cross_entropy > 0;
  const std::int64_t chunks = (p.pixels + kChunk - 1) / kChunk;
  const auto row = static_cast<std::size_t>(32 * reader.vectors());  // 4 sums of 8 lanes a vector
  std::vector<double> partial(static_cast<std::size_t>(chunks) * row);
  parallel_for(0, chunks, 1, [&](std::int64_t first, std::int64_t last) {
    Pixel pixel{};
    for (std::int64_t chunk = first; chunk < last; ++chunk) {
      double* total = partial.data() + static_cast<std::size_t>(chunk) * row;
      const std::int64_t end = std::min((chunk + 1) * kChunk, p.pixels);
      for (std::int64_t begin = chunk * kChunk; begin < end; begin += kBlock) {
        std::array<Classes, 4> s{};
        for (std::int64_t i = begin; i < std::min(begin + kBlock, end); ++i) {
          reader.read(i, pixel);
          for (std::size_t v = 0; v < static_cast<std::size_t>(reader.vectors()); ++v) {
            const Floats q = pixel.p[v], g = pixel.g[v];
            s[0][v] += q * g;
            s[1][v] += n.squared ? q * q : q;
            s[2][v] += n.squared ? g * g : g;
            if (entropy) s[3][v] += pixel.entropy[v];
          }
        }
        for (std::size_t k = 0; k < 4; ++k)
          for (std::size_t v = 0; v < static_cast<std::size_t>(reader.vectors()); ++v)
            for (std::size_t lane = 0; lane < 8; ++lane)
              total[(8 * v + lane) * 4 + k] += static_cast<double>(s[k][v][lane]);
      }
    }
  });
  double* out = sums.data<double>();
  std::fill_n(out, 4 * p.classes, 0.0);
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
    for (std::int64_t k = 0; k < 4 * p.classes; ++k)
      out[k] += partial[static_cast<std::size_t>(chunk) * row + static_cast<std::size_t>(k)];
  loss.data<float>()[0] = static_cast<float>(segmentation_math::total_loss(n, out));
}

void backward(const SegmentationLossProblem& p, const Tensor& dloss, const Tensor& logits,
              const Tensor& target, const Tensor& sums, const Tensor& dlogits) {
  const Numbers n = segmentation_math::numbers_of(p);
  const PixelReader reader(p, logits, target);
  const double scale = dloss.item();
  Classes by_target{}, by_own{};
  for (int c = 0; c < n.classes; ++c) {
    const Slopes s = segmentation_math::overlap_term(n, sums.data<double>(), c).slopes;
    by_target[static_cast<std::size_t>(c / 8)][c % 8] = static_cast<float>(scale * s.target);
    by_own[static_cast<std::size_t>(c / 8)][c % 8] = static_cast<float>(scale * s.own);
  }
  const auto weight =
      static_cast<float>(scale * n.cross_entropy / segmentation_math::cross_entropy_terms(n));
  float* to = dlogits.data<float>();
  const std::int64_t stride = dlogits.pixel_stride();
  parallel_for(0, p.pixels, kChunk, [&](std::int64_t begin, std::int64_t end) {
    Pixel pixel{};
    for (std::int64_t i = begin; i < end; ++i) {
      reader.read(i, pixel);
      Classes slope;
      float inner = 0;
      for (std::size_t v = 0; v < static_cast<std::size_t>(reader.vectors()); ++v) {
        const Floats q = pixel.p[v];
        slope[v] = by_target[v] * pixel.g[v] + (n.squared ? by_own[v] * q : by_own[v]);
        if (n.softmax) inner += simd::sum_lanes(q * slope[v]);
      }
      for (int v = 0; v < reader.vectors(); ++v) {
        const auto at = static_cast<std::size_t>(v);
        const Floats q = pixel.p[at], g = pixel.g[at];
        const Floats overlap =
            n.softmax ? q * (slope[at] - inner) : slope[at] * (q * pixel.rest[at]);
        const Floats entropy = weight * ((1.0f - g) * q - g * pixel.rest[at]);
        simd::store_first<8>(to + i * stride + 8 * v, overlap + entropy, reader.lanes(v));
      }
    }
  });
}

}  // namespace

THORAX_PROVIDER(
    segmentation_loss_cpu, segmentation_loss_providers(),
    {.name = "cpu",
     .device = DeviceKind::cpu,
     .priority = [](const SegmentationLossProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
     .forward = forward,
     .backward = backward});

}  // namespace thorax
