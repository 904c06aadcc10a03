// Shared by the tests of tables, figures and reports.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "engine/tensor/error.h"
#include "tests/apps/report/xml_check.h"
#include "tests/support/program.h"
#include "tests/support/run_program.h"

namespace thorax::test {

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The text of the Error that `f` throws; "" if it throws none.
template <class F>
std::string error_text(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

#define CHECK_REFUSED(expression, part)                                                \
  do {                                                                                 \
    const std::string text_ = ::thorax::test::error_text([&] { (void)(expression); }); \
    CHECK_MESSAGE(::thorax::test::contains(text_, part),                               \
                  "wanted '" << (part) << "', got: " << text_);                        \
  } while (false)

}  // namespace thorax::test
