#include "apps/bench/step_timing.h"

#include <fmt/format.h>

#include <algorithm>

namespace thorax::app {

Quartiles quartiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return {values[n / 2], values[3 * n / 4] - values[n / 4]};
}

std::string machine_name(Device device) {
  return device.kind == DeviceKind::cpu ? processor_name() : device_info(device).name;
}

StepProfile profile_step(Device device, ProfileLevel level, const std::function<void()>& run) {
  constexpr int kRuns = 2;
  profile_reset();
  profile_enable(level, device);
  StepProfile profile;
  profile.seconds = seconds_of(device,
                               [&] {
                                 for (int i = 0; i < kRuns; ++i) run();
                               }) /
                    kRuns;
  profile_enable(ProfileLevel::off);
  profile.rows = profile_rows();
  double covered = 0;
  for (ProfileRow& row : profile.rows) {
    row.calls /= kRuns;
    row.seconds /= kRuns;
    covered += row.seconds;
  }
  profile.rows.push_back({"(outside any operation)", 0, profile.seconds - covered});
  return profile;
}

std::string profile_text(const StepProfile& profile) {
  std::string text;
  for (const ProfileRow& row : profile.rows)
    text += fmt::format("  {:9.4f} s {:5.1f} % {:6} x  {}\n", row.seconds,
                        100 * row.seconds / profile.seconds, row.calls, row.name);
  return text;
}

}  // namespace thorax::app
