// Entry point shared by every test program. A filter that selects no test is an error: a renamed
// file must not turn into a test that silently passes.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "engine/runtime/device.h"
#include "engine/runtime/missing_device.h"
#include "engine/runtime/ptx_devices.h"
#include "tests/support/gpu.h"

namespace {
// Says where the tests' GPU kernels run (tests/support/gpu.h). With THORAX_TEST_DEVICE=cuda they
// run on a GPU of NVIDIA's or not at all, with =ptx on the machine that executes their PTX.
void say_device() {
  using namespace thorax;
  const char* text = std::getenv("THORAX_TEST_DEVICE");
  const std::string_view wanted = text == nullptr ? "" : text;
  if (!wanted.empty() && wanted != "cuda" && wanted != "ptx") {
    std::fprintf(stderr, "THORAX_TEST_DEVICE is '%s': cuda, ptx, or nothing for what there is\n",
                 text);
    std::exit(2);
  }
  const std::string why = why_missing(DeviceKind::cuda);
  if (wanted == "cuda" && !why.empty()) {
    std::fprintf(stderr, "THORAX_TEST_DEVICE is cuda, and there is none: %s\n", why.c_str());
    std::exit(2);
  }
  if (wanted == "ptx" && !why_no_ptx().empty()) {
    std::fprintf(stderr, "THORAX_TEST_DEVICE is ptx, and there is none: %s\n",
                 why_no_ptx().c_str());
    std::exit(2);
  }
  const Device gpu = test::gpu();
  std::fprintf(stderr, "GPU kernels run on %s, %s%s%s\n", device_text(gpu).c_str(),
               device_info(gpu).name.c_str(), why.empty() ? "" : "; no cuda: ", why.c_str());
}

int cases_run = 0;
struct CountListener : doctest::IReporter {
  explicit CountListener(const doctest::ContextOptions&) {}
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats& stats) override {
    cases_run = static_cast<int>(stats.numTestCasesPassingFilters);
  }
  void test_case_start(const doctest::TestCaseData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
}  // namespace

DOCTEST_REGISTER_LISTENER("count", 1, CountListener);

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  if (!context.shouldExit()) say_device();
  const int result = context.run();
  if (context.shouldExit()) return result;
  if (cases_run == 0) {
    std::fprintf(stderr, "no test case matched the filter\n");
    return 1;
  }
  return result;
}
