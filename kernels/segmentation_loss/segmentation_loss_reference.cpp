// The definition: plain loops in double.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/common/elements.h"
#include "kernels/common/reference.h"
#include "kernels/segmentation_loss/overlap_terms.h"

namespace thorax {
namespace {

using segmentation_math::Numbers;
using segmentation_math::Slopes;

struct Pixel {
  std::vector<double> p, g, entropy;  // by class
};

double softplus(double x) {
  return std::log1p(std::exp(-std::abs(x))) + (x > 0 || std::isnan(x) ? x : 0);
}

template <class T>
class Pixels {
 public:
  Pixels(const SegmentationLossProblem& problem, const Tensor& logits, const Tensor& target)
      : classes_(problem.classes), softmax_(problem.options.softmax), x_(logits), target_(target) {}

  Pixel at(std::int64_t i) const {
    const auto count = static_cast<std::size_t>(classes_);
    Pixel out{std::vector<double>(count), std::vector<double>(count), std::vector<double>(count)};
    if (!softmax_) {
      const TargetElements<T> planes(target_);
      for (std::size_t c = 0; c < count; ++c) {
        const std::int64_t at = i * classes_ + static_cast<std::int64_t>(c);
        const auto x = static_cast<double>(x_[at]);
        out.p[c] = 1 / (1 + std::exp(-x));
        out.g[c] = static_cast<double>(planes[at]);
        out.entropy[c] = (1 - out.g[c]) * softplus(x) + out.g[c] * softplus(-x);
      }
      return out;
    }
    double highest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (std::int64_t c = 0; c < classes_; ++c)
      highest = std::max(highest, static_cast<double>(x_[i * classes_ + c]));
    for (std::int64_t c = 0; c < classes_; ++c)
      sum += std::exp(static_cast<double>(x_[i * classes_ + c]) - highest);
    const auto label = static_cast<std::size_t>(target_.data<std::int64_t>()[i]);
    for (std::size_t c = 0; c < count; ++c) {
      const double above =
          static_cast<double>(x_[i * classes_ + static_cast<std::int64_t>(c)]) - highest;
      out.p[c] = std::exp(above) / sum;
      out.g[c] = c == label;
      out.entropy[c] = c == label ? std::log(sum) - above : 0;
    }
    return out;
  }

 private:
  std::int64_t classes_;
  bool softmax_;
  Elements<T> x_;
  const Tensor& target_;
};

template <class T>
void forward(const SegmentationLossProblem& problem, const Tensor& logits, const Tensor& target,
             const Tensor& sums, const Tensor& loss) {
  const Numbers n = segmentation_math::numbers_of(problem);
  const Pixels<T> pixels(problem, logits, target);
  double* s = sums.data<double>();
  std::fill_n(s, 4 * problem.classes, 0.0);
  for (std::int64_t i = 0; i < problem.pixels; ++i) {
    const Pixel pixel = pixels.at(i);
    for (std::size_t c = 0; c < pixel.p.size(); ++c) {
      const double p = pixel.p[c], g = pixel.g[c];
      s[4 * c] += p * g;
      s[4 * c + 1] += n.squared ? p * p : p;
      s[4 * c + 2] += n.squared ? g * g : g;
      s[4 * c + 3] += pixel.entropy[c];
    }
  }
  loss.data<T>()[0] = static_cast<T>(segmentation_math::total_loss(n, s));
}

template <class T>
void backward(const SegmentationLossProblem& problem, const Tensor& dloss, const Tensor& logits,
              const Tensor& target, const Tensor& sums, const Tensor& dlogits) {
  const Numbers n = segmentation_math::numbers_of(problem);
  const Pixels<T> pixels(problem, logits, target);
  const Elements<T> dx(dlogits);
  const double weight = n.cross_entropy / segmentation_math::cross_entropy_terms(n);
  std::vector<Slopes> slopes;
  for (int c = 0; c < n.classes; ++c)
    slopes.push_back(segmentation_math::overlap_term(n, sums.data<double>(), c).slopes);
  for (std::int64_t i = 0; i < problem.pixels; ++i) {
    const Pixel pixel = pixels.at(i);
    std::vector<double> slope;  // d(overlap)/dp
    double inner = 0;
    for (std::size_t c = 0; c < pixel.p.size(); ++c) {
      const double p = pixel.p[c];
      slope.push_back(slopes[c].target * pixel.g[c] + slopes[c].own * (n.squared ? p : 1));
      inner += p * slope[c];
    }
    for (std::size_t c = 0; c < pixel.p.size(); ++c) {
      const double p = pixel.p[c];
      const double overlap = n.softmax ? p * (slope[c] - inner) : slope[c] * p * (1 - p);
      dx[i * problem.classes + static_cast<std::int64_t>(c)] =
          static_cast<T>(dloss.item() * (overlap + weight * (p - pixel.g[c])));
    }
  }
}

}  // namespace

THORAX_PROVIDER(segmentation_loss_reference, segmentation_loss_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const SegmentationLossProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward =
                     [](const SegmentationLossProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward<T>(p, t...); });
                     }});

}  // namespace thorax
