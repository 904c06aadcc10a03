#include "models/grad_cam.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/upsample/upsample.h"
#include "models/activations.h"

namespace thorax {
namespace {

struct Row {
  CamMethod method;
  const char* name;
};
constexpr Row kMethods[] = {{CamMethod::grad_cam, "grad-cam"},
                            {CamMethod::grad_cam_plus_plus, "grad-cam++"},
                            {CamMethod::layer_cam, "layer-cam"},
                            {CamMethod::eigen_cam, "eigen-cam"}};

// Parameters stop requiring gradients for a scope: the tape then records nothing before the cut,
// and after it only what leads to the activation.
class FrozenParameters {
 public:
  explicit FrozenParameters(const Module& module) {
    for (const Module::Named& parameter : module.parameters()) {
      if (!parameter.variable.requires_grad()) continue;
      parameter.variable.state()->requires_grad = false;
      frozen_.push_back(parameter.variable);
    }
  }
  ~FrozenParameters() {
    for (const Variable& variable : frozen_) variable.state()->requires_grad = true;
  }
  FrozenParameters(const FrozenParameters&) = delete;
  FrozenParameters& operator=(const FrozenParameters&) = delete;

 private:
  std::vector<Variable> frozen_;
};

// One image's activation (or gradient): places x channels.
struct Plane {
  const float* data;
  std::int64_t places, channels;
  double at(std::int64_t place, std::int64_t channel) const {
    return static_cast<double>(data[place * channels + channel]);
  }
};

Plane plane(const Tensor& tensor, std::int64_t n) {
  const std::int64_t places = tensor.size(1) * tensor.size(2), channels = tensor.size(3);
  return {tensor.data<float>() + n * places * channels, places, channels};
}

std::vector<double> channel_weights(CamMethod method, const Plane& a, const Plane& g) {
  std::vector<double> weights(static_cast<std::size_t>(a.channels));
  for (std::int64_t c = 0; c < a.channels; ++c) {
    double weight = 0;
    if (method == CamMethod::grad_cam) {
      for (std::int64_t p = 0; p < a.places; ++p) weight += g.at(p, c);
      weight /= static_cast<double>(a.places);
    } else {
      double sum = 0;
      for (std::int64_t p = 0; p < a.places; ++p) sum += a.at(p, c);
      for (std::int64_t p = 0; p < a.places; ++p) {
        const double gradient = g.at(p, c);
        if (gradient <= 0) continue;  // ReLU(g) = 0
        // a g / g^2: the square cancels. Zero or less needs a negative activation, which a layer
        // after a ReLU has not; such a place has no meaningful weight.
        const double denominator = 2 + gradient * sum;
        if (denominator > 0) weight += gradient / denominator;
      }
    }
    weights[static_cast<std::size_t>(c)] = weight;
  }
  return weights;
}

// The first right singular vector by power iteration on A^T A, so turned that the map's sum is not
// negative.
std::vector<double> main_direction(const Plane& a) {
  constexpr int kSteps = 1000;
  constexpr double kEnough = 1e-13;
  const auto channels = static_cast<std::size_t>(a.channels);
  std::vector<double> v(channels, 1.0), next(channels), along(static_cast<std::size_t>(a.places));
  for (int step = 0; step < kSteps; ++step) {
    for (std::int64_t p = 0; p < a.places; ++p) {
      double sum = 0;
      for (std::int64_t c = 0; c < a.channels; ++c)
        sum += a.at(p, c) * v[static_cast<std::size_t>(c)];
      along[static_cast<std::size_t>(p)] = sum;
    }
    std::fill(next.begin(), next.end(), 0.0);
    for (std::int64_t p = 0; p < a.places; ++p)
      for (std::int64_t c = 0; c < a.channels; ++c)
        next[static_cast<std::size_t>(c)] += a.at(p, c) * along[static_cast<std::size_t>(p)];
    double norm = 0, change = 0;
    for (const double value : next) norm += value * value;
    norm = std::sqrt(norm);
    if (norm == 0) return std::vector<double>(channels, 0.0);
    for (std::size_t c = 0; c < channels; ++c) {
      next[c] /= norm;
      change = std::max(change, std::abs(next[c] - v[c]));
    }
    v.swap(next);
    if (change < kEnough) break;
  }
  double sum = 0;
  for (std::int64_t p = 0; p < a.places; ++p)
    for (std::int64_t c = 0; c < a.channels; ++c)
      sum += a.at(p, c) * v[static_cast<std::size_t>(c)];
  if (sum < 0)
    for (double& value : v) value = -value;
  return v;
}

void write_map(CamMethod method, const Plane& a, const Plane& g, float* map) {
  const bool own_weights = method == CamMethod::layer_cam;
  const std::vector<double> weights = own_weights ? std::vector<double>{}
                                      : method == CamMethod::eigen_cam
                                          ? main_direction(a)
                                          : channel_weights(method, a, g);
  for (std::int64_t p = 0; p < a.places; ++p) {
    double sum = 0;
    for (std::int64_t c = 0; c < a.channels; ++c)
      sum += a.at(p, c) *
             (own_weights ? std::max(g.at(p, c), 0.0) : weights[static_cast<std::size_t>(c)]);
    map[p] = static_cast<float>(std::max(sum, 0.0));
  }
}

// The class of each image, and the gradient of its score by the logits.
std::vector<std::int64_t> choose_targets(const Tensor& logits, std::int64_t wanted,
                                         const Tensor& seed) {
  const std::int64_t outputs = logits.size(1), classes = std::max<std::int64_t>(outputs, 2);
  THORAX_CHECK(wanted == kPredictedClass || (wanted >= 0 && wanted < classes),
               "[grad_cam] class {}: the model has {}", wanted, classes);
  std::vector<std::int64_t> targets;
  for (std::int64_t n = 0; n < logits.size(0); ++n) {
    const std::span row(logits.data<float>() + n * outputs, static_cast<std::size_t>(outputs));
    std::int64_t target = wanted;
    if (wanted == kPredictedClass)
      target = outputs == 1 ? row[0] >= 0 : std::max_element(row.begin(), row.end()) - row.begin();
    float* const to = seed.data<float>() + n * outputs;
    if (outputs == 1) {
      to[0] = target == 1 ? 1.f : -1.f;
    } else {
      to[target] = 1.f;
    }
    targets.push_back(target);
  }
  return targets;
}

}  // namespace

const char* name_of(CamMethod method) {
  for (const Row& row : kMethods)
    if (row.method == method) return row.name;
  fail("[grad_cam] unknown method {}", static_cast<int>(method));
}

std::vector<std::string> cam_method_names() {
  std::vector<std::string> names;
  for (const Row& row : kMethods) names.emplace_back(row.name);
  return names;
}

CamMethod parse_cam_method(const std::string& name) {
  std::string all;
  for (const Row& row : kMethods) {
    if (name == row.name) return row.method;
    all += (all.empty() ? "" : ", ") + std::string(row.name);
  }
  fail("[grad_cam] no method '{}'; there are: {}", name, all);
}

CamResult class_activation_maps(const Model& model, const Tensor& input,
                                const CamOptions& options) {
  THORAX_CHECK(!model.training(),
               "[grad_cam] the model is in training mode, where batch norm mixes the images");
  THORAX_CHECK(input.rank() == 4 && input.size(0) > 0 && input.dtype() == DType::f32,
               "[grad_cam] input {} {}: wants N x H x W x C float32", input.shape(),
               name_of(input.dtype()));
  CamResult result;
  result.layer = options.layer;
  if (result.layer.empty())
    result.layer =
        last_spatial_layer(offered_layers(model, {1, input.size(1), input.size(2), input.size(3)}));
  const bool differentiate = options.method != CamMethod::eigen_cam;
  const FrozenParameters frozen(model);
  const GradMode mode(differentiate);
  const ActivationScope scope(result.layer,
                              differentiate ? ActivationUse::differentiate : ActivationUse::keep);
  const Variable logits = model.forward(Variable(input.to(model.device())));
  const Variable& activation = scope.activation();
  THORAX_CHECK(activation.shape().rank() == 4,
               "[grad_cam] layer '{}' gives {}: a map needs rows and columns", result.layer,
               activation.shape());
  THORAX_CHECK(logits.shape().rank() == 2 && logits.shape()[0] == input.size(0),
               "[grad_cam] logits {}: wants a classifier's, N x K", logits.shape());
  result.logits = logits.value().to(Device{}).to_contiguous();
  const Tensor seed = Tensor::zeros(logits.shape());
  result.targets = choose_targets(result.logits, options.target, seed);

  const Tensor values = activation.value().to(Device{}).to_contiguous();
  Tensor gradients = values;  // not read by eigen-cam
  if (differentiate) {
    THORAX_CHECK(logits.requires_grad(), "[grad_cam] the logits do not depend on layer '{}'",
                 result.layer);
    backward(logits, seed);
    THORAX_CHECK(activation.grad().defined(), "[grad_cam] the logits do not depend on layer '{}'",
                 result.layer);
    gradients = activation.grad().to(Device{}).to_contiguous();
    activation.zero_grad();
  }
  const Shape& shape = values.shape();
  result.maps = Tensor::empty({shape[0], shape[1], shape[2]});
  for (std::int64_t n = 0; n < shape[0]; ++n)
    write_map(options.method, plane(values, n), plane(gradients, n),
              result.maps.data<float>() + n * shape[1] * shape[2]);
  return result;
}

Tensor upsampled_maps(const Tensor& maps, std::int64_t height, std::int64_t width) {
  THORAX_CHECK(maps.rank() == 3 && maps.dtype() == DType::f32 && height > 0 && width > 0,
               "[grad_cam] maps {} to {} x {}: wants N x h x w float32 and a positive size",
               maps.shape(), height, width);
  const NoGrad no_grad;
  const std::int64_t count = maps.size(0);
  const Tensor large =
      upsample_bilinear(Variable(maps.reshape({count, maps.size(1), maps.size(2), 1})), height,
                        width)
          .value()
          .to_contiguous()
          .reshape({count, height, width});
  for (std::int64_t n = 0; n < count; ++n) {
    const std::span values(large.data<float>() + n * height * width,
                           static_cast<std::size_t>(height * width));
    const float most = *std::max_element(values.begin(), values.end());
    if (most > 0)
      for (float& value : values) value /= most;
  }
  return large;
}

}  // namespace thorax
