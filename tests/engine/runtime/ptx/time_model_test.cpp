// The time model: launches whose limit is known.
#include "engine/runtime/ptx/time_model.h"

#include <doctest/doctest.h>

#include "engine/tensor/error.h"

using namespace thorax;

namespace {

// A launch that fills the card four times with blocks of 256 threads and does next to nothing.
ptx::LaunchCounts full(const ptx::Card& card) {
  ptx::LaunchCounts launch;
  launch.kernel = "test";
  launch.threads = 256;
  launch.blocks = static_cast<std::uint64_t>(card.multiprocessors) * 32;
  launch.instructions = launch.blocks * 8 * 10;
  return launch;
}
double part(const ptx::Prediction& prediction, std::string_view name) {
  for (const auto& [found, seconds] : prediction.parts)
    if (found == name) return seconds;
  return -1;
}

}  // namespace

TEST_CASE("peaks of the cards are those of their data sheets") {
  const auto tflops = [](const char* name, double per_clock) {
    const ptx::Card& card = ptx::card_named(name);
    return per_clock * card.multiprocessors * card.clock * 1e-12;
  };
  const auto float32 = [&](const char* name) {
    return tflops(name, 2.0 * ptx::card_named(name).float32);
  };
  CHECK(float32("RTX 2070 Super") == doctest::Approx(9.1).epsilon(0.01));
  CHECK(float32("RTX 3090") == doctest::Approx(35.6).epsilon(0.01));
  CHECK(float32("RTX A6000") == doctest::Approx(38.7).epsilon(0.01));
  CHECK(float32("A100") == doctest::Approx(19.5).epsilon(0.01));
  CHECK(tflops("A100", ptx::card_named("A100").matrix_16) == doctest::Approx(312).epsilon(0.01));
  CHECK(tflops("H100", ptx::card_named("H100").matrix_16) ==
        doctest::Approx(0.63 * 989).epsilon(0.01));
  CHECK(ptx::card_of(75)->name == "RTX 2070 Super");
  CHECK(ptx::card_of(90)->name == "H100");
  CHECK(ptx::card_of(70) == nullptr);
  CHECK_THROWS_AS(ptx::card_named("RTX 9999"), Error);
}

TEST_CASE("what a launch is bound by, and for how long") {
  const ptx::Card& h100 = ptx::card_named("H100");
  // A copy: bytes over nine tenths of the bandwidth.
  ptx::LaunchCounts copy = full(h100);
  copy.traffic.dram_read = copy.traffic.dram_written = copy.traffic.l2_read =
      copy.traffic.l2_written = 1'000'000'000;
  const ptx::Prediction moved = ptx::predict(copy, h100);
  CHECK(moved.bound == "DRAM");
  CHECK(moved.seconds == doctest::Approx(2e9 / (3352e9 * 0.9) + 2.5e-6));
  // Hits in L2 cost its bandwidth.
  copy.traffic.dram_read = copy.traffic.dram_written = 0;
  CHECK(ptx::predict(copy, h100).bound == "L2");

  ptx::LaunchCounts products = full(h100);
  products.instructions = products.float32 = products.blocks * 8 * 100'000;
  const ptx::Prediction fma = ptx::predict(products, h100);
  // Of 128 lanes a warp's instruction takes a quarter of a clock, as does its issue.
  CHECK(part(fma, "float32") == doctest::Approx(part(fma, "issue")));
  CHECK(part(fma, "float32") == doctest::Approx(32 * 8 * 1e5 / 4 / h100.clock));
  // Half the lanes on an A100.
  const ptx::Prediction on_a100 = ptx::predict(products, ptx::card_named("A100"));
  CHECK(on_a100.bound == "float32");

  ptx::LaunchCounts matrices = full(h100);
  matrices.matrix_16 = 1e12;
  CHECK(ptx::predict(matrices, h100).bound == "tensor");
  CHECK(ptx::predict(matrices, h100).seconds == doctest::Approx(1 / 623.0).epsilon(0.02));
  ptx::LaunchCounts conflicts = full(h100);
  conflicts.l1_clocks = 1'000'000'000;
  CHECK(ptx::predict(conflicts, h100).bound == "L1/shared");
  CHECK(ptx::predict(full(h100), h100).bound == "launch");
}

TEST_CASE("a grid that does not fill the card waits for its busiest multiprocessor") {
  const ptx::Card& card = ptx::card_named("RTX 2070 Super");
  ptx::LaunchCounts launch = full(card);
  launch.instructions = launch.float32 = launch.blocks * 8 * 100'000;
  const double all = part(ptx::predict(launch, card), "float32");
  // One block more than the multiprocessors can share out evenly.
  ptx::LaunchCounts tail = launch;
  tail.instructions = tail.float32 = (launch.blocks + 1) * 8 * 100'000;
  tail.blocks += 1;
  CHECK(part(ptx::predict(tail, card), "float32") == doctest::Approx(all * 33 / 32));
  // A single block: no faster than its warps' instructions one after the other.
  ptx::LaunchCounts one = launch;
  one.blocks = 1;
  one.instructions = 8 * 100'000;
  one.float32 = 0;
  CHECK(ptx::predict(one, card).bound == "issue");
  one.threads = 32;
  one.instructions = 100'000;
  CHECK(ptx::predict(one, card).bound == "latency");
  CHECK(ptx::predict(one, card).seconds ==
        doctest::Approx(2e5 / card.clock + 2.5e-6).epsilon(0.01));
}

TEST_CASE("resident blocks: warps, registers, shared memory") {
  CHECK(ptx::resident_blocks(75, 0, 256, 0) == 4);
  CHECK(ptx::resident_blocks(75, 128, 256, 0) == 2);
  CHECK(ptx::resident_blocks(75, 32, 256, 48 * 1024) == 1);
  CHECK(ptx::resident_blocks(90, 0, 1024, 0) == 2);
  CHECK(ptx::resident_blocks(80, 0, 128, 163 * 1024) == 1);
  CHECK(ptx::resident_blocks(75, 255, 1024, 0) == 0);
  ptx::LaunchCounts launch = full(ptx::card_named("RTX 2070 Super"));
  launch.threads = 1024;
  CHECK_THROWS_AS(ptx::predict(launch, ptx::card_named("RTX 2070 Super"), 255), Error);
}

TEST_CASE("launches one after the other: times add up, the bound is that of most of the time") {
  ptx::Prediction a, b, c;
  a.seconds = 3e-6;
  a.bound = "launch";
  b.seconds = 5e-6;
  b.bound = "DRAM";
  c.seconds = 3e-6;
  c.bound = "launch";
  const ptx::Prediction all = ptx::predict({a, b, c});
  CHECK(all.seconds == doctest::Approx(11e-6));
  CHECK(all.bound == "launch");
}
