#include "apps/inference/ensemble_maps.h"

#include <algorithm>

#include "apps/inference/mirror.h"
#include "engine/stats/multiclass.h"

namespace thorax {
namespace {

float largest_value(const Tensor& map) {
  return *std::max_element(map.data<float>(), map.data<float>() + map.numel());
}

// 1 x height x width.
Tensor mirrored_map(const Tensor& map) {
  const Tensor result = map.clone();
  for (std::int64_t y = 0; y < map.size(1); ++y)
    std::reverse_copy(map.data<float>() + y * map.size(2),
                      map.data<float>() + (y + 1) * map.size(2),
                      result.data<float>() + y * map.size(2));
  return result;
}

// The mean over the views of one image; at the layer's own resolution.
Tensor map_of(const Classifier& member, const Image& seen, const CamOptions& cam,
              const std::string& what) {
  const auto one = [&](const Image& view) {
    const CamResult result =
        class_activation_maps(member.network(), member.network_input({view}), cam);
    check_logits(result.logits, "explain", what);
    return result.maps;
  };
  const Tensor map = one(seen);
  if (!member.flips()) return map;
  const Tensor both = add(map, mirrored_map(one(mirror(seen))));
  scale_(both, 0.5);
  return both;
}

std::vector<ExplainedImage> by_one(const Classifier& member, const std::vector<Image>& seen,
                                   const std::vector<std::pair<int, int>>& sizes,
                                   const CamOptions& cam, const std::string& what) {
  const CamResult result = class_activation_maps(member.network(), member.network_input(seen), cam);
  check_logits(result.logits, "explain", what);
  std::vector<ExplainedImage> explained;
  const std::int64_t outputs = result.logits.size(1);
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const auto n = static_cast<std::int64_t>(i);
    ExplainedImage& e = explained.emplace_back();
    e.target = result.targets[i];
    e.probabilities = member.probabilities(
        {result.logits.data<float>() + n * outputs, static_cast<std::size_t>(outputs)});
    const Tensor map = result.maps.batch_slice(n, 1);
    e.peak = largest_value(map);
    e.map = upsampled_maps(map, sizes[i].first, sizes[i].second);
  }
  return explained;
}

std::vector<ExplainedImage> explained(const Explainers& members,
                                      std::span<const std::string> layers,
                                      const std::vector<Image>& seen,
                                      const std::vector<std::pair<int, int>>& sizes,
                                      const CamOptions& options, const std::string& what) {
  CamOptions cam = options;
  cam.layer = layers.front();
  if (members.size() == 1 && !members.front()->flips())
    return by_one(*members.front(), seen, sizes, cam, what);
  std::vector<ExplainedImage> result(seen.size());
  for (const Classifier* member : members) {
    const std::vector<std::vector<double>> own = (*member)(seen);
    for (std::size_t i = 0; i < seen.size(); ++i) {
      std::vector<double>& sum = result[i].probabilities;
      sum.resize(own[i].size(), 0.0);
      for (std::size_t c = 0; c < sum.size(); ++c)
        sum[c] += own[i][c] / static_cast<double>(members.size());
    }
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    ExplainedImage& e = result[i];
    e.target = options.target != kPredictedClass ? options.target
               : members.front()->binary()       ? e.probabilities[1] >= 0.5
                                                 : largest(e.probabilities);
    cam.target = e.target;
    for (std::size_t m = 0; m < members.size(); ++m) {
      cam.layer = layers[m];
      const Tensor map = map_of(*members[m], seen[i], cam, what);
      const Tensor large = upsampled_maps(map, sizes[i].first, sizes[i].second);
      if (members.size() == 1) {
        e.peak = largest_value(map);
        e.map = large;
      } else {
        scale_(large, 1.0 / static_cast<double>(members.size()));
        e.map = e.map.defined() ? add(e.map, large) : large;
      }
    }
    if (members.size() == 1) continue;
    e.peak = largest_value(e.map);
    if (e.peak > 0) scale_(e.map, 1 / e.peak);
  }
  return result;
}

}  // namespace

std::vector<OfferedLayer> heatmap_layers(const Classifier& classifier) {
  const std::int64_t size = classifier.input().size;
  std::vector<OfferedLayer> layers = offered_layers(classifier.network(), {1, size, size, 1});
  THORAX_CHECK(!layers.empty(),
               "[explain] the classifier offers no layers to look into, as networks of ONNX files "
               "do not; give its checkpoint");
  return layers;
}

std::vector<std::string> chosen_layers(const Explainers& classifiers, const std::string& wanted) {
  std::vector<std::string> chosen;
  for (const Classifier* classifier : classifiers) {
    const std::vector<OfferedLayer> layers = heatmap_layers(*classifier);
    const std::string layer = wanted.empty() ? last_spatial_layer(layers) : wanted;
    THORAX_CHECK(std::any_of(layers.begin(), layers.end(),
                             [&](const OfferedLayer& l) { return l.name == layer; }),
                 "[explain] the classifier has no layer '{}'; there are: {}", layer,
                 layer_list(layers));
    chosen.push_back(layer);
  }
  return chosen;
}

std::vector<ExplainedImage> explain_images(const Explainers& members,
                                           std::span<const std::string> layers,
                                           const std::vector<Image>& seen,
                                           const std::vector<std::pair<int, int>>& sizes,
                                           const CamOptions& options, const std::string& what) {
  // One finding: its logit speaks for class 1 of two, of which only that one is meant.
  const bool one = members.front()->multilabel() && members.front()->classes().size() == 1;
  CamOptions cam = options;
  if (one) cam.target = 1;
  std::vector<ExplainedImage> result = explained(members, layers, seen, sizes, cam, what);
  if (one)
    for (ExplainedImage& e : result) e.target = 0;
  return result;
}

}  // namespace thorax
