// The products of gpu_mma.cuh in float16 on Ampere (cp.async), compiled on their own.
#include "kernels/common/mma_filter.cuh"
#include "kernels/common/mma_gather.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {

template void conv_forward<HalfAmpere>(const ConvShape&, const Tensor&, const Tensor&,
                                       const Tensor&, const Tensor&, bool, const Tensor&);
template void conv_adjoint<HalfAmpere>(const ConvShape&, const Tensor&, const Tensor&,
                                       const Tensor&, const Tensor&);
template void conv_filter_gradient<HalfAmpere>(const ConvShape&, const Tensor&, const Tensor&,
                                               const Tensor&);

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
