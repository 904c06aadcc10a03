// Heatmaps of a batch by one classifier or several, of an image or of its views.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "apps/inference/classifier.h"
#include "data/image.h"
#include "models/activations.h"
#include "models/grad_cam.h"

namespace thorax {

// The classifiers that explain together: of the same classes, view and intensity.
using Explainers = std::vector<const Classifier*>;

// Layers of the classifier, for one image.
std::vector<OfferedLayer> heatmap_layers(const Classifier& classifier);
// The layer of each classifier: the one named, which each of them must have, or each one's last
// with rows and columns. Throws Error "[explain] ..." listing the layers there are.
std::vector<std::string> chosen_layers(const Explainers& classifiers, const std::string& wanted);

struct ExplainedImage {
  std::vector<double> probabilities;  // of all classes, the members' mean
  std::int64_t target = 0;            // the class or finding explained
  double peak = 0;                    // largest value of the map before it is normalised
  Tensor map;  // 1 x height x width at the size that was asked for, 0..1; zero where nothing speaks
};

// `seen`: gray images as the members' view shows them; `sizes`: those that the maps are to have;
// `layers`: of each member. One classifier and one view: its map. Several views of a classifier:
// the mean of their maps, mirrored back. Several classifiers: the mean of their maps, each divided
// by its maximum before, so that none counts more because its numbers are larger; the class that
// is explained as "predicted" is then that of the mean probabilities (of two, from 0.5 on).
// `what` names the images in errors.
std::vector<ExplainedImage> explain_images(const Explainers& members,
                                           std::span<const std::string> layers,
                                           const std::vector<Image>& seen,
                                           const std::vector<std::pair<int, int>>& sizes,
                                           const CamOptions& cam, const std::string& what);

}  // namespace thorax
