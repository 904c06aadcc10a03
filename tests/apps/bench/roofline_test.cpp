// `thorax bench roofline`: roofs from the shares of the rows, points where they belong, refusals.
#include <doctest/doctest.h>

#include <filesystem>

#include "apps/bench/roofline.h"
#include "engine/io/atomic_file.h"
#include "tests/apps/commands.h"

using namespace thorax;
using namespace thorax::test;

namespace {

constexpr const char* kHeader =
    "dtype,provider,device,machine,threads,gflop_per_s,gb_per_s,of_measured_peak,of_copy_"
    "bandwidth\n";

std::string written(const TemporaryFolder& t, const std::string& rows) {
  atomic_write(t / "rows.csv", kHeader + rows);
  return t / "rows.csv";
}

}  // namespace

TEST_CASE("bench roofline: peak and bandwidth follow from shares, points lie below the roof") {
  const TemporaryFolder t;
  const std::string rows = written(t,
                                   "f32,gemm,cpu,M,2,100,5,0.5,0.25\n"
                                   "f32,winograd,cpu,M,2,150,4,0.75,0.2\n"
                                   "f32,failed,cpu,M,2,,,,\n");
  const app::Roofline r = app::read_roofline(rows);
  CHECK(r.machine == "M, 2 threads");
  CHECK(r.copy == doctest::Approx(20));
  REQUIRE(r.peak.size() == 1);
  CHECK(r.peak.at("f32") == doctest::Approx(200));
  CHECK(r.points == 2);
  CHECK(r.without_times == 1);
  REQUIRE(r.plot.series.size() == 3);
  const app::Series& roof = r.plot.series[0];
  REQUIRE(roof.x.size() == 3);
  CHECK(roof.x[0] == doctest::Approx(2.5));  // a quarter of the ridge, which is left of all points
  CHECK(roof.y[0] == doctest::Approx(50));
  CHECK(roof.x[1] == doctest::Approx(10));
  CHECK(roof.y[1] == doctest::Approx(200));
  const app::Series& gemm = r.plot.series[1];
  CHECK(gemm.name == "gemm");
  CHECK(gemm.x[0] == doctest::Approx(20));
  CHECK(gemm.y[0] == doctest::Approx(100));
}

TEST_CASE("bench roofline: a slope and a ridge where memory is the limit") {
  const TemporaryFolder t;
  const app::Roofline r =
      app::read_roofline(written(t, "f32,gemm,cpu,M,2,10,5,0.05,0.25\n"));  // 2 FLOP/byte
  const app::Series& roof = r.plot.series[0];
  REQUIRE(roof.x.size() == 3);
  CHECK(roof.x[1] == doctest::Approx(10));
  CHECK(roof.y[0] == doctest::Approx(20));
  CHECK(roof.y[1] == doctest::Approx(200));
  CHECK(roof.y[2] == doctest::Approx(200));
}

TEST_CASE("bench roofline: draws SVG and PNG of what bench kernels writes") {
  const TemporaryFolder t;
  run({"bench", "kernels", "conv2d", "--shape", "1x8x8x8", "--filter", "8x3x3x8", "--padding", "1",
       "--repeats", "3", "--pass", "forward", "--csv", t / "k.csv"});
  const std::string text = run({"bench", "roofline", t / "k.csv", "--out", t / "roof"});
  CHECK_MESSAGE(has(text, "f32 peak"), text);
  CHECK(has(read_file(t / "roof.svg", 1 << 22), "Roofline"));
  CHECK(read_file(t / "roof.png", 1 << 22).starts_with("\x89PNG"));
}

TEST_CASE("bench roofline: refusals leave no file") {
  const TemporaryFolder t;
  const auto refused = [&](const std::string& rows, const char* text) {
    const Outcome outcome =
        run_thorax({"bench", "roofline", written(t, rows), "--out", t / "roof"});
    CHECK(outcome.exit_code == 1);
    CHECK_MESSAGE(has(outcome.output, text), outcome.output);
    CHECK(!std::filesystem::exists(t / "roof.svg"));
  };
  refused("f32,gemm,cpu,M,2,abc,5,0.5,0.25\n", "gflop_per_s is 'abc', not a positive number");
  refused("f32,gemm,cpu,M,2,-1,5,0.5,0.25\n", "gflop_per_s is '-1'");
  refused("f32,gemm,cpu,M,2,100,5,0.5,0.25\nf32,gemm,cpu,N,2,100,5,0.5,0.25\n",
          "a row of N, 2 threads among those of M, 2 threads");
  refused("f32,gemm,sim,M,2,,,,\n", "none of 1 rows has gflop_per_s");
}
