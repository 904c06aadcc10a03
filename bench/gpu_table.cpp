// Every GPU kernel beside the vendor's, on the layers of the models.
//
//   gpu_table [--device cuda] [--model unet hrnet_w18] [--size N] [--batch N] [--precision f32 f16
//   bf16]
//             [--filter TEXT] [--repeats N] [--csv FILE] [--memory MIB]
//
// A row is one problem, precision, pass and provider. It is checked first, against the provider
// "cuda/naive" in float32 on the same (rounded) values, and only then timed: L2-cold, median, by
// the device's clock. Columns: time, TFLOP/s or GB/s, share of the vendor's time (conv2d,
// conv_transpose2d, linear: vendor / ours, so 1 = as fast) or of the copy bandwidth measured in the
// same run; and the rate as a share of the ceiling, what the vendor's matrix product reaches at
// 8192 x 4096 x 4096 in that precision, measured in the same run, too. With f32 there are rows of
// precision "tf32" as well, from sm_80 on, which have no peer. A wrong row is printed as WRONG, one
// that cannot be computed as FAILED with the reason; the others follow, and the exit code is 1.
// Only a device that is of no use any more ends the table. On `sim` (tiny --size) it tests itself;
// times mean nothing there.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>

#include "apps/bench/device_timer.h"
#include "bench/device_values.h"
#include "engine/registry/registry.h"
#include "engine/runtime/allocator.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv2d/cases.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"
#include "kernels/fuse_multires/cases.h"
#include "kernels/linear/cases.h"

using namespace thorax;
using bench::normals;
using bench::relative_error;

namespace {

struct Arguments {
  std::string device = "cuda", filter, csv;
  std::vector<std::string> models{"unet", "hrnet_w18", "resnet152", "densenet121"},
      precisions{"f32", "f16", "bf16"};
  std::int64_t size = 0, batch = 8, memory = 0;
  int repeats = 11;
};

DType precision(const std::string& name) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16})
    if (name_of(type) == name) return type;
  fail("[gpu_table] precision '{}': f32, f16 or bf16", name);
}

// Half a unit in the last place of the output, and the sum's own error in float32.
double allowed_error(DType type, std::int64_t terms, bool winograd) {
  const double output = type == DType::f32 ? 0 : type == DType::f16 ? 0x1p-10 : 0x1p-7;
  const double sum = 4 * 0x1p-24 * std::sqrt(static_cast<double>(std::max<std::int64_t>(terms, 1)));
  return output + sum * (winograd ? 16 : 4);
}

constexpr const char* kTf32 = "cuda/mma_tf32";

bool is_vendor(std::string_view provider) {
  return provider == "cudnn" || provider == "cublas";
}

class Table {
 public:
  explicit Table(const Arguments& a)
      : args(a), device(parse_device(a.device)), timer(device, a.repeats), scope_(device) {
    if (a.memory > 0) allocator(device).set_limit(static_cast<std::size_t>(a.memory) << 20);
    if (!a.csv.empty()) {
      csv_.open(a.csv);
      THORAX_CHECK(csv_.is_open(), "[gpu_table] cannot write {}", a.csv);
      csv_ << "operation,problem,precision,pass,provider,milliseconds,rate,unit,of_peer,of_ceiling,"
              "error,ok\n";
    }
    const std::int64_t count = device.kind == DeviceKind::sim ? 1 << 12 : std::int64_t{1} << 26;
    const Tensor from = Tensor::zeros({count}, DType::f32, device);
    const Tensor to = Tensor::empty({count}, DType::f32, device);
    copy_rate_ = 8.0 * static_cast<double>(count) / timer.median([&] { to.copy_from(from); });
    fmt::print("{}: copy {:.0f} GB/s\n", device_info(device).name, copy_rate_ * 1e-9);
    for (const std::string& name : a.precisions) measure_ceiling(name);
  }

  bool wants(const std::string& operation, const std::string& problem) const {
    return args.filter.empty() ||
           (operation + " " + problem).find(args.filter) != std::string::npos;
  }
  void row(const std::string& operation, const std::string& problem, std::string_view type,
           const char* pass, const char* provider, double seconds, double work, bool flops,
           double peer_seconds, double error, double allowed) {
    const bool ok = error <= allowed;
    ++rows;
    wrong += !ok;
    const double rate = work / seconds * (flops ? 1e-12 : 1e-9);
    const double share = flops ? peer_seconds / seconds : work / seconds / copy_rate_;
    const auto ceiling = ceilings_.find(std::string(type));
    const double of_ceiling = !flops                       ? share
                              : ceiling != ceilings_.end() ? work / seconds / ceiling->second
                                                           : 0;
    const auto percent = [](double value) {
      return value > 0 ? fmt::format("{:.0f} %", value * 100) : std::string("-");
    };
    fmt::print("{:<17} {:<58} {:<4} {:<6} {:<16} {:>9.4f} ms {:>8.2f} {} {:>6} {:>6} {:.1e}{}\n",
               operation, problem, type, pass, provider, seconds * 1e3, rate,
               flops ? "TFLOP/s" : "GB/s   ", percent(share), percent(of_ceiling), error,
               ok ? "" : "  WRONG");
    std::fflush(stdout);
    if (csv_.is_open())
      csv_ << fmt::format("{},\"{}\",{},{},{},{:.6f},{:.4f},{},{:.4f},{:.4f},{:.3e},{}\n",
                          operation, problem, type, pass, provider, seconds * 1e3, rate,
                          flops ? "TFLOP/s" : "GB/s", share, of_ceiling, error, ok ? 1 : 0)
           << std::flush;
    if (flops && share > 0 && !is_vendor(provider))
      shares_[fmt::format("{} {} {}", operation, type, pass)][problem] =
          std::max(shares_[fmt::format("{} {} {}", operation, type, pass)][problem], share);
  }
  // Runs what makes a row, or is needed for several. One that fails is a row, too, and false is
  // returned; when the device does not work any more the Error goes on.
  template <class Work>
  bool attempt(const std::string& operation, const std::string& problem, std::string_view type,
               const char* pass, const char* provider, const Work& work) {
    try {
      work();
      return true;
    } catch (const Error& error) {
      ++rows;
      ++failed;
      std::string why = error.what();
      std::replace_if(
          why.begin(), why.end(), [](char c) { return c == '\n' || c == '"'; }, ' ');
      fmt::print("{:<17} {:<58} {:<4} {:<6} {:<16} FAILED: {}\n", operation, problem, type, pass,
                 provider, why);
      std::fflush(stdout);
      if (csv_.is_open())
        csv_ << fmt::format("{},\"{}\",{},{},{},,,,,,\"{}\",0\n", operation, problem, type, pass,
                            provider, why)
             << std::flush;
      try {
        synchronize(device);
      } catch (const Error&) {
        fmt::print(stderr, "gpu_table: the device does not work any more; the rest is left out\n");
        throw;
      }
      return false;
    }
  }
  // Geometric means over problems of the best of our providers against the vendor.
  void summary() const {
    for (const auto& [what, problems] : shares_) {
      double sum = 0;
      for (const auto& [problem, share] : problems) sum += std::log(share);
      fmt::print(
          "{:<34} best of ours against the vendor, geometric mean of {:>3} problems: {:.2f}\n",
          what, problems.size(), std::exp(sum / static_cast<double>(problems.size())));
    }
  }

  const Arguments& args;
  Device device;
  app::DeviceTimer timer;
  int rows = 0, wrong = 0, failed = 0;

 private:
  void measure_ceiling(const std::string& name) {
    LinearProblem problem;
    problem.rows = 8192;
    problem.in_features = problem.out_features = 4096;
    problem.dtype = precision(name);
    for (const LinearProvider& p : linear_providers().all()) {
      if (p.device != device.kind || !is_vendor(p.name) || p.priority(problem) < 0) continue;
      attempt("linear", problem.to_string(), name, "fwd", p.name, [&] {
        const Tensor x = normals(problem.input_shape(), 1, 1, device).to(problem.dtype);
        const Tensor w = normals(problem.weight_shape(), 2, 1, device).to(problem.dtype);
        const Tensor y = Tensor::empty(problem.output_shape(), problem.dtype, device);
        const double rate =
            problem.flops() / timer.median([&] { p.forward(problem, x, w, {}, y); });
        ceilings_[name] = rate;
        fmt::print("{}: {} {:.1f} TFLOP/s\n", device_info(device).name, name, rate * 1e-12);
      });
    }
  }

  DeviceScope scope_;
  double copy_rate_ = 0;
  std::map<std::string, double> ceilings_;  // operations a second, by precision
  std::ofstream csv_;
  std::map<std::string, std::map<std::string, double>> shares_;
};

// One pass of one problem by every provider that supports it. `run(provider, inputs in type)` gives
// the result; the definition is `naive` in float32 on the rounded values. `make` gives the inputs
// in float32, on the device, whose memory they may not fit.
using Tensors = std::vector<Tensor>;
template <class Provider, class Problem, class Run>
void compare(Table& table, const char* operation, const Registry<Provider>& registry,
             Problem problem, const char* pass, std::int64_t terms,
             const std::function<Tensors()>& make, const Run& run) {
  if (!table.wants(operation, problem.to_string())) return;
  const std::string text = problem.to_string();
  for (const std::string& name : table.args.precisions) {
    problem.dtype = precision(name);
    std::vector<Tensor> inputs, exact;
    Tensor wanted;
    const bool defined = table.attempt(operation, text, name, pass, "cuda/naive", [&] {
      for (const Tensor& t : make()) {
        inputs.push_back(t.to(problem.dtype));
        exact.push_back(inputs.back().to(DType::f32));
      }
      Problem float_problem = problem;
      float_problem.dtype = DType::f32;
      wanted = run(registry.named("cuda/naive", table.device.kind), float_problem, exact);
    });
    if (!defined) continue;
    double vendor = 0;
    std::vector<Provider> providers;
    for (const Provider& p : registry.all())
      if (p.device == table.device.kind && p.priority(problem) >= 0) providers.push_back(p);
    // The vendor first: the others are shown as a share of it.
    std::stable_partition(providers.begin(), providers.end(),
                          [](const Provider& p) { return is_vendor(p.name); });
    const auto row = [&](const Provider& p, std::string_view type, double allowed) {
      table.attempt(operation, text, type, pass, p.name, [&] {
        const double error = relative_error(run(p, problem, inputs), wanted);
        const double seconds = table.timer.median([&] { run(p, problem, inputs); });
        if (is_vendor(p.name)) vendor = seconds;
        table.row(operation, text, type, pass, p.name, seconds, problem.flops(), true,
                  type == name ? vendor : 0, error, allowed);
      });
    };
    for (const Provider& p : providers) {
      const bool winograd = std::string_view(p.name).find("winograd") != std::string_view::npos;
      row(p, name, allowed_error(problem.dtype, terms, winograd));
    }
    if (problem.dtype != DType::f32) continue;
    // tf32 rounds the factors and has to be asked for by name.
    for (const Provider& p : registry.all()) {
      if (p.device != table.device.kind || std::string_view(p.name) != kTf32) continue;
      const ProviderScope asked(operation, kTf32);
      if (p.priority(problem) >= 0) row(p, "tf32", allowed_error(DType::f16, terms, false));
    }
  }
}

void convolutions(Table& table, const std::vector<conv2d_cases::Case>& cases) {
  for (const auto& [name, layer] : cases) {
    Conv2dProblem problem = layer;
    problem.bias = problem.relu = false;  // the product alone, as the vendor times it
    const std::int64_t terms = problem.kernel_h * problem.kernel_w * problem.in_channels;
    const auto x = [&] { return normals(problem.input_shape(), 1, 1, table.device); };
    const auto w = [&] {
      return normals(problem.filter_shape(), 2, 1 / std::sqrt(static_cast<double>(terms)),
                     table.device);
    };
    const auto dy = [&] { return normals(problem.output_shape(), 3, 1, table.device); };
    const auto& all = conv2d_providers();
    const Device device = table.device;
    compare(
        table, "conv2d", all, problem, "fwd", terms,
        [&] {
          return Tensors{x(), w()};
        },
        [&](const Conv2dProvider& p, const Conv2dProblem& pr, const std::vector<Tensor>& in) {
          const Tensor y = Tensor::empty(pr.output_shape(), pr.dtype, device);
          p.forward(pr, in[0], in[1], {}, {}, y);
          return y;
        });
    compare(
        table, "conv2d", all, problem, "dgrad",
        problem.kernel_h * problem.kernel_w * problem.out_channels,
        [&] {
          return Tensors{dy(), w()};
        },
        [&](const Conv2dProvider& p, const Conv2dProblem& pr, const std::vector<Tensor>& in) {
          const Tensor dx = Tensor::empty(pr.input_shape(), pr.dtype, device);
          p.backward_data(pr, in[0], in[1], {}, dx);
          return dx;
        });
    compare(
        table, "conv2d", all, problem, "wgrad",
        problem.batch * problem.out_height() * problem.out_width(),
        [&] {
          return Tensors{x(), dy()};
        },
        [&](const Conv2dProvider& p, const Conv2dProblem& pr, const std::vector<Tensor>& in) {
          const Tensor dw = Tensor::empty(pr.filter_shape(), DType::f32, device);
          p.backward_filter(pr, in[0], in[1], {}, dw, {});
          return dw;
        });
  }
}

void transposed(Table& table, std::int64_t batch, std::int64_t size) {
  for (const std::int64_t channels : {512, 256, 128, 64}) {
    ConvTranspose2dProblem problem;
    problem.batch = batch;
    problem.height = problem.width = std::max<std::int64_t>(1, size * 32 / channels / 2);
    problem.in_channels = channels;
    problem.out_channels = channels / 2;
    problem.kernel_h = problem.kernel_w = problem.stride_h = problem.stride_w = 2;
    const auto x = [&] { return normals(problem.input_shape(), 1, 1, table.device); };
    const auto w = [&] {
      return normals(problem.filter_shape(), 2, 1 / std::sqrt(static_cast<double>(channels)),
                     table.device);
    };
    const auto dy = [&] { return normals(problem.output_shape(), 3, 1, table.device); };
    const auto& all = conv_transpose2d_providers();
    const Device device = table.device;
    using Problem = ConvTranspose2dProblem;
    using Provider = ConvTranspose2dProvider;
    compare(
        table, "conv_transpose2d", all, problem, "fwd", channels,
        [&] {
          return Tensors{x(), w()};
        },
        [&](const Provider& p, const Problem& pr, const std::vector<Tensor>& in) {
          const Tensor y = Tensor::empty(pr.output_shape(), pr.dtype, device);
          p.forward(pr, in[0], in[1], {}, y);
          return y;
        });
    compare(
        table, "conv_transpose2d", all, problem, "dgrad", 2 * channels,
        [&] {
          return Tensors{dy(), w()};
        },
        [&](const Provider& p, const Problem& pr, const std::vector<Tensor>& in) {
          const Tensor dx = Tensor::empty(pr.input_shape(), pr.dtype, device);
          p.backward_data(pr, in[0], in[1], dx);
          return dx;
        });
    compare(
        table, "conv_transpose2d", all, problem, "wgrad",
        problem.batch * problem.height * problem.width,
        [&] {
          return Tensors{x(), dy()};
        },
        [&](const Provider& p, const Problem& pr, const std::vector<Tensor>& in) {
          const Tensor dw = Tensor::empty(pr.filter_shape(), DType::f32, device);
          p.backward_filter(pr, in[0], in[1], dw, {});
          return dw;
        });
  }
}

// The classifiers' heads. On `sim` the smaller ones only.
void heads(Table& table, std::int64_t rows) {
  for (const auto& [name, head] : linear_cases::all()) {
    LinearProblem problem = head;
    if (name.find("head") == std::string::npos || problem.rows == 1) continue;
    problem.rows = rows;
    problem.bias = problem.relu = false;
    if (table.device.kind == DeviceKind::sim && problem.flops() > 2e6) continue;
    const auto x = [&] { return normals(problem.input_shape(), 1, 1, table.device); };
    const auto w = [&] {
      return normals(problem.weight_shape(), 2,
                     1 / std::sqrt(static_cast<double>(problem.in_features)), table.device);
    };
    const auto dy = [&] { return normals(problem.output_shape(), 3, 1, table.device); };
    const Device device = table.device;
    compare(
        table, "linear", linear_providers(), problem, "fwd", problem.in_features,
        [&] {
          return Tensors{x(), w()};
        },
        [&](const LinearProvider& p, const LinearProblem& pr, const Tensors& in) {
          const Tensor y = Tensor::empty(pr.output_shape(), pr.dtype, device);
          p.forward(pr, in[0], in[1], {}, y);
          return y;
        });
    compare(
        table, "linear", linear_providers(), problem, "dgrad", problem.out_features,
        [&] {
          return Tensors{dy(), w()};
        },
        [&](const LinearProvider& p, const LinearProblem& pr, const Tensors& in) {
          const Tensor dx = Tensor::empty(pr.input_shape(), pr.dtype, device);
          p.backward_data(pr, in[0], in[1], {}, dx);
          return dx;
        });
    compare(
        table, "linear", linear_providers(), problem, "wgrad", problem.rows,
        [&] {
          return Tensors{x(), dy()};
        },
        [&](const LinearProvider& p, const LinearProblem& pr, const Tensors& in) {
          const Tensor dw = Tensor::empty(pr.weight_shape(), DType::f32, device);
          p.backward_weight(pr, in[0], in[1], {}, dw, {});
          return dw;
        });
  }
}

// Memory-bound: against the CPU reference for the check, against the copy rate for the time. Bytes:
// each tensor once per sweep that the operation cannot do without.
void batch_norms(Table& table, const std::vector<Shape>& shapes) {
  for (const Shape& shape : shapes) {
    BatchNormProblem problem{.shape = shape, .training = true, .relu = true};
    if (!table.wants("batch_norm", problem.to_string())) continue;
    const std::int64_t c = problem.channels();
    const Tensor x = normals(shape, 1, 1), weight = normals({c}, 2, 1), bias = normals({c}, 3, 1);
    const Tensor mean = Tensor::empty({c}, DType::f64), variance = Tensor::empty({c}, DType::f64);
    const Tensor y = Tensor::empty(shape);
    batch_norm_providers().named("cpu").forward(problem, x, weight, bias, {}, {mean, variance}, y);
    const Device d = table.device;
    const Tensor dx = x.to(d), dw = weight.to(d), db = bias.to(d), dm = mean.to(d),
                 dv = variance.to(d), dy = Tensor::empty(shape, DType::f32, d);
    const BatchNormStatistics known{dm, dv, Tensor::empty({3, c}, DType::f32, d)};
    for (const BatchNormProvider& p : batch_norm_providers().all()) {
      if (p.device != d.kind || p.priority(problem) < 0) continue;
      const bool ran = table.attempt("batch_norm", problem.to_string(), "f32", "fwd", p.name, [&] {
        const auto forward = [&] { p.forward(problem, dx, dw, db, {}, known, dy); };
        forward();
        const double error = relative_error(dy, y);
        table.row("batch_norm", problem.to_string(), "f32", "fwd", p.name,
                  table.timer.median(forward), 12.0 * static_cast<double>(x.numel()), false, 0,
                  error, 1e-5);
      });
      if (!ran) continue;
      table.attempt("batch_norm", problem.to_string(), "f32", "bwd", p.name, [&] {
        const Tensor grad = Tensor::empty(shape, DType::f32, d),
                     gw = Tensor::empty({c}, DType::f32, d), gb = Tensor::empty({c}, DType::f32, d);
        const auto backward = [&] {
          p.backward(problem, dx, dx, dy, dw, db, known, grad, {}, gw, gb);
        };
        backward();
        const Tensor wanted = Tensor::empty(shape), hw = Tensor::empty({c}),
                     hb = Tensor::empty({c});
        batch_norm_providers().named("cpu").backward(problem, x, x, dy.to(Device{}), weight, bias,
                                                     {dm.to(Device{}), dv.to(Device{})}, wanted, {},
                                                     hw, hb);
        table.row("batch_norm", problem.to_string(), "f32", "bwd", p.name,
                  table.timer.median(backward), 20.0 * static_cast<double>(x.numel()), false, 0,
                  relative_error(grad, wanted), 1e-4);
      });
    }
  }
}

void fusions(Table& table, const std::vector<FuseProblem>& problems) {
  for (const FuseProblem& problem : problems) {
    if (!table.wants("fuse_multires", problem.to_string())) continue;
    std::vector<Tensor> branches, device_branches;
    double read = 0;
    for (int i = 0; i < problem.branches; ++i) {
      branches.push_back(normals(problem.branch_shape(i), static_cast<std::uint64_t>(i), 1));
      device_branches.push_back(branches.back().to(table.device));
      read += 4.0 * static_cast<double>(branches.back().numel());
    }
    const Tensor wanted = Tensor::empty(problem.output_shape());
    fuse_providers().named("cpu").forward(problem, branches, wanted);
    const Tensor y = Tensor::empty(problem.output_shape(), DType::f32, table.device);
    for (const FuseProvider& p : fuse_providers().all()) {
      if (p.device != table.device.kind || p.priority(problem) < 0) continue;
      table.attempt("fuse_multires", problem.to_string(), "f32", "fwd", p.name, [&] {
        const auto forward = [&] { p.forward(problem, device_branches, y); };
        forward();
        table.row("fuse_multires", problem.to_string(), "f32", "fwd", p.name,
                  table.timer.median(forward), read + 4.0 * static_cast<double>(y.numel()), false,
                  0, relative_error(y, wanted), 1e-6);
      });
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  Arguments args;
  CLI::App app("Every GPU kernel beside the vendor's, on the layers of the models");
  app.add_option("--device", args.device)->capture_default_str();
  app.add_option("--model", args.models)
      ->check(CLI::IsMember({"unet", "hrnet_w18", "resnet152", "densenet121"}));
  app.add_option("--size", args.size, "Image size; default 512 (UNet), 224 (the others)");
  app.add_option("--batch", args.batch)->capture_default_str();
  app.add_option("--precision", args.precisions);
  app.add_option("--filter", args.filter, "Only rows whose operation and problem contain this");
  app.add_option("--repeats", args.repeats)->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--csv", args.csv, "Write the rows there, too");
  app.add_option("--memory", args.memory, "Use at most so many MiB of the device's memory")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  Table table(args);
  for (const std::string& model : args.models) {
    if (model == "unet") {
      const std::int64_t size = args.size > 0 ? args.size : 512;
      convolutions(table, conv2d_cases::unet(size, args.batch));
      transposed(table, args.batch, size);
    } else if (model != "hrnet_w18") {
      const std::int64_t size = args.size > 0 ? args.size : 224;
      convolutions(table, model == "resnet152" ? conv2d_cases::resnet(true, size, args.batch)
                                               : conv2d_cases::densenet121(size, args.batch));
    } else {
      const std::int64_t size = args.size > 0 ? args.size : 224, map = size / 4, n = args.batch;
      convolutions(table, conv2d_cases::hrnet(18, size, n));
      batch_norms(table, {{n, size / 2, size / 2, 64},
                          {n, map, map, 256},
                          {n, map, map, 18},
                          {n, map / 2, map / 2, 36},
                          {n, map / 4, map / 4, 72},
                          {n, map / 8, map / 8, 144}});
      fusions(table, hrnet_fuse_cases(n, map));
      heads(table, n);
    }
  }
  THORAX_CHECK(table.rows > 0, "[gpu_table] no operation or problem contains '{}'", args.filter);
  table.summary();
  if (table.wrong > 0) fmt::print("{} rows are WRONG\n", table.wrong);
  if (table.failed > 0) fmt::print("{} rows FAILED\n", table.failed);
  return table.wrong + table.failed == 0 ? 0 : 1;
} catch (const std::exception& error) {
  fmt::print(stderr, "gpu_table: {}\n", error.what());
  return 2;
}
