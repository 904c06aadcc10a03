// Commands of tests: what they say, and how they end.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/program.h"

namespace thorax::test {

using Arguments = std::vector<std::string>;

inline Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// What a command says that must end with this exit code.
inline std::string run(const Arguments& arguments, int wanted = 0) {
  const Outcome outcome = run_thorax(arguments);
  INFO(outcome.output);
  REQUIRE(outcome.exit_code == wanted);
  return outcome.output;
}

inline std::string refuse(const Arguments& arguments, int code = 1) {
  return run(arguments, code);
}

}  // namespace thorax::test
