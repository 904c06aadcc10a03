// Time per operation, off by default: a scope that is off costs one relaxed load.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor/dtype.h"

namespace thorax {

enum class ProfileLevel : std::uint8_t { off, operations, shapes };

struct ProfileRow {
  std::string name;  // "conv2d forward", with the problem behind it at level shapes
  std::uint64_t calls = 0;
  double seconds = 0;  // wall time inside the scope less the time inside scopes nested in it
};

// Starts or stops collecting; what was collected stays until profile_reset. On a GPU kernels run
// after the call that launched them: scopes wait for `device` at both ends, so that each has the
// time of its own kernels. Nothing may be captured as a graph meanwhile.
void profile_enable(ProfileLevel level, Device device = {});
void profile_reset();
// Everything collected so far, the most time first.
std::vector<ProfileRow> profile_rows();

// The operation of the innermost ProfileScope of this thread, or an empty text; kept whether
// profiling is on or not.
inline std::string_view current_operation();

namespace detail {
extern std::atomic<ProfileLevel> profile_level;
inline thread_local std::string_view running_operation;
}  // namespace detail

inline std::string_view current_operation() {
  return detail::running_operation;
}

// Times the enclosing block under "<operation> <phase>". `describe` (a function returning text) is
// called at level shapes only. `operation` is a string literal. Use on the calling thread, not
// inside parallel loops.
class ProfileScope {
 public:
  explicit ProfileScope(std::string_view operation, std::string_view phase = "forward")
      : outer_(detail::running_operation) {
    detail::running_operation = operation;
    if (level() != ProfileLevel::off) begin(operation, phase, {});
  }
  template <class Describe>
  ProfileScope(std::string_view operation, std::string_view phase, const Describe& describe)
      : outer_(detail::running_operation) {
    detail::running_operation = operation;
    const ProfileLevel wanted = level();
    if (wanted == ProfileLevel::off) return;
    begin(operation, phase, wanted == ProfileLevel::shapes ? describe() : std::string());
  }
  ~ProfileScope() {
    detail::running_operation = outer_;
    if (active_) end();
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  static ProfileLevel level() { return detail::profile_level.load(std::memory_order_relaxed); }
  void begin(std::string_view operation, std::string_view phase, const std::string& detail);
  void end();

  std::string_view outer_;
  bool active_ = false;
  std::string name_;
  std::chrono::steady_clock::time_point start_;
  double nested_ = 0;
  ProfileScope* parent_ = nullptr;
};

}  // namespace thorax
