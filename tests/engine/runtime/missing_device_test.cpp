// Asked for a GPU, a program uses it or says why it cannot; nothing else takes its place.
#include "engine/runtime/missing_device.h"

#include <doctest/doctest.h>

#include "engine/runtime/device.h"
#include "tests/support/places.h"
#include "tests/support/run_program.h"

using namespace thorax;

TEST_CASE("a device that is missing is an error with the reason") {
  CHECK(why_missing(DeviceKind::cpu).empty());
  CHECK(why_missing(DeviceKind::sim).empty());
  if (device_count(DeviceKind::cuda) > 0) {
    CHECK(why_missing(DeviceKind::cuda).empty());
    CHECK(parse_device("cuda") == Device{DeviceKind::cuda, 0});
    return;
  }
  const std::string before = why_missing(DeviceKind::cuda);
  CHECK_FALSE(before.empty());
  CHECK_THROWS_WITH_AS(parse_device("cuda"), doctest::Contains(before.c_str()), Error);
  note_missing(DeviceKind::cuda, "no CUDA-capable device is detected (cudaErrorNoDevice)");
  CHECK_THROWS_WITH_AS(parse_device("cuda"),
                       doctest::Contains("there is no device 'cuda'; there are: cpu, sim:0, sim:1, "
                                         "sim:2 (cuda: no CUDA-capable device is detected"),
                       Error);
  CHECK_THROWS_WITH_AS(device_info({DeviceKind::cuda, 0}),
                       doctest::Contains("there is no cuda:0: no CUDA-capable device"), Error);
  note_missing(DeviceKind::cuda, before);
}

TEST_CASE("tests that are asked to run on a GPU do not run elsewhere, and say where they ran") {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const auto run = [&](const std::string& device) {
    return test::run_program({"sh", "-c",
                              "THORAX_TEST_DEVICE=" + device + " '" + self +
                                  "' -tc='a device that is missing*' --no-intro 2>&1"});
  };
  const auto any = run("");
  CHECK(any.exit_code == 0);
  const Device gpu =
      device_count(DeviceKind::cuda) > 0 ? Device{DeviceKind::cuda, 0} : Device{DeviceKind::sim, 0};
  CHECK(any.out.find("GPU kernels run on " + to_string(gpu) + ", " + device_info(gpu).name) !=
        std::string::npos);
  const auto cuda = run("cuda");
  CHECK(cuda.exit_code == (gpu.kind == DeviceKind::cuda ? 0 : 2));
  if (gpu.kind != DeviceKind::cuda)
    CHECK(cuda.out.find(why_missing(DeviceKind::cuda)) != std::string::npos);
  CHECK(run("gpu").exit_code == 2);
}
