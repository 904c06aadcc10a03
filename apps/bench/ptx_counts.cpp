#include "apps/bench/ptx_counts.h"

#include <set>
#include <vector>

#include "apps/kernel_table.h"
#include "engine/runtime/device.h"
#include "engine/runtime/ptx/time_model.h"
#include "engine/tensor/error.h"

namespace thorax::app {

PtxCounts count_on_ptx(Device device, const std::function<void()>& work, int sampled_blocks) {
  const int capability = device_info(device).compute_capability;
  const ptx::Card* const card = ptx::card_of(capability);
  THORAX_CHECK(card != nullptr, "[bench] the time model has no card of sm_{}", capability);
  ptx::Measurement measurement(*card, sampled_blocks);
  work();
  synchronize(device);
  PtxCounts all;
  std::vector<ptx::Prediction> predictions;
  std::set<std::string> kernels;
  double requests = 0, sectors = 0, shared = 0, wavefronts = 0;
  for (const ptx::LaunchCounts& l : measurement.launches()) {
    ++all.launches;
    all.blocks += static_cast<std::int64_t>(l.blocks);
    all.instructions += static_cast<double>(l.instructions);
    requests += static_cast<double>(l.global_requests);
    sectors += static_cast<double>(l.global_sectors);
    shared += static_cast<double>(l.shared_requests);
    wavefronts += static_cast<double>(l.shared_wavefronts);
    predictions.push_back(ptx::predict(l, *card, registers_of(l.kernel, capability)));
    const std::string name = plain_kernel_name(l.kernel);
    if (kernels.insert(name).second) all.kernels += (all.kernels.empty() ? "" : "; ") + name;
  }
  if (requests > 0) all.sectors_a_request = sectors / requests;
  if (shared > 0) all.wavefronts_a_request = wavefronts / shared;
  const ptx::Prediction prediction = ptx::predict(predictions);
  all.predicted_seconds = prediction.seconds;
  all.predicted_bound = prediction.bound;
  all.dram_bytes = static_cast<double>(measurement.finish().dram());
  return all;
}

}  // namespace thorax::app
