#include "bench/bench_rows.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "engine/runtime/parallel.h"
#include "engine/runtime/philox.h"

namespace thorax::bench {
namespace {

using Prepare = std::function<std::vector<Measured>()>;

// The tensors of one group of rows at a time: all of them together would not fit into memory.
const Prepare* current = nullptr;
std::vector<Measured> rows_of_current;
int failures = 0;

void measure(benchmark::State& state, const Prepare& prepare, std::size_t pass) {
  try {
    if (current != &prepare) {
      current = nullptr;
      rows_of_current.clear();
      rows_of_current = prepare();
      current = &prepare;
    }
    const Measured& row = rows_of_current[pass];
    for ([[maybe_unused]] const auto unused : state) row.work();
    row.counters(state);
  } catch (const std::exception& error) {
    ++failures;
    state.SkipWithError(error.what());
  }
}

}  // namespace

void add_rows(const std::string& name, const std::vector<std::string>& passes, Prepare prepare) {
  const auto group = std::make_shared<const Prepare>(std::move(prepare));
  for (std::size_t i = 0; i < passes.size(); ++i)
    benchmark::RegisterBenchmark((name + "/" + passes[i]).c_str(),
                                 [group, i](benchmark::State& state) { measure(state, *group, i); })
        ->Unit(benchmark::kMillisecond)
        ->MeasureProcessCPUTime()
        ->UseRealTime();
}

int run(int argc, char** argv, void (*add_all)()) try {
  // Ours first: Google Benchmark takes its own flags out of what is left and names the rest as
  // unknown.
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  int threads = 0;
  app.add_option("--threads", threads)->check(CLI::PositiveNumber);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  if (threads > 0) set_num_threads(threads);
  std::vector<std::string> rest = app.remaining();
  // Defaults before the caller's: the last one of a flag counts.
  rest.insert(rest.begin(), {argv[0], "--benchmark_repetitions=5", "--benchmark_min_time=0.05",
                             "--benchmark_display_aggregates_only=true"});
  std::vector<char*> arguments;
  for (std::string& one : rest) arguments.push_back(one.data());
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 1;
  benchmark::AddCustomContext("threads", std::to_string(num_threads()));
  add_all();
  const std::size_t rows = benchmark::RunSpecifiedBenchmarks();
  rows_of_current.clear();
  if (failures > 0) std::fprintf(stderr, "%d row(s) with a wrong result or an error\n", failures);
  return rows == 0 || failures > 0 ? 1 : 0;
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

Tensor integers(const Shape& shape, std::uint64_t seed, int limit) {
  const Tensor t = Tensor::empty(shape);
  Philox random(seed, 7);
  for (std::int64_t i = 0; i < t.numel(); ++i)
    t.data<float>()[i] =
        static_cast<float>(random.below(static_cast<std::uint64_t>(2 * limit + 1))) -
        static_cast<float>(limit);
  return t;
}

}  // namespace thorax::bench
