// The products of gpu_mma.cuh in tf32 on Ampere (cp.async), compiled on their own.
#include "kernels/common/mma_filter.cuh"
#include "kernels/common/mma_gather.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {

template void conv_forward<Tf32Ampere>(const ConvShape&, const Tensor&, const Tensor&,
                                       const Tensor&, const Tensor&, bool, const Tensor&);
template void conv_adjoint<Tf32Ampere>(const ConvShape&, const Tensor&, const Tensor&,
                                       const Tensor&, const Tensor&);
template void conv_filter_gradient<Tf32Ampere>(const ConvShape&, const Tensor&, const Tensor&,
                                               const Tensor&);

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
