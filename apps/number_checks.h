// Ranges of numeric options. CLI11's own checks let NaN pass, and its conversion clamps a whole
// number that does not fit; here every option says what it takes.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

namespace thorax::app {

// The option's text must be a number from `low` to `high`: a whole one when these are, and never
// NaN or infinite.
template <class T>
CLI::Validator in_range(T low, T high) {
  const auto check = [low, high](std::string& text) -> std::string {
    constexpr bool kWhole = std::is_integral_v<T>;
    using Value = std::conditional_t<kWhole, std::int64_t, double>;
    Value value = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc::invalid_argument || rest != end)
      return fmt::format("'{}' is not a {}number", text, kWhole ? "whole " : "");
    if (error == std::errc() && value >= static_cast<Value>(low) &&
        value <= static_cast<Value>(high))
      return "";
    return fmt::format("{} is not within {} to {}", text, low, high);
  };
  return CLI::Validator(check, fmt::format("{} to {}", low, high));
}

// Seeds, and counts that nothing but memory limits.
inline const CLI::Validator kSeed = in_range<std::int64_t>(0, INT64_MAX);
inline const CLI::Validator kCount = in_range<std::int64_t>(0, 1'000'000'000);
inline const CLI::Validator kPositiveCount = in_range<std::int64_t>(1, 1'000'000'000);
inline const CLI::Validator kBatch = in_range<int>(1, 4096);
inline const CLI::Validator kThreads = in_range<int>(0, 4096);
inline const CLI::Validator kShare = in_range<double>(0, 1);
// Lung area, in pixels of 512 x 512; more than an image has rejects every image.
inline const CLI::Validator kArea = in_range<double>(0, 1e9);

}  // namespace thorax::app
