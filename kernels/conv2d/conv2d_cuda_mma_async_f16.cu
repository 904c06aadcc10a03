// The kernels of conv2d_cuda_mma_async.cu in float16, compiled on their own.
#include "kernels/conv2d/mma_filter.cuh"
#include "kernels/conv2d/mma_gather.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {

template void forward<HalfAmpere>(const Conv2dProblem&, const Tensor&, const Tensor&, const Tensor&,
                                  const Tensor&, const Tensor&);
template void backward_data<HalfAmpere>(const Conv2dProblem&, const Tensor&, const Tensor&,
                                        const Tensor&, const Tensor&);
template void backward_filter<HalfAmpere>(const Conv2dProblem&, const Tensor&, const Tensor&,
                                          const Tensor&, const Tensor&, const Tensor&);

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
