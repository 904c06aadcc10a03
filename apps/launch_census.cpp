#include "apps/launch_census.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "apps/kernel_table.h"
#include "engine/runtime/allocator.h"
#include "engine/runtime/sim/census.h"

namespace thorax::app {
namespace {

// "conv2d_forward<T, 64>" and "void thorax::conv2d_forward<float, 64>" are one kernel.
std::string base_name(const std::string& kernel) {
  const std::string name = kernel.substr(0, kernel.find_first_of("<("));
  const std::size_t scope = name.rfind(':');
  return scope == std::string::npos ? name : name.substr(scope + 1);
}

// The least of the kernel's instantiations, which differ in registers; 0 = an unknown kernel.
int resident_blocks(int capability, const CensusRow& launch) {
  static const std::vector<KernelResources> all = kernel_resources();
  int least = 0;
  for (KernelResources row : all) {
    if (row.capability != capability || base_name(row.kernel) != base_name(launch.kernel)) continue;
    row.threads = static_cast<int>(launch.threads);
    row.dynamic_shared = static_cast<int>(launch.dynamic_shared);
    const int blocks = row.resident_blocks();
    if (least == 0 || blocks < least) least = blocks;
  }
  return least;
}

}  // namespace

LaunchCensus count_launches(const NetworkWork& work) {
  THORAX_CHECK(work.device.kind == DeviceKind::sim,
               "[bench] launches are counted on a simulated device (sim:0, sim:1, ...), not on {}",
               to_string(work.device));
  const DeviceScope on(work.device);
  NetworkStep step(work);
  const sim::Census census;
  step.run();  // makes what later steps keep: the optimizer's state
  const std::size_t before = census.launches().size();
  allocator(work.device).reset_peak();
  step.run();

  LaunchCensus result;
  result.peak_bytes = allocator(work.device).stats().peak_in_use;
  const DeviceInfo& card = device_info(work.device);
  std::map<std::tuple<std::string, std::string, std::uint64_t, unsigned, std::size_t>, CensusRow>
      rows;
  for (std::size_t i = before; i < census.launches().size(); ++i) {
    const sim::Launch& l = census.launches()[i];
    CensusRow& row = rows[{l.operation, l.kernel, l.blocks, l.threads, l.dynamic_shared}];
    row = {l.operation, l.kernel, l.blocks, l.threads, l.dynamic_shared, row.launches + 1};
  }
  for (auto& [key, row] : rows) {
    if (row.kernel == "fill" || row.kernel == "copy") {
      (row.kernel == "fill" ? result.fills : result.copies) += row.launches;
    } else {
      result.launches += row.launches;
      if (row.blocks < static_cast<std::uint64_t>(card.multiprocessors))
        result.fewer_than_multiprocessors += row.launches;
      row.resident_blocks = resident_blocks(card.compute_capability, row);
      if (row.resident_blocks > 0) {
        row.waves = static_cast<double>(row.blocks) /
                    (static_cast<double>(row.resident_blocks) * card.multiprocessors);
        if (row.waves < 1) result.under_one_wave += row.launches;
      }
    }
    result.rows.push_back(row);
  }
  std::stable_sort(result.rows.begin(), result.rows.end(),
                   [](const CensusRow& a, const CensusRow& b) { return a.launches > b.launches; });
  return result;
}

}  // namespace thorax::app
