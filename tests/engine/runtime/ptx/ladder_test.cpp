// Rungs of a published ladder of matrix products: the time model must rank them as they were
// measured. The PTX comes from sgemm_ladder.cu by nvcc (tests/ptx_machine.sh).
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "engine/runtime/ptx/time_model.h"
#include "tests/engine/runtime/ptx/rig.h"

using namespace thorax;

namespace {

// GFLOP/s of products of 4096 x 4096 on an RTX A6000, from the worklog.
struct Rung {
  const char* kernel;
  unsigned tile, threads;
  int registers;  // by ptxas for sm_86
  double published;
};
constexpr Rung kRungs[] = {
    {"rung_1_naive", 32, 1024, 55, 309.0},     {"rung_2_coalesced", 32, 1024, 55, 1986.5},
    {"rung_3_shared", 32, 1024, 40, 2980.3},   {"rung_4_column", 64, 512, 44, 8474.7},
    {"rung_5_square", 128, 256, 128, 15971.7}, {"rung_6_vectors", 128, 256, 125, 18237.3}};

// 12 x 14 tiles of 128: as many blocks of every rung for each of the card's 84 multiprocessors.
constexpr int kRows = 12 * 128, kColumns = 14 * 128;

class Ladder {
 public:
  explicit Ladder(const std::string& path) : module_(path, text_of(path)) {}

  // Of a product of that depth.
  ptx::Prediction predict(const Rung& rung, int depth, int sampled_blocks) {
    const auto program = ptx::make_program(module_, entry(rung.kernel));
    const sim::BlockShape shape{{kColumns / rung.tile, kRows / rung.tile, 1}, {rung.threads, 1, 1}};
    float *a = a_.data(), *b = b_.data(), *c = c_.data();
    const std::uint32_t n = kColumns, k = static_cast<std::uint32_t>(depth);
    const ptx::Argument arguments[] = {{&a, 8}, {&b, 8}, {&c, 8}, {&n, 4}, {&k, 4}};
    ptx::CardMemory memory(card_);
    memory.sample(sampled_blocks);
    ptx::Counts counts(*program);
    ptx::execute_counted(*program, {86, 48 * 1024, 99 * 1024}, shape, arguments, counts, memory);
    ptx::LaunchCounts launch = ptx::summary(*program, counts, card_, shape);
    launch.traffic = memory.traffic();
    return ptx::predict(launch, card_, rung.registers);
  }
  // Largest error of elements that the latest launch wrote, and how many those are.
  std::pair<double, std::int64_t> check(int depth) {
    const std::vector<float> a = a_.values(), b = b_.values(), c = c_.values();
    double worst = 0;
    std::int64_t written = 0;
    for (int row = 0; row < kRows; row += 5)
      for (int column = 0; column < kColumns; column += 7) {
        const float got = c[static_cast<std::size_t>(row * kColumns + column)];
        if (std::isnan(got)) continue;
        ++written;
        double sum = 0;
        for (int i = 0; i < depth; ++i)
          sum += static_cast<double>(a[static_cast<std::size_t>(row * depth + i)]) *
                 b[static_cast<std::size_t>(i * kColumns + column)];
        worst = std::max(worst, std::abs(sum - got));
      }
    std::fill_n(c_.data(), c.size(), std::nanf(""));
    return {worst, written};
  }

 private:
  static std::string text_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  const ptx::Module::Entry& entry(const std::string& kernel) {
    for (const ptx::Module::Entry& e : module_.entries())
      if (e.name == kernel) return e;
    fail("[test] no kernel {}", kernel);
  }
  static std::vector<float> numbers(std::size_t count, std::uint32_t seed) {
    std::vector<float> values(count);
    for (float& v : values) v = static_cast<float>((seed = seed * 1664525 + 1013904223) >> 30);
    return values;
  }

  const ptx::Card& card_ = ptx::card_named("RTX A6000");
  ptx::Module module_;
  test::PtxMemory<float> a_{numbers(kRows * 64, 1)}, b_{numbers(64 * kColumns, 2)},
      c_{std::vector<float>(static_cast<std::size_t>(kRows) * kColumns, std::nanf(""))};
};

}  // namespace

TEST_CASE("the published ladder of matrix products comes out in its order") {
  const char* path = std::getenv("THORAX_LADDER_PTX");
  if (path == nullptr) {
    MESSAGE("left out: THORAX_LADDER_PTX names no PTX of sgemm_ladder.cu, which nvcc makes of it");
    return;
  }
  Ladder ladder(path);
  double before = 0, worst = 1;
  for (const Rung& rung : kRungs) {
    // All limits grow by the same amount with each step of depth: 32 and 64 tell what 4096 takes.
    const ptx::Prediction shorter = ladder.predict(rung, 32, 1);
    const ptx::Prediction longer = ladder.predict(rung, 64, 1);
    const auto [error, written] = ladder.check(64);
    CHECK(written > 1000);
    CHECK(error < 1e-3);
    double seconds = 0;
    std::string bound;
    for (std::size_t i = 0; i < longer.parts.size(); ++i) {
      const auto& [name, at_64] = longer.parts[i];
      REQUIRE(shorter.parts[i].name == name);
      const double at_4096 = at_64 + (at_64 - shorter.parts[i].seconds) * (4096 - 64) / 32;
      if (at_4096 > seconds) bound = name;
      seconds = std::max(seconds, at_4096);
    }
    const double gflops = 2.0 * kRows * kColumns * 4096 / seconds * 1e-9;
    const double ratio = gflops / rung.published;
    worst = std::max({worst, ratio, 1 / ratio});
    MESSAGE(std::string(rung.kernel)
            << ": predicted " << std::lround(gflops) << " GFLOP/s, bound " << bound
            << "; published " << rung.published << ": x " << ratio);
    CHECK(gflops > before);
    before = gflops;
  }
  CHECK(worst < 1.5);
}
