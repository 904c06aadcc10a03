// The products of gpu_mma.cuh in float16 on Turing (mma.m16n8k8, no cp.async): forward and adjoint.
#include "kernels/common/mma_gather.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {

template void conv_forward<HalfTuring>(const ConvShape&, const Tensor&, const Tensor&,
                                       const Tensor&, const Tensor&, bool, const Tensor&);
template void conv_adjoint<HalfTuring>(const ConvShape&, const Tensor&, const Tensor&,
                                       const Tensor&, const Tensor&);

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
