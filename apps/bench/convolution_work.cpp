// conv2d and conv_transpose2d for `thorax bench kernels`: the products alone, without bias,
// residual and activation, as the vendors' libraries are timed.
#include <algorithm>
#include <cmath>

#include "apps/bench/conv_check.h"
#include "apps/bench/kernel_work.h"
#include "kernels/common/precision.h"
#include "kernels/common/trial.h"
#include "kernels/conv2d/cases.h"
#include "kernels/conv_transpose2d/cases.h"

namespace thorax::app {
namespace {

enum class Pass : std::uint8_t { forward, dgrad, wgrad };
constexpr const char* kPasses[] = {"forward", "dgrad", "wgrad"};

void run(const Conv2dProvider& by, const Conv2dProblem& p, Pass pass, const Tensor& a,
         const Tensor& b, const Tensor& out) {
  if (pass == Pass::forward) by.forward(p, a, b, {}, {}, out);
  if (pass == Pass::dgrad) by.backward_data(p, a, b, {}, out);
  if (pass == Pass::wgrad) by.backward_filter(p, a, b, {}, out, {});
}
void run(const ConvTranspose2dProvider& by, const ConvTranspose2dProblem& p, Pass pass,
         const Tensor& a, const Tensor& b, const Tensor& out) {
  if (pass == Pass::forward) by.forward(p, a, b, {}, out);
  if (pass == Pass::dgrad) by.backward_data(p, a, b, out);
  if (pass == Pass::wgrad) by.backward_filter(p, a, b, out, {});
}

// Sums up what an element of the result has at most, and the error of `out` for two inputs on the
// CPU over what is allowed.
struct Definition {
  ConvGeometry geometry;
  bool transposed;
  Pass pass;

  bool makes_y() const { return pass == (transposed ? Pass::dgrad : Pass::forward); }
  std::int64_t terms() const {
    return pass == Pass::wgrad ? geometry.filter_terms()
           : makes_y()         ? geometry.y_terms()
                               : geometry.x_terms();
  }
  double error(const Tensor& a, const Tensor& b, const Tensor& out, double allowed) const {
    if (pass == Pass::wgrad)
      return transposed ? filter_error(geometry, b, a, {}, out, allowed)
                        : filter_error(geometry, a, b, {}, out, allowed);
    return makes_y() ? y_error(geometry, a, b, {}, false, out, allowed)
                     : x_error(geometry, a, {}, b, {}, out, allowed);
  }
};

template <class Provider, class Problem>
void add(std::vector<KernelPass>& passes, Problem p, const Registry<Provider>& registry,
         bool transposed, const KernelRequest& request) {
  p.dtype = DType::f32;
  const std::string text = p.to_string();  // the type has a column of its own
  p.dtype = request.dtype;
  for (const Pass pass : {Pass::forward, Pass::dgrad, Pass::wgrad}) {
    const char* name = kPasses[static_cast<int>(pass)];
    if (request.pass != "all" && request.pass != name) continue;
    const DType out_type = pass == Pass::wgrad ? parameter_dtype(p.dtype) : p.dtype;
    const Shape a = pass == Pass::dgrad ? p.output_shape() : p.input_shape(),
                b = pass == Pass::wgrad ? p.output_shape() : p.filter_shape(),
                out = pass == Pass::forward ? p.output_shape()
                      : pass == Pass::dgrad ? p.input_shape()
                                            : p.filter_shape();
    const auto prepare = [=, &registry] {
      const auto providers = detail::chosen(registry, p, request);
      std::vector<KernelRun> runs;
      if (providers.empty()) return runs;
      const Tensor first = trial_values(a, p.dtype, request.device, 1),
                   second = trial_values(b, p.dtype, request.device, 2),
                   result = Tensor::empty(out, out_type, request.device);
      const Tensor host_first = detail::host_floats(first),
                   host_second = detail::host_floats(second);
      const Definition definition{ConvGeometry(p), transposed, pass};
      for (const auto& [provider, supported] : providers) {
        if (!supported) {
          runs.push_back(detail::unsupported_run(provider.name, p.dtype));
          continue;
        }
        double allowed = trial_bound(definition.terms(), p.dtype, out_type);
        // Two factors, each rounded to 10 bits, in products of deviation 1/3: five deviations.
        if (provider.name == detail::kTf32)
          allowed += 5 * 0x1p-10 * std::sqrt(static_cast<double>(definition.terms())) / 3;
        runs.push_back(detail::kernel_run(
            registry.operation(), provider.name, p.dtype, {result},
            [=, by = provider] { run(by, p, pass, first, second, result); },
            [=] {
              return definition.error(host_first, host_second, detail::host_floats(result),
                                      allowed);
            }));
      }
      return runs;
    };
    const double bytes =
        static_cast<double>(a.numel() + b.numel()) * static_cast<double>(size_of(p.dtype)) +
        static_cast<double>(out.numel()) * static_cast<double>(size_of(out_type));
    passes.push_back({registry.operation(), name, text, std::string(name_of(p.dtype)), p.flops(),
                      bytes, prepare});
  }
}

// What both operations read of the command line.
template <class Problem>
Problem problem_of(const ProblemOptions& o) {
  Problem p;
  p.batch = o.shape[0];
  p.height = o.shape[1];
  p.width = o.shape[2];
  p.in_channels = o.shape[3];
  p.kernel_h = o.filter[1];
  p.kernel_w = o.filter[2];
  p.stride_h = p.stride_w = o.stride == 0 ? 1 : o.stride;
  p.pad_h = p.pad_w = o.padding;
  p.dilation_h = p.dilation_w = o.dilation;
  p.groups = o.groups;
  return p;
}

void need_filter(const ProblemOptions& o, const char* layout) {
  THORAX_CHECK(o.filter.rank() == 4,
               "[problem] --shape {}: a convolution needs its filter; add --filter, {}, for "
               "example --filter 32x3x3x{}",
               o.shape_text, layout, o.shape[3]);
}

std::vector<KernelPass> own_conv2d(const ProblemOptions& o, const KernelRequest& request) {
  need_filter(o, "out x height x width x in / groups");
  THORAX_CHECK(o.filter[3] * o.groups == o.shape[3],
               "[problem] --filter {}: {} channels{}, but --shape {} has {}; the filter's last "
               "extent times --groups is the input's last",
               o.filter_text, o.filter[3],
               o.groups == 1 ? std::string() : fmt::format(" in each of {} groups", o.groups),
               o.shape_text, o.shape[3]);
  auto p = problem_of<Conv2dProblem>(o);
  p.out_channels = o.filter[0];
  p.check();
  std::vector<KernelPass> passes;
  add(passes, p, conv2d_providers(), false, request);
  return passes;
}

std::vector<KernelPass> own_transposed(const ProblemOptions& o, const KernelRequest& request) {
  need_filter(o, "in x height x width x out / groups");
  THORAX_CHECK(o.filter[0] == o.shape[3],
               "[problem] --filter {}: {} input channels, but --shape {} has {}; a transposed "
               "convolution's filter begins with the input's channels",
               o.filter_text, o.filter[0], o.shape_text, o.shape[3]);
  auto p = problem_of<ConvTranspose2dProblem>(o);
  p.out_channels = o.filter[3] * o.groups;
  p.check();
  std::vector<KernelPass> passes;
  add(passes, p, conv_transpose2d_providers(), true, request);
  return passes;
}

// A list's size: `own` unless the command line gives one that the network takes.
std::int64_t list_size(const std::string& cases, std::int64_t size, std::int64_t own,
                       std::int64_t multiple) {
  if (size == 0) return own;
  THORAX_CHECK(size % multiple == 0,
               "[problem] --size {}: images of --cases {} have a multiple of {}; take {}", size,
               cases, multiple, (size / multiple + 1) * multiple);
  return size;
}

// Layers of one shape count once.
template <class Cases, class Add>
void each_once(const Cases& cases, const Add& add_one) {
  std::vector<std::string> seen;
  for (const auto& c : cases) {
    auto p = c.problem;
    p.bias = false;
    if constexpr (requires { p.relu; }) p.relu = p.residual = false;
    if (p.batch == 0) continue;  // nothing to measure
    const std::string text = p.to_string();
    if (std::find(seen.begin(), seen.end(), text) != seen.end()) continue;
    seen.push_back(text);
    add_one(p);
  }
}

std::vector<KernelPass> listed_conv2d(const std::string& name, std::int64_t size,
                                      std::int64_t batch, const KernelRequest& request) {
  const std::int64_t n = batch == 0 ? 8 : batch;
  std::vector<conv2d_cases::Case> cases;
  if (name == "awkward") {
    cases = conv2d_cases::awkward();
  } else if (name == "unet") {
    cases = conv2d_cases::unet(list_size(name, size, 512, 16), n);
  } else {
    const std::int64_t side = list_size(name, size, 224, 32);
    if (name == "densenet121")
      cases = conv2d_cases::densenet121(side, n);
    else if (name.starts_with("hrnet"))
      cases = conv2d_cases::hrnet(std::stoi(name.substr(name.size() - 2)), side, n);
    else
      cases = conv2d_cases::resnet(name == "resnet152", side, n);
  }
  std::vector<KernelPass> passes;
  each_once(cases,
            [&](const Conv2dProblem& p) { add(passes, p, conv2d_providers(), false, request); });
  return passes;
}

std::vector<KernelPass> listed_transposed(const std::string& name, std::int64_t size,
                                          std::int64_t batch, const KernelRequest& request) {
  std::vector<KernelPass> passes;
  each_once(name == "unet" ? conv_transpose2d_cases::unet(list_size(name, size, 512, 16),
                                                          batch == 0 ? 8 : batch)
                           : conv_transpose2d_cases::awkward(),
            [&](const ConvTranspose2dProblem& p) {
              add(passes, p, conv_transpose2d_providers(), true, request);
            });
  return passes;
}

}  // namespace

std::vector<KernelOperation> convolution_operations() {
  const std::vector<std::string> passes(std::begin(kPasses), std::end(kPasses)),
      options{"--filter", "--stride", "--padding", "--dilation", "--groups"};
  return {{"conv2d",
           passes,
           options,
           {"unet", "hrnet_w18", "hrnet_w32", "hrnet_w48", "resnet18", "resnet152", "densenet121",
            "awkward"},
           own_conv2d,
           listed_conv2d},
          {"conv_transpose2d",
           passes,
           options,
           {"unet", "awkward"},
           own_transposed,
           listed_transposed}};
}

}  // namespace thorax::app
