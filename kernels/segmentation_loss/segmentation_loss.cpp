#include "kernels/segmentation_loss/segmentation_loss.h"

namespace thorax {

Registry<SegmentationLossProvider>& segmentation_loss_providers() {
  static Registry<SegmentationLossProvider> registry("segmentation_loss");
  return registry;
}

std::string SegmentationLossProblem::to_string() const {
  return fmt::format("{} x {} {} {} {} cross entropy {} epsilon {}", pixels, classes,
                     name_of(dtype), options.softmax ? "softmax" : "sigmoid",
                     options.generalised ? "generalised dice"
                     : options.squared   ? "squared dice"
                                         : "plain dice",
                     options.cross_entropy, options.epsilon);
}

}  // namespace thorax
