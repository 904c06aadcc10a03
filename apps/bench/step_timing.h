// The time of a repeated piece of work, and where it goes.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "engine/runtime/device.h"
#include "engine/runtime/profile.h"

namespace thorax::app {

// Seconds from an idle device until it is idle again.
template <class Work>
double seconds_of(Device device, const Work& work) {
  synchronize(device);
  const auto start = std::chrono::steady_clock::now();
  work();
  synchronize(device);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Of repeated measurements, at least one: the median and the distance of the quartiles.
struct Quartiles {
  double median = 0, spread = 0;
};
Quartiles quartiles(std::vector<double> values);

// What a measurement ran on: the processor, or the card.
std::string machine_name(Device device);

// Of one run; the scopes of the profile wait for the device, so that it takes longer than one
// without.
struct StepProfile {
  double seconds = 0;
  std::vector<ProfileRow> rows;  // the most time first, "(outside)" last: what no operation covers
};
StepProfile profile_step(Device device, ProfileLevel level, const std::function<void()>& run);
std::string profile_text(const StepProfile& profile);

}  // namespace thorax::app
