// Time per operation, off by default: a scope that is off costs one relaxed load.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace thorax {

enum class ProfileLevel : std::uint8_t { off, operations, shapes };

struct ProfileRow {
  std::string name;  // "conv2d forward", with the problem behind it at level shapes
  std::uint64_t calls = 0;
  double seconds = 0;  // wall time inside the scope less the time inside scopes nested in it
};

// Starts or stops collecting; what was collected stays until profile_reset.
void profile_enable(ProfileLevel level);
void profile_reset();
// Everything collected so far, the most time first.
std::vector<ProfileRow> profile_rows();

namespace detail {
extern std::atomic<ProfileLevel> profile_level;
}

// Times the enclosing block under "<operation> <phase>". `describe` (a function returning text) is
// called at level shapes only. Use on the calling thread, not inside parallel loops.
class ProfileScope {
 public:
  explicit ProfileScope(std::string_view operation, std::string_view phase = "forward") {
    if (level() != ProfileLevel::off) begin(operation, phase, {});
  }
  template <class Describe>
  ProfileScope(std::string_view operation, std::string_view phase, const Describe& describe) {
    const ProfileLevel wanted = level();
    if (wanted == ProfileLevel::off) return;
    begin(operation, phase, wanted == ProfileLevel::shapes ? describe() : std::string());
  }
  ~ProfileScope() {
    if (active_) end();
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  static ProfileLevel level() { return detail::profile_level.load(std::memory_order_relaxed); }
  void begin(std::string_view operation, std::string_view phase, const std::string& detail);
  void end();

  bool active_ = false;
  std::string name_;
  std::chrono::steady_clock::time_point start_;
  double nested_ = 0;
  ProfileScope* parent_ = nullptr;
};

}  // namespace thorax
