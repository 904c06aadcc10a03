#include "engine/runtime/profile.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "engine/runtime/device.h"

namespace thorax {

std::atomic<ProfileLevel> detail::profile_level{ProfileLevel::off};

namespace {

thread_local ProfileScope* innermost = nullptr;
Device profiled_device;
std::mutex table_mutex;

std::map<std::string, ProfileRow>& table() {
  static std::map<std::string, ProfileRow> rows;
  return rows;
}

}  // namespace

void profile_enable(ProfileLevel level, Device device) {
  profiled_device = device;
  detail::profile_level.store(level, std::memory_order_relaxed);
}

void profile_reset() {
  const std::lock_guard lock(table_mutex);
  table().clear();
}

std::vector<ProfileRow> profile_rows() {
  std::vector<ProfileRow> rows;
  {
    const std::lock_guard lock(table_mutex);
    for (const auto& [name, row] : table()) rows.push_back(row);
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ProfileRow& a, const ProfileRow& b) { return a.seconds > b.seconds; });
  return rows;
}

void ProfileScope::begin(std::string_view operation, std::string_view phase,
                         const std::string& detail) {
  name_.append(operation).append(" ").append(phase);
  if (!detail.empty()) name_.append(" ").append(detail);
  parent_ = innermost;
  innermost = this;
  active_ = true;
  synchronize(profiled_device);
  start_ = std::chrono::steady_clock::now();
}

void ProfileScope::end() {
  try {
    synchronize(profiled_device);
  } catch (const Error&) {  // the device failed: whoever waits for a result is told
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  innermost = parent_;
  if (parent_) parent_->nested_ += seconds;
  const std::lock_guard lock(table_mutex);
  ProfileRow& row = table()[name_];
  row.name = name_;
  ++row.calls;
  row.seconds += seconds - nested_;
}

}  // namespace thorax
