// The filter gradient of gpu_mma.cuh in float16 on Turing, compiled beside mma_f16_turing.cu.
#include "kernels/common/mma_filter.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {

template void conv_filter_gradient<HalfTuring>(const ConvShape&, const Tensor&, const Tensor&,
                                               const Tensor&);

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
