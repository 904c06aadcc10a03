// The moving average of all parameters at once: a block per 4096 elements
// (engine/tensor/tensor_list.cuh), 16-byte accesses, the host's arithmetic in double.
#include "engine/optim/weight_average.h"
#include "engine/tensor/tensor_list.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

struct AverageConstants {
  double keep;
};
template <class T>
using AverageList = TensorList<T, 2, AverageConstants>;  // average, weight

template <class T>
__global__ __launch_bounds__(kListThreads) void weight_average_kernel(AverageList<T> list) {
  const auto& entry = list.entries[list.entry_of_block()];
  const double keep = entry.constants.keep, fresh = 1 - keep;
  for_quads(entry, [&](std::int64_t i, int count) {
    Quad<T> average = load_quad(entry.arrays[0], i, count, entry.vectors);
    const Quad<T> weight = load_quad(entry.arrays[1], i, count, entry.vectors);
    for (int k = 0; k < 4; ++k)
      average.v[k] = static_cast<T>(keep * static_cast<double>(average.v[k]) +
                                    fresh * static_cast<double>(weight.v[k]));
    store_quad(entry.arrays[0], i, count, entry.vectors, average);
  });
}

template <class T>
void run_as(const std::vector<AveragePair>& pairs, double keep) {
  in_lists<AverageList<T>>(
      pairs.size(),
      [&](std::size_t i, auto& entry) {
        const auto& [average, weight] = pairs[i];
        entry.count = weight.dtype() == DTypeOf<T>::value ? weight.numel() : 0;
        if (entry.count == 0) return;
        entry.arrays[0] = average.device_data<T>();
        entry.arrays[1] = weight.device_data<T>();
        entry.constants = {keep};
      },
      [&](const AverageList<T>& list, unsigned blocks) {
        launch(THORAX_KERNEL(weight_average_kernel<T>), pairs[0].weight.device(),
               {dim3(blocks), dim3(kListThreads)}, list);
      });
}

void run(const std::vector<AveragePair>& pairs, double keep) {
  run_as<float>(pairs, keep);
  run_as<double>(pairs, keep);
}

[[maybe_unused]] const bool registered = [] {
  register_average_kernel(THORAX_GPU_KIND, run);
  return true;
}();

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
