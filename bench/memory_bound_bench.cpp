// Operations that move more than they compute - batch_norm, pool, fuse_multires - against a copy.
//
//   memory_bound_bench [--filter TEXT] [--threads N] [--repeats N] [--cpu-time]
//
// One row per problem, pass and provider: the fastest of several runs, the bytes that the pass has
// to move (each tensor once per sweep that the algorithm needs; the files' READMEs list them) per
// second, and that rate as a share of a memcpy of as many bytes, read and written, on the same
// threads. Small problems sit in the cache, for the copy as for the operation. Before a provider is
// timed its results are compared with the reference's; a wrong one ends the program with an error.
#include <time.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>

#include "engine/runtime/parallel.h"
#include "engine/runtime/philox.h"
#include "kernels/batch_norm/cases.h"
#include "kernels/fuse_multires/cases.h"
#include "kernels/pool/cases.h"

using namespace thorax;

namespace {

struct Settings {
  std::string filter;
  int threads = 0;
  int repeats = 15;
  bool cpu_time = false;
};

double now(bool cpu_time) {
  timespec t{};
  clock_gettime(cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <class Fn>
double fastest(const Settings& settings, const Fn& fn) {
  double best = INFINITY;
  for (int i = 0; i < settings.repeats; ++i) {
    const double start = now(settings.cpu_time);
    fn();
    best = std::min(best, now(settings.cpu_time) - start);
  }
  return best;
}

// Whole numbers in [-8, 8]: sums and maxima must agree exactly.
Tensor integers(const Shape& shape, std::uint64_t seed) {
  const Tensor t = Tensor::empty(shape);
  Philox random(seed, 7);
  for (std::int64_t i = 0; i < t.numel(); ++i)
    t.data<float>()[i] = static_cast<float>(random.below(17)) - 8.0f;
  return t;
}

void expect_close(const char* what, const Tensor& got, const Tensor& want, double tolerance) {
  for (std::int64_t i = 0; i < want.numel(); ++i) {
    const double a = static_cast<double>(got.data<float>()[i]),
                 b = static_cast<double>(want.data<float>()[i]);
    if (!(std::abs(a - b) <= tolerance * (1 + std::abs(b))))
      fail("[memory_bound_bench] {}: element {} is {}, the reference says {}", what, i, a, b);
  }
}

class Table {
 public:
  explicit Table(const Settings& settings) : settings_(settings) {
    std::printf("%-52s %-9s %-10s %9s %8s %8s %7s\n", "problem", "pass", "provider", "ms", "GB/s",
                "copy", "share");
  }
  template <class Fn>
  void row(const std::string& problem, const char* pass, const char* provider, double bytes,
           const Fn& fn) {
    const double copy = copy_rate(bytes), rate = bytes / fastest(settings_, fn);
    std::printf("%-52s %-9s %-10s %9.3f %8.1f %8.1f %6.0f%%\n", problem.c_str(), pass, provider,
                bytes / rate * 1e3, rate / 1e9, copy / 1e9, 100 * rate / copy);
    std::fflush(stdout);
  }
  bool wanted(const std::string& text) const {
    return settings_.filter.empty() || text.find(settings_.filter) != std::string::npos;
  }

 private:
  // Bytes per second, read and written, of a copy that moves `bytes` in all.
  double copy_rate(double bytes) {
    const auto half = static_cast<std::int64_t>(bytes / 2);
    if (const auto found = copies_.find(half); found != copies_.end()) return found->second;
    const Tensor from = Tensor::full({half}, 1, DType::u8), to = Tensor::full({half}, 2, DType::u8);
    const double seconds = fastest(settings_, [&] {
      parallel_for(0, half, 1 << 16, [&](std::int64_t first, std::int64_t last) {
        std::memcpy(to.data<std::uint8_t>() + first, from.data<std::uint8_t>() + first,
                    static_cast<std::size_t>(last - first));
      });
    });
    return copies_[half] = bytes / seconds;
  }

  const Settings& settings_;
  std::map<std::int64_t, double> copies_;
};

void bench_batch_norm(Table& table) {
  for (const Shape& shape : batch_norm_bench_shapes()) {
    for (const bool residual : {false, true}) {
      const BatchNormProblem pr{.shape = shape, .relu = true, .residual = residual};
      const std::string name = "batch_norm " + pr.to_string();
      if (!table.wanted(name)) continue;
      const Shape channels{pr.channels()};
      const Tensor x = integers(shape, 1), dy = integers(shape, 2), w = integers(channels, 3),
                   b = integers(channels, 4);
      const Tensor r = residual ? integers(shape, 5) : Tensor{};
      struct Result {
        Tensor y, mean, variance, dx, dr, dw, db;
      };
      const auto memory = [&] {
        return Result{Tensor::empty(shape),
                      Tensor::empty(channels, DType::f64),
                      Tensor::empty(channels, DType::f64),
                      Tensor::empty(shape),
                      residual ? Tensor::empty(shape) : Tensor{},
                      Tensor::empty(channels),
                      Tensor::empty(channels)};
      };
      const auto forward = [&](const BatchNormProvider& p, const Result& m) {
        p.forward(pr, x, w, b, r, m.mean, m.variance, m.y);
      };
      const Result want = memory();
      const BatchNormProvider& reference = batch_norm_providers().named("reference");
      forward(reference, want);
      for (const BatchNormProvider& provider : batch_norm_providers().all()) {
        if (provider.priority(pr) <= 0) continue;
        const Result got = memory();
        // Backward of both from one forward result: a y beside zero may differ in sign.
        const auto backward = [&](const BatchNormProvider& p, const Result& m) {
          p.backward(pr, dy, x, got.y, w, b, got.mean, got.variance, m.dx, m.dr, m.dw, m.db);
        };
        forward(provider, got);
        backward(provider, got);
        backward(reference, want);
        expect_close("y", got.y, want.y, 1e-5);
        expect_close("dx", got.dx, want.dx, 1e-4);
        expect_close("dweight", got.dw, want.dw, 1e-3);
        expect_close("dbias", got.db, want.db, 1e-3);
        if (residual) expect_close("dresidual", got.dr, want.dr, 0);
        const double size = static_cast<double>(x.bytes());
        table.row(name, "forward", provider.name, (residual ? 4 : 3) * size,
                  [&] { forward(provider, got); });
        table.row(name, "backward", provider.name, (residual ? 7 : 5) * size,
                  [&] { backward(provider, got); });
      }
    }
  }
}

void bench_pool(Table& table) {
  for (const PoolProblem& pr : pool_bench_cases()) {
    const std::string name = "pool " + pr.to_string();
    if (!table.wanted(name)) continue;
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
    const auto forward = [&](const PoolProvider& p, const Result& m) {
      p.forward(pr, x, m.y, m.argmax);
    };
    const auto backward = [&](const PoolProvider& p, const Result& m) {
      p.backward(pr, dy, m.argmax, m.dx);
    };
    const Result want = memory();
    forward(pool_providers().named("reference"), want);
    backward(pool_providers().named("reference"), want);
    for (const PoolProvider& provider : pool_providers().all()) {
      if (provider.priority(pr) <= 0) continue;
      const Result got = memory();
      forward(provider, got);
      backward(provider, got);
      expect_close("y", got.y, want.y, max ? 0 : 1e-6);
      expect_close("dx", got.dx, want.dx, max ? 0 : 1e-6);
      const double bytes = static_cast<double>(x.bytes() + dy.bytes()) +
                           (max ? static_cast<double>(got.argmax.bytes()) : 0.0);
      table.row(name, "forward", provider.name, bytes, [&] { forward(provider, got); });
      table.row(name, "backward", provider.name, bytes, [&] { backward(provider, got); });
    }
  }
}

void bench_fuse(Table& table) {
  for (const FuseProblem& pr : hrnet_fuse_cases(8, 56)) {
    const std::string name = "fuse_multires " + pr.to_string();
    if (!table.wanted(name)) continue;
    std::vector<Tensor> branches;
    double in_bytes = 0, coarse_bytes = 0;
    for (int i = 0; i < pr.branches; ++i) {
      branches.push_back(integers(pr.branch_shape(i), static_cast<std::uint64_t>(i)));
      in_bytes += static_cast<double>(branches.back().bytes());
      if (pr.factors[static_cast<std::size_t>(i)] > 1)
        coarse_bytes += static_cast<double>(branches.back().bytes());
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
        m.grads.push_back(pr.factors[static_cast<std::size_t>(i)] > 1
                              ? Tensor::empty(pr.branch_shape(i))
                              : Tensor{});
      return m;
    };
    const auto forward = [&](const FuseProvider& p, const Result& m) {
      p.forward(pr, branches, m.y);
    };
    const auto backward = [&](const FuseProvider& p, const Result& m) {
      p.backward(pr, dy, m.y, m.dz, m.grads);
    };
    const Result want = memory();
    forward(fuse_providers().named("reference"), want);
    backward(fuse_providers().named("reference"), want);
    for (const FuseProvider& provider : fuse_providers().all()) {
      if (provider.priority(pr) <= 0) continue;
      const Result got = memory();
      forward(provider, got);
      backward(provider, got);
      expect_close("y", got.y, want.y, 0);
      expect_close("dz", got.dz, want.dz, 0);
      for (std::size_t i = 0; i < got.grads.size(); ++i)
        if (got.grads[i].defined()) expect_close("gradient", got.grads[i], want.grads[i], 0);
      table.row(name, "forward", provider.name, in_bytes + size, [&] { forward(provider, got); });
      table.row(name, "backward", provider.name, 3 * size + coarse_bytes,
                [&] { backward(provider, got); });
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Operations bound by memory against a copy of as many bytes");
  app.add_option("--filter", settings.filter, "Only rows whose problem contains this text");
  app.add_option("--threads", settings.threads, "Threads; default: all cores")
      ->check(CLI::PositiveNumber);
  app.add_option("--repeats", settings.repeats, "Runs of which the fastest counts")
      ->check(CLI::PositiveNumber);
  app.add_flag("--cpu-time", settings.cpu_time,
               "Processor time of the calling thread, for a busy machine; needs --threads 1");
  CLI11_PARSE(app, argc, argv);
  try {
    THORAX_CHECK(!settings.cpu_time || settings.threads == 1,
                 "[memory_bound_bench] --cpu-time needs --threads 1");
    if (settings.threads > 0) set_num_threads(settings.threads);
    Table table(settings);
    bench_batch_norm(table);
    bench_pool(table);
    bench_fuse(table);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
