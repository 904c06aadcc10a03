// Operations that move more than they compute - batch_norm, pool, fuse_multires - against a copy.
//
//   memory_bound_bench [--threads N] [--benchmark_filter=REGEX] [--benchmark_format=csv] ...
//
// Rows are named operation/problem/provider/pass. bytes_per_second counts what the pass has to move
// (each tensor once per sweep that the algorithm needs; the folders' READMEs list them); `of_copy`
// is that rate over a memcpy's of as many bytes, read and written, on the same threads, timed just
// before. Small problems sit in the cache, for the copy as for the operation. Before a provider is
// timed its results are compared with the reference's; a wrong one is an error.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "bench/bench_rows.h"
#include "engine/runtime/parallel.h"
#include "kernels/batch_norm/cases.h"
#include "kernels/fuse_multires/cases.h"
#include "kernels/pool/cases.h"

using namespace thorax;
using bench::integers;

namespace {

void expect_close(const char* what, const Tensor& got, const Tensor& want, double tolerance) {
  for (std::int64_t i = 0; i < want.numel(); ++i) {
    const double a = static_cast<double>(got.data<float>()[i]),
                 b = static_cast<double>(want.data<float>()[i]);
    if (!(std::abs(a - b) <= tolerance * (1 + std::abs(b))))
      fail("[memory_bound_bench] {}: element {} is {}, the reference says {}", what, i, a, b);
  }
}

// Seconds of a copy that reads and writes `bytes` in all: the median of 9.
double copy_seconds(double bytes) {
  const auto half = static_cast<std::int64_t>(bytes / 2);
  const Tensor from = Tensor::full({half}, 1, DType::u8), to = Tensor::full({half}, 2, DType::u8);
  std::vector<double> seconds(9);
  for (double& one : seconds) {
    const auto start = std::chrono::steady_clock::now();
    parallel_for(0, half, 1 << 16, [&](std::int64_t first, std::int64_t last) {
      std::memcpy(to.data<std::uint8_t>() + first, from.data<std::uint8_t>() + first,
                  static_cast<std::size_t>(last - first));
    });
    one = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::nth_element(seconds.begin(), seconds.begin() + 4, seconds.end());
  return seconds[4];
}

bench::Measured measured(double bytes, std::function<void()> work) {
  return {std::move(work), [bytes, copy = copy_seconds(bytes)](benchmark::State& state) {
            state.SetBytesProcessed(
                static_cast<std::int64_t>(bytes * static_cast<double>(state.iterations())));
            // Seconds of the copy per iteration over seconds of the iteration.
            state.counters["of_copy"] =
                benchmark::Counter(copy, benchmark::Counter::kIsIterationInvariantRate);
          }};
}

// A row for both passes of every provider that is faster than the definition.
template <class Problem, class Providers, class Prepare>
void add(const std::string& operation, const Problem& problem, const Providers& providers,
         const Prepare& prepare) {
  for (const auto& provider : providers.all())
    if (provider.device == DeviceKind::cpu && provider.priority(problem) > 0)
      bench::add_rows(operation + "/" + problem.to_string() + "/" + provider.name,
                      {"forward", "backward"},
                      [problem, &provider, prepare] { return prepare(problem, provider); });
}

std::vector<bench::Measured> prepare_batch_norm(const BatchNormProblem& pr,
                                                const BatchNormProvider& provider) {
  const Shape &shape = pr.shape, channels{pr.channels()};
  const Tensor x = integers(shape, 1), dy = integers(shape, 2), w = integers(channels, 3),
               b = integers(channels, 4);
  const Tensor r = pr.residual ? integers(shape, 5) : Tensor{};
  struct Result {
    Tensor y, mean, variance, dx, dr, dw, db;
  };
  const auto memory = [&] {
    return Result{Tensor::empty(shape),
                  Tensor::empty(channels, DType::f64),
                  Tensor::empty(channels, DType::f64),
                  Tensor::empty(shape),
                  pr.residual ? Tensor::empty(shape) : Tensor{},
                  Tensor::empty(channels),
                  Tensor::empty(channels)};
  };
  const Result want = memory(), got = memory();
  const auto forward = [=](const BatchNormProvider& p, const Result& m) {
    p.forward(pr, x, w, b, r, {m.mean, m.variance}, m.y);
  };
  // Backward of both from one forward result: a y beside zero may differ in sign.
  const auto backward = [=](const BatchNormProvider& p, const Result& m) {
    p.backward(pr, dy, x, got.y, w, b, {got.mean, got.variance}, m.dx, m.dr, m.dw, m.db);
  };
  const BatchNormProvider& reference = batch_norm_providers().named("reference");
  forward(reference, want);
  forward(provider, got);
  backward(provider, got);
  backward(reference, want);
  expect_close("y", got.y, want.y, 1e-5);
  expect_close("dx", got.dx, want.dx, 1e-4);
  expect_close("dweight", got.dw, want.dw, 1e-3);
  expect_close("dbias", got.db, want.db, 1e-3);
  if (pr.residual) expect_close("dresidual", got.dr, want.dr, 0);
  const double size = static_cast<double>(x.bytes());
  return {measured((pr.residual ? 4 : 3) * size, [=, &provider] { forward(provider, got); }),
          measured((pr.residual ? 7 : 5) * size, [=, &provider] { backward(provider, got); })};
}

std::vector<bench::Measured> prepare_pool(const PoolProblem& pr, const PoolProvider& provider) {
  const bool max = pr.kind == PoolKind::max;
  const Tensor x = integers(pr.input_shape(), 1), dy = integers(pr.output_shape(), 2);
  struct Result {
    Tensor y, argmax, dx;
  };
  const auto memory = [&] {
    return Result{Tensor::empty(pr.output_shape()),
                  max ? Tensor::empty(pr.output_shape(), DType::u8) : Tensor{},
                  Tensor::empty(pr.input_shape())};
  };
  const auto forward = [=](const PoolProvider& p, const Result& m) {
    p.forward(pr, x, m.y, m.argmax);
  };
  const auto backward = [=](const PoolProvider& p, const Result& m) {
    p.backward(pr, dy, m.argmax, m.dx);
  };
  const Result want = memory(), got = memory();
  const PoolProvider& reference = pool_providers().named("reference");
  forward(reference, want);
  backward(reference, want);
  forward(provider, got);
  backward(provider, got);
  expect_close("y", got.y, want.y, max ? 0 : 1e-6);
  expect_close("dx", got.dx, want.dx, max ? 0 : 1e-6);
  const double bytes = static_cast<double>(x.bytes() + dy.bytes()) +
                       (max ? static_cast<double>(got.argmax.bytes()) : 0.0);
  return {measured(bytes, [=, &provider] { forward(provider, got); }),
          measured(bytes, [=, &provider] { backward(provider, got); })};
}

std::vector<bench::Measured> prepare_fuse(const FuseProblem& pr, const FuseProvider& provider) {
  std::vector<Tensor> branches;
  double in_bytes = 0, coarse_bytes = 0;
  const auto coarse = [&](int i) { return pr.factors[static_cast<std::size_t>(i)] > 1; };
  for (int i = 0; i < pr.branches; ++i) {
    branches.push_back(integers(pr.branch_shape(i), static_cast<std::uint64_t>(i)));
    in_bytes += static_cast<double>(branches.back().bytes());
    if (coarse(i)) coarse_bytes += static_cast<double>(branches.back().bytes());
  }
  const Tensor dy = integers(pr.output_shape(), 9);
  const double size = static_cast<double>(dy.bytes());
  struct Result {
    Tensor y, dz;
    std::vector<Tensor> grads;
  };
  const auto memory = [&] {
    Result m{Tensor::empty(pr.output_shape()), Tensor::empty(pr.output_shape()), {}};
    for (int i = 0; i < pr.branches; ++i)
      m.grads.push_back(coarse(i) ? Tensor::empty(pr.branch_shape(i)) : Tensor{});
    return m;
  };
  const auto forward = [=](const FuseProvider& p, const Result& m) {
    p.forward(pr, branches, m.y);
  };
  const auto backward = [=](const FuseProvider& p, const Result& m) {
    p.backward(pr, dy, m.y, m.dz, m.grads);
  };
  const Result want = memory(), got = memory();
  const FuseProvider& reference = fuse_providers().named("reference");
  forward(reference, want);
  backward(reference, want);
  forward(provider, got);
  backward(provider, got);
  expect_close("y", got.y, want.y, 0);
  expect_close("dz", got.dz, want.dz, 0);
  for (std::size_t i = 0; i < got.grads.size(); ++i)
    if (got.grads[i].defined()) expect_close("gradient", got.grads[i], want.grads[i], 0);
  return {measured(in_bytes + size, [=, &provider] { forward(provider, got); }),
          measured(3 * size + coarse_bytes, [=, &provider] { backward(provider, got); })};
}

void add_all() {
  for (const Shape& shape : batch_norm_bench_shapes())
    for (const bool residual : {false, true})
      add("batch_norm", BatchNormProblem{.shape = shape, .relu = true, .residual = residual},
          batch_norm_providers(), prepare_batch_norm);
  for (const PoolProblem& pr : pool_bench_cases()) add("pool", pr, pool_providers(), prepare_pool);
  for (const FuseProblem& pr : hrnet_fuse_cases(8, 56))
    add("fuse_multires", pr, fuse_providers(), prepare_fuse);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run(argc, argv, add_all);
}
