// `thorax bench kernels`: rows of every provider and pass, wrong ones, baselines, refusals.
#include <doctest/doctest.h>
#include <map>

#include <nlohmann/json.hpp>
#include <set>

#include "apps/bench/kernel_rows.h"
#include "apps/kernel_table.h"
#include "data/csv.h"
#include "engine/io/atomic_file.h"
#include "tests/apps/commands.h"

using namespace thorax;
using namespace thorax::test;
using nlohmann::json;

namespace {

const Arguments kSmall{"bench",    "kernels",   "conv2d", "--shape",   "1x8x8x8", "--filter",
                       "16x3x3x8", "--padding", "1",      "--repeats", "3"};

json rows_of(const Arguments& arguments, int wanted = 0) {
  const std::string text = run(arguments, wanted);
  return json::parse(text.substr(text.find('[')));
}

}  // namespace

TEST_CASE("bench kernels: every pass and provider has a checked, timed row; CSV and JSON agree") {
  const TemporaryFolder t;
  const json rows = rows_of(kSmall + Arguments{"--json", "--csv", t / "k.csv"});
  const CsvTable table = CsvTable::read(t / "k.csv");
  REQUIRE(table.rows() == static_cast<std::int64_t>(rows.size()));
  std::set<std::string> passes;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const json& row = rows[i];
    INFO(row.dump());
    passes.insert(row["pass"]);
    CHECK(row["check"] == "ok");
    CHECK(row["provider"] != "reference");
    CHECK(row["error_of_allowed"].get<double>() <= 1);
    const double seconds = row["median_ms"].get<double>() / 1e3;
    REQUIRE(seconds > 0);
    // 64 pixels, 16 x 72 products each.
    CHECK(row["gflop_per_s"].get<double>() * seconds == doctest::Approx(2.0 * 64 * 16 * 72 * 1e-9));
    CHECK(row["gb_per_s"].get<double>() * seconds ==
          doctest::Approx(4e-9 * (64 * 8 + 16 * 72 + 64 * 16)));
    CHECK(row["of_measured_peak"].get<double>() > 0);
    CHECK(row["of_copy_bandwidth"].get<double>() > 0);
    CHECK(row["launches_counted"].is_null());
    const auto at = static_cast<std::int64_t>(i);
    for (const char* column : {"operation", "pass", "shape", "dtype", "provider", "device"})
      CHECK(table.at(at, table.column(column)) == row[column].get<std::string>());
    CHECK(std::stod(table.at(at, table.column("median_ms"))) ==
          doctest::Approx(row["median_ms"].get<double>()).epsilon(1e-4));
  }
  CHECK(passes == std::set<std::string>{"dgrad", "forward", "wgrad"});
  const json one =
      rows_of(kSmall + Arguments{"--json", "--provider", "reference", "--pass", "dgrad"});
  REQUIRE(one.size() == 1);
  CHECK(one[0]["provider"] == "reference");
}

TEST_CASE("bench kernels: transposed convolutions and lists") {
  for (const auto& row :
       rows_of({"bench", "kernels", "conv_transpose2d", "--shape", "1x4x4x8", "--filter", "8x2x2x4",
                "--stride", "2", "--repeats", "1", "--json"}))
    CHECK_MESSAGE(row["check"] == "ok", row.dump());
  const json rows =
      rows_of({"bench", "kernels", "conv2d", "--cases", "hrnet_w18", "--size", "32", "--batch", "1",
               "--repeats", "1", "--provider", "gemm", "--pass", "forward", "--json"});
  CHECK(rows.size() > 20);
  std::set<std::string> shapes;
  for (const json& row : rows) {
    CHECK_MESSAGE(row["check"] == "ok", row.dump());
    CHECK(shapes.insert(row["shape"]).second);
  }
}

TEST_CASE("bench kernels: what is bound by memory, on every device") {
  const std::vector<Arguments> problems{
      {"batch_norm", "--shape", "2x5x3x18"},
      {"pool", "--shape", "1x8x6x5"},
      {"pool", "--shape", "2x9x9x4", "--kind", "avg", "--window", "3", "--stride", "2", "--padding",
       "1"},
      {"fuse_multires", "--shape", "1x8x4x6", "--factors", "1,2,4"},
      {"dice_loss", "--shape", "2x9x7x1"}};
  for (const Arguments& problem : problems) {
    std::vector<Arguments> places{{"--device", "cpu"}};
    if (device_count(DeviceKind::sim) > 0)
      for (const char* dtype : {"f32", "f16", "bf16"})
        places.push_back({"--device", "sim", "--dtype", dtype});
    for (const Arguments& place : places) {
      const json rows = rows_of(Arguments{"bench", "kernels"} + problem + place +
                                Arguments{"--repeats", "2", "--json"});
      CHECK(rows.size() >= 2);
      for (const json& row : rows) {
        INFO(row.dump());
        CHECK(row["check"] == "ok");
        CHECK(row["gflop_per_s"].is_null());
        if (place[1] == "cpu")
          CHECK(row["gb_per_s"].get<double>() > 0);
        else
          CHECK(row["launches_counted"].get<int>() >= 1);
      }
    }
  }
  // A maximum's byte of 3 x 3 outputs, 4 bytes of 6 x 6 inputs and of the outputs.
  for (const json& row :
       rows_of({"bench", "kernels", "pool", "--shape", "1x6x6x1", "--repeats", "1", "--json"}))
    CHECK(row["gb_per_s"].get<double>() * row["median_ms"].get<double>() * 1e6 ==
          doctest::Approx(36 * 4 + 9 * 5));
}

TEST_CASE("bench kernels: awkward problems of what is bound by memory") {
  for (const char* operation : {"batch_norm", "fuse_multires", "pool"})
    for (const json& row :
         rows_of({"bench", "kernels", operation, "--cases", "awkward", "--repeats", "1", "--json"}))
      CHECK_MESSAGE(row["check"] == "ok", row.dump());
}

TEST_CASE("bench kernels: a simulated device has counts and no times") {
  if (device_count(DeviceKind::sim) == 0) return;
  for (const char* dtype : {"f32", "f16"}) {
    const json rows = rows_of({"bench", "kernels", "conv2d", "--shape", "1x4x4x8", "--filter",
                               "8x1x1x8", "--device", "sim", "--dtype", dtype, "--json"});
    CHECK(rows.size() >= 3);
    for (const json& row : rows) {
      INFO(row.dump());
      CHECK(row["check"] == "ok");
      CHECK(row["launches_counted"].get<int>() >= 1);
      CHECK(row["blocks_counted"].get<int>() >= 1);
      for (const char* column : {"median_ms", "spread_ms", "gflop_per_s", "gb_per_s",
                                 "of_measured_peak", "of_copy_bandwidth", "instructions_counted",
                                 "dram_bytes_simulated", "predicted_ms", "predicted_bound"})
        CHECK(row[column].is_null());
    }
  }
}

TEST_CASE("bench kernels: a wrong result is not timed, an error is a row, the others follow") {
  int calls = 0;
  const auto right = [] { return 0.5; };
  const app::KernelPass pass{
      "conv2d", "forward", "a problem", "f32", 100, 100, [&] {
        std::vector<app::KernelRun> runs;
        runs.push_back({"broken", "f32", "", [&] { ++calls; }, [] { return 1.5; }});
        runs.push_back({"nan", "f32", "", [&] { ++calls; }, [] { return std::nan(""); }});
        runs.push_back({"throws", "f32", "", [] { fail("[x] no\nmemory"); }, right});
        runs.push_back({"other", "f32", "not this problem"});
        runs.push_back({"good", "f32", "", [] {}, right});
        return runs;
      }};
  std::vector<app::KernelRow> rows;
  app::KernelBench(Device{}, 1).measure(pass, [&](app::KernelRow row) { rows.push_back(row); });
  REQUIRE(rows.size() == 5);
  CHECK(calls == 0);
  CHECK(rows[0].check == "wrong");
  CHECK(has(rows[0].note, "1.5 times"));
  CHECK(rows[1].check == "wrong");
  CHECK(rows[2].check == "failed");
  CHECK(rows[2].note == "[x] no memory");
  CHECK(rows[3].check == "unsupported");
  CHECK(rows[4].check == "ok");
  for (int i = 0; i < 5; ++i) CHECK(rows[i].median.has_value() == (i == 4));
  for (int i = 0; i < 5; ++i) CHECK(rows[i].bad() == (i < 3));
}

TEST_CASE("bench kernels: a baseline gives ratios, and --fail-below the exit code") {
  const TemporaryFolder t;
  const Arguments one = kSmall + Arguments{"--provider", "gemm", "--pass", "forward", "--json"};
  run(one + Arguments{"--csv", t / "k.csv"});
  const CsvTable before = CsvTable::read(t / "k.csv");
  const auto baseline = [&](const std::string& milliseconds, const std::string& provider) {
    std::vector<std::string> fields;
    for (const std::string& column : before.columns())
      fields.push_back(column == "median_ms"  ? milliseconds
                       : column == "provider" ? provider
                                              : before.at(0, before.column(column)));
    return csv_line(before.columns()) + csv_line(fields);
  };
  const auto with = [&](const std::string& text, const Arguments& more, int wanted) {
    atomic_write(t / "before.csv", text);
    return run(one + Arguments{"--baseline", t / "before.csv"} + more, wanted);
  };
  const std::string slow = with(baseline("1e6", "gemm"), {"--fail-below", "0.9"}, 0);
  CHECK(json::parse(slow)[0]["baseline_ratio"].get<double>() > 1);
  const std::string fast = with(baseline("1e-9", "gemm"), {"--fail-below", "0.9"}, 1);
  CHECK(has(fast, "1 rows have less than 0.9 times the speed"));
  with(baseline("1e-9", "gemm"), {}, 0);
  const std::string other = with(baseline("1e-9", "winograd"), {"--fail-below", "0.9"}, 0);
  CHECK(has(other, "1 rows of it were not measured now"));
  CHECK(has(with(baseline("fast", "gemm"), {}, 1), "median_ms is 'fast'"));
  const std::string twice = baseline("1", "gemm");
  CHECK(has(with(twice + twice.substr(twice.find('\n') + 1), {}, 1), "a second row of conv2d"));
  CHECK(has(with("a,b\n1,2\n", {}, 1), "median_ms"));
}

TEST_CASE("bench kernels: refusals name shape, rule and remedy") {
  const auto refused = [](const Arguments& more, const char* text) {
    const std::string said = refuse(Arguments{"bench", "kernels"} + more);
    CHECK_MESSAGE(has(said, text), said);
  };
  const Arguments shape{"conv2d", "--shape", "2x28x28x32"};
  refused(shape + Arguments{"--filter", "32x3x3x16"},
          "--filter 32x3x3x16: 16 channels, but --shape 2x28x28x32 has 32");
  refused(shape + Arguments{"--filter", "32x3x3x32", "--groups", "2"}, "in each of 2 groups");
  refused(shape, "add --filter");
  refused(shape + Arguments{"--filter", "32x3x3"}, "--filter 32x3x3: 4 whole numbers");
  refused({"conv2d", "--shape", "2x0x28x32", "--filter", "1x1x1x32"}, "--shape 2x0x28x32");
  refused({"conv2d", "--shape", "2x28x28x32y", "--filter", "1x1x1x32"}, "--shape 2x28x28x32y");
  refused({"conv2d", "--shape", "99999x9999x9999x9", "--filter", "1x1x1x9"}, "2^36 elements");
  refused(shape + Arguments{"--filter", "32x40x40x32"}, "filter is larger than the padded input");
  refused(shape + Arguments{"--filter", "32x3x3x32", "--provider", "fastest"},
          "no provider named 'fastest' on cpu");
  refused(shape + Arguments{"--filter", "32x3x3x32", "--dtype", "f16"}, "no provider on cpu");
  refused(shape + Arguments{"--filter", "32x3x3x32", "--pass", "backward"},
          "forward, dgrad, wgrad");
  refused(shape + Arguments{"--filter", "32x3x3x32", "--kind", "avg"}, "--kind is nothing of");
  refused(shape + Arguments{"--filter", "32x3x3x32", "--csv", "/nowhere/k.csv"}, "/nowhere");
  refused(shape + Arguments{"--filter", "32x3x3x32", "--sample-blocks", "2"},
          "--sample-blocks 2: blocks are counted on ptx:N, and the device is cpu");
  refused(shape + Arguments{"--cases", "unet"}, "both --shape and --cases");
  refused({"conv2d"}, "no problem");
  refused({"conv2d", "--cases", "vgg"}, "there are unet, hrnet_w18");
  refused({"conv2d", "--cases", "unet", "--size", "50"}, "a multiple of 16; take 64");
  refused({"conv2d", "--cases", "unet", "--stride", "2"}, "--stride beside --cases unet");
  refused({"batch_norm", "--shape", "1x1x1x8"}, "takes two or more, as 2x1x1x8");
  refused({"fuse_multires", "--shape", "1x8x8x4", "--factors", "2,4"}, "--factors 2,4");
  refused({"fuse_multires", "--shape", "1x6x6x4", "--factors", "1,4"}, "of --shape 1x6x6x4");
  refused({"fuse_multires", "--shape", "1x8x8x4", "--factors", "1,2,"}, "--factors 1,2,");
  refused({"pool", "--shape", "1x4x4x4", "--window", "9"}, "[pool]");
  refused({"pool", "--cases", "models", "--batch", "2"}, "its sizes are fixed");
  refused({"dice_loss", "--shape", "1x4x4x1", "--pass", "dgrad"}, "the passes forward, backward");
  refused({"conv_transpose2d", "--shape", "1x4x4x8", "--filter", "4x2x2x8"},
          "4 input channels, but --shape 1x4x4x8 has 8");
}

TEST_CASE("names of kernels in PTX and in the table of resources") {
  CHECK(
      app::plain_kernel_name("void thorax::sim_build::(anonymous namespace)::dropout_kernel<float, "
                             "4>(float const*, int)") == "dropout_kernel<float, 4>");
  CHECK(app::plain_kernel_name("void a::f<a::b::Relu, (a::Kind)2>(a::T<int>)") ==
        "f<Relu, (Kind)2>");
  CHECK(app::plain_kernel_name("thorax::fill_kernel(float*)") == "fill_kernel");
  // Every row is found by its kernel's name, also one with scopes in it.
  int scoped = 0;
  std::map<std::string, std::set<int>> registers;  // two kernels may have one name
  for (const app::KernelResources& row : app::kernel_resources())
    registers[app::plain_kernel_name(row.kernel) + std::to_string(row.capability)].insert(
        row.registers);
  for (const app::KernelResources& row : app::kernel_resources()) {
    CAPTURE(row.kernel);
    scoped += row.kernel.find("::") != std::string::npos;
    const std::string in_ptx = "void thorax::" + row.kernel + "(float*)";
    const auto* found = app::find_resources(in_ptx, row.capability);
    REQUIRE(found != nullptr);
    CHECK(registers[found->kernel + std::to_string(row.capability)].contains(row.registers));
    CHECK(app::registers_of(in_ptx, row.capability) == found->registers);
  }
  CHECK(scoped > 0);
  CHECK(app::registers_of("void thorax::no_such_kernel(float*)", 75) == 0);
}
