// For code that hands work to NVIDIA's libraries; CUDA builds only.
#pragma once

#include <cuda_runtime_api.h>

namespace thorax::cuda_detail {

// The compute stream of a device, after making the device current.
cudaStream_t compute_stream(int index);

}  // namespace thorax::cuda_detail
