// The filter gradient of provider cuda/mma (mma_filter.cuh), compiled beside its other kernels.
#include "kernels/conv2d/mma_filter.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {

template void backward_filter<HalfTuring>(const Conv2dProblem&, const Tensor&, const Tensor&,
                                          const Tensor&, const Tensor&, const Tensor&);

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
