#include "kernels/augment/augment.h"

#include <limits>

#include "engine/runtime/profile.h"

namespace thorax {

Registry<AugmentProvider>& augment_providers() {
  static Registry<AugmentProvider> registry("augment");
  return registry;
}

std::string AugmentProblem::to_string() const {
  return fmt::format("images {} blur {} of {}", shape(), blur_sigma, blur_kernel);
}

AugmentedBatch augment_batch(std::span<const AugmentImage> drawn, const Tensor& images,
                             const Tensor& masks, double blur_sigma, int blur_kernel) {
  THORAX_CHECK(
      images.defined() && images.rank() == 4 && images.size(3) == 1 && images.dtype() == DType::f32,
      "[augment] images must be N x H x W x 1 f32, got {}",
      images.defined() ? fmt::format("{} {}", images.shape(), name_of(images.dtype())) : "nothing");
  THORAX_CHECK(images.size(1) * images.size(2) < std::numeric_limits<std::int32_t>::max(),
               "[augment] images {}: too many pixels in one", images.shape());
  THORAX_CHECK(!masks.defined() || (masks.shape() == images.shape() && masks.dtype() == DType::u8 &&
                                    masks.device() == images.device()),
               "[augment] masks for images {} must be u8 of that shape on {}", images.shape(),
               to_string(images.device()));
  THORAX_CHECK(static_cast<std::int64_t>(drawn.size()) == images.size(0),
               "[augment] {} draws for images {}", drawn.size(), images.shape());
  THORAX_CHECK(
      blur_sigma > 0 && blur_kernel > 0 && blur_kernel % 2 == 1,
      "[augment] a blur of sigma {} and {} pixels: the one must be positive, the other odd",
      blur_sigma, blur_kernel);
  const AugmentProblem problem{.images = images.size(0),
                               .height = images.size(1),
                               .width = images.size(2),
                               .blur_sigma = blur_sigma,
                               .blur_kernel = blur_kernel};
  const ProfileScope scope("augment", "forward", [&] { return problem.to_string(); });
  AugmentedBatch out{Tensor::empty(images.shape(), DType::f32, images.device()), {}};
  if (masks.defined()) out.masks = Tensor::empty(masks.shape(), DType::u8, masks.device());
  if (images.numel() == 0) return out;
  augment_providers()
      .select(problem, images.device().kind)
      .run(problem, drawn, images.to_contiguous(),
           masks.defined() ? masks.to_contiguous() : Tensor{}, out.images, out.masks);
  return out;
}

}  // namespace thorax
