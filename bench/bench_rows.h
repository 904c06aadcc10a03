// What the programs on Google Benchmark share: rows that are prepared and checked once, a wrong one
// as an error of the program, --threads.
#pragma once

#include <benchmark/benchmark.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/tensor/tensor.h"

namespace thorax::bench {

/// What a row times: one call of `work`, with what it adds to the row (rates and shares).
struct Measured {
  std::function<void()> work;
  std::function<void(benchmark::State&)> counters;
};

/// Registers the rows of one provider on one problem, one for every name in `passes`:
/// "`name`/`pass`". The i-th runs the i-th of what `prepare` returns. `prepare` makes the tensors
/// and checks the results (throws Error when one is wrong); it is called when the first of the rows
/// runs, and what it made is gone when the rows of another call have their turn. Real time in
/// milliseconds, five repetitions unless --benchmark_repetitions says otherwise.
void add_rows(const std::string& name, const std::vector<std::string>& passes,
              std::function<std::vector<Measured>()> prepare);

/// The main function: --threads N, then Google Benchmark's own flags; `add_all` registers the rows.
/// Returns 1 when an argument is unknown, no row matches, or a row's check failed.
int run(int argc, char** argv, void (*add_all)());

/// Whole numbers in [-limit, limit], from Philox with this seed: sums and maxima of them are exact.
Tensor integers(const Shape& shape, std::uint64_t seed, int limit = 8);

}  // namespace thorax::bench
