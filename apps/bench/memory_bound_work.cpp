// batch_norm, pool, fuse_multires and dice_loss for `thorax bench kernels`: what moves more than it
// computes. Results are held against the provider `reference` on the CPU, on the same (rounded)
// values.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "apps/bench/kernel_work.h"
#include "kernels/batch_norm/cases.h"
#include "kernels/common/precision.h"
#include "kernels/common/trial.h"
#include "kernels/dice_loss/cases.h"
#include "kernels/dice_loss/dice_loss.h"
#include "kernels/fuse_multires/cases.h"
#include "kernels/pool/cases.h"

namespace thorax::app {
namespace {

using detail::host_floats;

// The largest difference, as a share of `tolerance` times the largest value or `least`.
double error_of(const Tensor& got, const Tensor& wanted, double tolerance, double least = 0) {
  const Tensor a = got.to(Device{}).to(DType::f64), b = wanted.to(DType::f64);
  double worst = 0, largest = std::max(least, 1e-30);
  for (std::int64_t i = 0; i < b.numel(); ++i) {
    const double difference = std::abs(a.data<double>()[i] - b.data<double>()[i]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, difference);
    largest = std::max(largest, std::abs(b.data<double>()[i]));
  }
  return worst / (tolerance * largest);
}

// Of a result in f32, or what rounding the result to 16 bits takes.
double tolerance(DType dtype, double f32) {
  return dtype == DType::f16 ? 0x1p-9 : dtype == DType::bf16 ? 0x1p-6 : f32;
}

bool wants(const KernelRequest& request, bool forward) {
  return request.pass == "all" || request.pass == (forward ? "forward" : "backward");
}

// The text of a problem without its type, which has a column of its own.
template <class Problem>
std::string text_of(Problem p) {
  p.dtype = DType::f32;
  std::string text = p.to_string();
  // The Dice loss names it always.
  if (const std::size_t at = text.find(" f32"); at != std::string::npos) text.erase(at, 4);
  return text;
}

// The passes that a request wants of a problem. `make(provider)` gives the runs forward and
// backward of one.
template <class Problem, class Provider, class Make>
void add(std::vector<KernelPass>& passes, const Problem& p, const Registry<Provider>& registry,
         const KernelRequest& request, double forward_bytes, double backward_bytes,
         const Make& make) {
  for (const bool forward : {true, false}) {
    if (!wants(request, forward)) continue;
    passes.push_back(
        {registry.operation(), forward ? "forward" : "backward", text_of(p),
         std::string(name_of(p.dtype)), 0, forward ? forward_bytes : backward_bytes,
         [=, &registry] {
           std::vector<KernelRun> runs;
           for (const auto& [provider, supported] : detail::chosen(registry, p, request))
             runs.push_back(supported ? make(p, provider, forward, request.device)
                                      : detail::unsupported_run(provider.name, p.dtype));
           return runs;
         }});
  }
}

// `first` makes what the run needs of the other pass; it is not timed.
KernelRun after(std::function<void()> first, KernelRun run) {
  run.check = [first = std::move(first), check = std::move(run.check)] {
    first();
    return check();
  };
  return run;
}

// dx is a sum of terms up to |weight| / deviation, which may cancel: rounding goes by them.
double largest_term(const BatchNormProblem& p, const Tensor& weight, const Tensor& variance) {
  const Tensor w = host_floats(weight), v = variance.to(Device{});
  double largest = 0;
  for (std::int64_t c = 0; c < p.channels(); ++c)
    largest = std::max(largest, std::abs(static_cast<double>(w.data<float>()[c])) /
                                    std::sqrt(v.data<double>()[c] + p.epsilon));
  return largest;
}

KernelRun make_batch_norm(const BatchNormProblem& p, const BatchNormProvider& by, bool forward,
                          Device device) {
  const Shape channels{p.channels()};
  const auto values = [&](const Shape& shape, DType dtype, std::uint64_t seed) {
    return trial_values(shape, dtype, device, seed);
  };
  const auto memory = [&](const Shape& shape, DType dtype) {
    return Tensor::empty(shape, dtype, device);
  };
  const DType parameters = p.parameter_dtype();
  const Tensor x = values(p.shape, p.dtype, 1), w = values(channels, parameters, 2),
               b = values(channels, parameters, 3),
               r = p.residual ? values(p.shape, p.dtype, 4) : Tensor{},
               y = memory(p.shape, p.dtype);
  const BatchNormStatistics s{.mean = memory(channels, DType::f64),
                              .variance = memory(channels, DType::f64),
                              .coefficients = memory({3, p.channels()}, DType::f32)};
  BatchNormProblem host = p;
  host.dtype = DType::f32;
  const BatchNormProvider& reference = batch_norm_providers().named("reference");
  const auto run = [=] { by.forward(p, x, w, b, r, s, y); };
  if (forward)
    return detail::kernel_run(
        "batch_norm", by.name, p.dtype, {y, s.mean, s.variance}, run, [=, &reference] {
          const BatchNormStatistics known{.mean = Tensor::empty(channels, DType::f64),
                                          .variance = Tensor::empty(channels, DType::f64)};
          const Tensor wanted = Tensor::empty(p.shape);
          reference.forward(host, host_floats(x), host_floats(w), host_floats(b),
                            r.defined() ? host_floats(r) : Tensor{}, known, wanted);
          return std::max({error_of(y, wanted, tolerance(p.dtype, 1e-5)),
                           error_of(s.mean, known.mean, 1e-6, 1),
                           error_of(s.variance, known.variance, 1e-5)});
        });
  const Tensor dy = values(p.shape, p.dtype, 5), dx = memory(p.shape, p.dtype),
               dr = p.residual && p.relu ? memory(p.shape, p.dtype) : Tensor{},
               dw = memory(channels, parameters), db = memory(channels, parameters);
  std::vector<Tensor> outputs{dx, dw, db};
  if (dr.defined()) outputs.push_back(dr);
  return after(
      run, detail::kernel_run(
               "batch_norm", by.name, p.dtype, outputs,
               [=] { by.backward(p, dy, x, y, w, b, s, dx, dr, dw, db); },
               [=, &reference] {
                 // From this provider's y: one beside zero may differ in sign.
                 const Tensor hx = Tensor::empty(p.shape),
                              hr = dr.defined() ? Tensor::empty(p.shape) : Tensor{},
                              hw = Tensor::empty(channels), hb = Tensor::empty(channels);
                 reference.backward(
                     host, host_floats(dy), host_floats(x), host_floats(y), host_floats(w),
                     host_floats(b),
                     {.mean = s.mean.to(Device{}), .variance = s.variance.to(Device{})}, hx, hr, hw,
                     hb);
                 double worst = std::max(
                     {error_of(dx, hx, tolerance(p.dtype, 1e-4), largest_term(p, w, s.variance)),
                      error_of(dw, hw, 1e-3, 1), error_of(db, hb, 1e-3, 1)});
                 if (dr.defined()) worst = std::max(worst, error_of(dr, hr, 1e-6));
                 return worst;
               }));
}

void add_batch_norm(std::vector<KernelPass>& passes, BatchNormProblem p,
                    const KernelRequest& request) {
  if (p.shape.numel() == 0 || p.pixels() < 2 || !p.training) return;
  p.dtype = request.dtype;
  const double size = static_cast<double>(p.shape.numel()) * static_cast<double>(size_of(p.dtype));
  // Forward: x twice, y. Backward: x and dy twice, dx; y, the residual and its gradient once.
  add(passes, p, batch_norm_providers(), request, (p.residual ? 4 : 3) * size,
      (p.residual ? 7 : 5) * size, make_batch_norm);
}

std::vector<KernelPass> own_batch_norm(const ProblemOptions& o, const KernelRequest& request) {
  const BatchNormProblem p{.shape = o.shape};
  THORAX_CHECK(p.pixels() >= 2,
               "[problem] --shape {}: one value a channel has no variance; batch norm in "
               "training takes two or more, as 2x1x1x{}",
               o.shape_text, p.channels());
  std::vector<KernelPass> passes;
  add_batch_norm(passes, p, request);
  return passes;
}

std::vector<KernelPass> listed_batch_norm(const std::string& cases, const KernelRequest& request) {
  std::vector<KernelPass> passes;
  if (cases == "awkward") {
    for (const BatchNormProblem& p : batch_norm_cases()) add_batch_norm(passes, p, request);
  } else {
    for (const Shape& shape : batch_norm_bench_shapes())
      for (const bool residual : {false, true})
        add_batch_norm(passes, {.shape = shape, .relu = true, .residual = residual}, request);
  }
  return passes;
}

KernelRun make_pool(const PoolProblem& p, const PoolProvider& by, bool forward, Device device) {
  const bool max = p.kind == PoolKind::max;
  const Tensor x = trial_values(p.input_shape(), p.dtype, device, 1),
               y = Tensor::empty(p.output_shape(), p.dtype, device),
               taps = max ? Tensor::empty(p.output_shape(), DType::u8, device) : Tensor{};
  PoolProblem host = p;
  host.dtype = DType::f32;
  const PoolProvider& reference = pool_providers().named("reference");
  const Tensor wanted = Tensor::empty(p.output_shape()),
               host_taps = max ? Tensor::empty(p.output_shape(), DType::u8) : Tensor{};
  reference.forward(host, host_floats(x), wanted, host_taps);
  const auto run = [=] { by.forward(p, x, y, taps); };
  // A mean of values up to 1 may be small; its rounding is not.
  const double allowed = tolerance(p.dtype, 1e-6);
  if (forward)
    return detail::kernel_run("pool", by.name, p.dtype, {y}, run,
                              [=] { return error_of(y, wanted, allowed, max ? 0 : 1); });
  const Tensor dy = trial_values(p.output_shape(), p.dtype, device, 2),
               dx = Tensor::empty(p.input_shape(), p.dtype, device);
  return after(run, detail::kernel_run(
                        "pool", by.name, p.dtype, {dx}, [=] { by.backward(p, dy, taps, dx); },
                        [=, &reference] {
                          const Tensor hx = Tensor::empty(p.input_shape());
                          reference.backward(host, host_floats(dy), host_taps, hx);
                          return error_of(dx, hx, allowed);
                        }));
}

void add_pool(std::vector<KernelPass>& passes, PoolProblem p, const KernelRequest& request) {
  if (p.batch == 0) return;
  p.dtype = request.dtype;
  const double in = static_cast<double>(p.input_shape().numel()),
               out = static_cast<double>(p.output_shape().numel()),
               bytes = (in + out) * static_cast<double>(size_of(p.dtype)) +
                       (p.kind == PoolKind::max ? out : 0);
  add(passes, p, pool_providers(), request, bytes, bytes, make_pool);
}

std::vector<KernelPass> own_pool(const ProblemOptions& o, const KernelRequest& request) {
  const PoolProblem p = pool_case(o.kind == "max" ? PoolKind::max : PoolKind::avg, o.shape,
                                  o.window, o.stride == 0 ? o.window : o.stride, o.padding);
  p.check();
  std::vector<KernelPass> passes;
  add_pool(passes, p, request);
  return passes;
}

std::vector<KernelPass> listed_pool(const std::string& cases, const KernelRequest& request) {
  std::vector<KernelPass> passes;
  for (const PoolProblem& p : cases == "awkward" ? pool_cases() : pool_bench_cases())
    add_pool(passes, p, request);
  return passes;
}

KernelRun make_fuse(const FuseProblem& p, const FuseProvider& by, bool forward, Device device) {
  FuseProblem host = p;
  host.dtype = DType::f32;
  std::vector<Tensor> branches, host_branches, grads, host_grads, outputs;
  const Tensor y = Tensor::empty(p.output_shape(), p.dtype, device),
               wanted = Tensor::empty(p.output_shape());
  for (int i = 0; i < p.branches; ++i) {
    const Shape shape = p.branch_shape(i);
    branches.push_back(trial_values(shape, p.dtype, device, static_cast<std::uint64_t>(i + 1)));
    host_branches.push_back(host_floats(branches.back()));
    const bool coarse = p.factors[static_cast<std::size_t>(i)] > 1;
    grads.push_back(coarse ? Tensor::empty(shape, p.dtype, device) : Tensor{});
    host_grads.push_back(coarse ? Tensor::empty(shape) : Tensor{});
    if (coarse) outputs.push_back(grads.back());
  }
  const FuseProvider& reference = fuse_providers().named("reference");
  reference.forward(host, host_branches, wanted);
  const auto run = [=] { by.forward(p, branches, y); };
  const double allowed = tolerance(p.dtype, 1e-6);
  if (forward)
    return detail::kernel_run("fuse_multires", by.name, p.dtype, {y}, run,
                              [=] { return error_of(y, wanted, allowed); });
  const Tensor dy = trial_values(p.output_shape(), p.dtype, device, 9),
               dz = Tensor::empty(p.output_shape(), p.dtype, device);
  outputs.push_back(dz);
  return after(run, detail::kernel_run(
                        "fuse_multires", by.name, p.dtype, outputs,
                        [=] { by.backward(p, dy, y, dz, grads); },
                        [=, &reference] {
                          const Tensor hz = Tensor::empty(p.output_shape());
                          reference.backward(host, host_floats(dy), host_floats(y), hz, host_grads);
                          double worst = error_of(dz, hz, allowed);
                          for (std::size_t i = 0; i < grads.size(); ++i)
                            if (grads[i].defined())
                              worst = std::max(worst, error_of(grads[i], host_grads[i], allowed));
                          return worst;
                        }));
}

void add_fuse(std::vector<KernelPass>& passes, FuseProblem p, const KernelRequest& request) {
  if (p.batch == 0) return;
  p.dtype = request.dtype;
  double read = 0, coarse = 0;
  for (int i = 0; i < p.branches; ++i) {
    const auto elements = static_cast<double>(p.branch_shape(i).numel());
    read += elements;
    if (p.factors[static_cast<std::size_t>(i)] > 1) coarse += elements;
  }
  const double size = static_cast<double>(size_of(p.dtype)),
               out = static_cast<double>(p.output_shape().numel());
  add(passes, p, fuse_providers(), request, (read + out) * size, (3 * out + coarse) * size,
      make_fuse);
}

std::vector<KernelPass> own_fuse(const ProblemOptions& o, const KernelRequest& request) {
  FuseProblem p = fuse_case(o.shape, {});
  bool finest = false, right = true;
  const char *at = o.factors.data(), *const end = at + o.factors.size();
  while (right) {
    std::int64_t factor = 0;
    const auto [rest, error] = std::from_chars(at, end, factor);
    right = error == std::errc() && factor >= 1 && p.branches < FuseProblem::kMaxBranches &&
            o.shape[1] % factor == 0 && o.shape[2] % factor == 0;
    if (!right) break;
    p.factors[static_cast<std::size_t>(p.branches++)] = factor;
    finest = finest || factor == 1;
    if (rest == end) break;
    right = *rest == ',';
    at = rest + 1;
  }
  THORAX_CHECK(right && finest && p.branches >= 2,
               "[problem] --factors {}: 2 to {} whole numbers with commas between them, one "
               "of them 1, that divide height and width of --shape {}; for example 1,2",
               o.factors, FuseProblem::kMaxBranches, o.shape_text);
  std::vector<KernelPass> passes;
  add_fuse(passes, p, request);
  return passes;
}

KernelRun make_dice(const DiceProblem& p, const DiceProvider& by, bool forward, Device device) {
  const DType loss_type = parameter_dtype(p.dtype);
  const Tensor x = trial_values(p.shape, p.dtype, device, 1);
  const Tensor host_target = trial_values(p.shape, DType::f32, Device{}, 2);
  for (std::int64_t i = 0; i < host_target.numel(); ++i)
    host_target.data<float>()[i] = host_target.data<float>()[i] < 0 ? 0.0f : 1.0f;
  const Tensor target = host_target.to(device), loss = Tensor::empty({1}, loss_type, device),
               sums = Tensor::empty({p.groups(), 3}, DType::f64, device);
  DiceProblem host = p;
  host.dtype = DType::f32;
  const DiceProvider& reference = dice_loss_providers().named("reference");
  const Tensor wanted = Tensor::empty({1}), host_sums = Tensor::empty({p.groups(), 3}, DType::f64);
  reference.forward(host, host_floats(x), host_target, host_sums, wanted);
  const auto run = [=] { by.forward(p, x, target, sums, loss); };
  if (forward)
    return detail::kernel_run("dice_loss", by.name, p.dtype, {loss, sums}, run, [=] {
      return std::max(error_of(loss, wanted, 1e-5), error_of(sums, host_sums, 1e-5));
    });
  const Tensor one = Tensor::full({1}, 1, loss_type, device),
               dx = Tensor::empty(p.shape, p.dtype, device);
  return after(run, detail::kernel_run(
                        "dice_loss", by.name, p.dtype, {dx},
                        [=] { by.backward(p, one, x, target, sums, dx); },
                        [=, &reference] {
                          const Tensor hx = Tensor::empty(p.shape);
                          reference.backward(host, Tensor::full({1}, 1), host_floats(x),
                                             host_target, host_sums, hx);
                          // Gradients of many pixels are below float16's normal range: half its
                          // step.
                          const double least =
                              p.dtype == DType::f16 ? 0x1p-25 / tolerance(p.dtype, 0) : 0;
                          return error_of(dx, hx, tolerance(p.dtype, 1e-5), least);
                        }));
}

void add_dice(std::vector<KernelPass>& passes, const Shape& shape, const KernelRequest& request) {
  const DiceProblem p{.shape = shape, .dtype = request.dtype};
  const double pixels = static_cast<double>(shape.numel()),
               size = static_cast<double>(size_of(request.dtype));
  // The target has 4 bytes a pixel.
  add(passes, p, dice_loss_providers(), request, pixels * (size + 4), pixels * (2 * size + 4),
      make_dice);
}

std::vector<KernelPass> own_dice(const ProblemOptions& o, const KernelRequest& request) {
  std::vector<KernelPass> passes;
  add_dice(passes, o.shape, request);
  return passes;
}

// Lists whose sizes are the study's.
void refuse_sizes(const std::string& cases, std::int64_t size, std::int64_t batch) {
  THORAX_CHECK(size == 0 && batch == 0,
               "[problem] --size and --batch do not change --cases {}: its sizes are fixed; "
               "leave them out, or give one problem with --shape",
               cases);
}

}  // namespace

std::vector<KernelOperation> memory_bound_operations() {
  const std::vector<std::string> passes{"forward", "backward"};
  return {{"batch_norm",
           passes,
           {},
           {"hrnet_w18", "awkward"},
           own_batch_norm,
           [](const std::string& cases, std::int64_t size, std::int64_t batch,
              const KernelRequest& request) {
             refuse_sizes(cases, size, batch);
             return listed_batch_norm(cases, request);
           }},
          {"pool",
           passes,
           {"--window", "--stride", "--padding", "--kind"},
           {"models", "awkward"},
           own_pool,
           [](const std::string& cases, std::int64_t size, std::int64_t batch,
              const KernelRequest& request) {
             refuse_sizes(cases, size, batch);
             return listed_pool(cases, request);
           }},
          {"fuse_multires",
           passes,
           {"--factors"},
           {"hrnet_w18", "awkward"},
           own_fuse,
           [](const std::string& cases, std::int64_t size, std::int64_t batch,
              const KernelRequest& request) {
             std::vector<KernelPass> all;
             if (cases == "awkward") refuse_sizes(cases, size, batch);
             const std::int64_t side = size == 0 ? 224 : size;
             THORAX_CHECK(side % 32 == 0,
                          "[problem] --size {}: images of --cases {} have a multiple of 32; take "
                          "{}",
                          size, cases, (side / 32 + 1) * 32);
             for (const FuseProblem& p : cases == "awkward"
                                             ? fuse_cases()
                                             : hrnet_fuse_cases(batch == 0 ? 8 : batch, side / 4))
               add_fuse(all, p, request);
             return all;
           }},
          {"dice_loss",
           passes,
           {},
           {"awkward"},
           own_dice,
           [](const std::string& cases, std::int64_t size, std::int64_t batch,
              const KernelRequest& request) {
             refuse_sizes(cases, size, batch);
             std::vector<KernelPass> all;
             for (const auto& c : dice_loss_cases::all()) add_dice(all, c.shape, request);
             return all;
           }}};
}

}  // namespace thorax::app
