// Checks of an option's number whose messages a person can read: CLI11's PositiveNumber and
// NonNegativeNumber print the largest double in full.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <string>

namespace thorax::app {

// The option's text must be a number above (or not below) zero.
inline CLI::Validator number_check(bool zero_allowed) {
  return CLI::Validator(
      [zero_allowed](std::string& text) -> std::string {
        double value = 0;
        if (!CLI::detail::lexical_cast(text, value) || !std::isfinite(value))
          return fmt::format("'{}' is not a finite number", text);
        if (zero_allowed ? value >= 0 : value > 0) return "";
        return fmt::format("must {}, is {}", zero_allowed ? "not be negative" : "be above 0", text);
      },
      zero_allowed ? "NONNEGATIVE" : "POSITIVE");
}
inline const CLI::Validator kPositive = number_check(false);
inline const CLI::Validator kNonNegative = number_check(true);

}  // namespace thorax::app
