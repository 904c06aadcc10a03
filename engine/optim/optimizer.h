// SGD and AdamW over the named parameters of a module.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/io/config.h"
#include "engine/nn/module.h"
#include "engine/optim/step.h"
#include "engine/tensor/square_sum.h"

namespace thorax {

class Optimizer {
 public:
  // Parameters that do not require a gradient are left out. Throws Error "[optimizer] ..." when two
  // share a name or none is left.
  explicit Optimizer(std::vector<Module::Named> parameters);
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // Updates every parameter that has a gradient; one without (unused in this step) keeps its value
  // and its state. The gradient is taken times `grad_scale` (1 / loss scale / batches accumulated,
  // or a clipping factor). Parameters are updated in place. `found_non_finite` (of grad_squares, on
  // the parameters' device): when it is not 0 the device changes nothing, and nobody waits to learn
  // it; call take_back_step() once it is known, before the next step.
  void step(double lr, double grad_scale = 1, const Tensor& found_non_finite = {});
  // The same step with what changes from step to step in device memory, so that it may be captured
  // as a graph. `values`: {number of parameters, 4} f64 on their GPU; it holds the rows of
  // next_values(), whose first column (the gradient's scale) may have been changed there. What
  // step() counts is counted when the work runs (engine/runtime/graph.h, at_replay).
  void step_on_device(const Tensor& values, const Tensor& skip);
  // The rows of the next step, on the CPU.
  Tensor next_values(double lr, double grad_scale = 1) const;
  // The last step() was skipped: it does not count (AdamW's bias correction, SGD's first step).
  void take_back_step();
  void zero_grad() const;

  // State by name: "steps" (i64, one per parameter in order of names), and one tensor per parameter
  // for each kind, as "momentum.stem.weight". Shares memory with the optimizer.
  StateDict state_dict() const;
  // Copies a state in; names and shapes must be those of state_dict(). Throws Error "[optimizer]
  // ..." naming what is missing, unknown or of another shape; nothing is changed then.
  void load_state_dict(const StateDict& dict);

  const std::vector<Module::Named>& parameters() const { return parameters_; }
  virtual const char* name() const = 0;
  // Name and options, as make_optimizer reads them.
  virtual nlohmann::json describe() const = 0;

 protected:
  // The kinds of state each parameter has.
  void add_state(std::string kind);
  // A parameter that has a gradient, and the number of this step for it, from 1.
  struct Due {
    std::size_t index;
    std::int64_t count;
  };
  // `values`: as in step_on_device, or undefined.
  virtual void update(std::span<const Due> due, double lr, double grad_scale,
                      const Tensor& found_non_finite, const Tensor& values) = 0;
  // The row of a parameter in next_values.
  virtual std::array<double, 4> values_of(const Due& due, double lr, double grad_scale) const = 0;
  const Tensor& state(std::size_t kind, std::size_t index) const { return states_[kind][index]; }

 private:
  std::vector<Module::Named> parameters_;  // sorted by name
  std::vector<std::string> kinds_;
  std::vector<std::vector<Tensor>> states_;  // by kind, by parameter
  Tensor steps_;
  std::vector<Due> last_;  // what the last step updated
};

struct SgdOptions {
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
  bool decay_vectors = true;  // false: no weight decay on biases and normalisation (rank <= 1)
};

// As torch.optim.SGD.
class Sgd : public Optimizer {
 public:
  Sgd(std::vector<Module::Named> parameters, const SgdOptions& options);
  const char* name() const override { return "sgd"; }
  nlohmann::json describe() const override;

 private:
  SgdStep step_of(const Due& due, double lr, double grad_scale) const;
  void update(std::span<const Due> due, double lr, double grad_scale,
              const Tensor& found_non_finite, const Tensor& values) override;
  std::array<double, 4> values_of(const Due& due, double lr, double grad_scale) const override;
  SgdOptions options_;
};

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
  bool decay_vectors = true;
};

// As torch.optim.AdamW. Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019.
class AdamW : public Optimizer {
 public:
  AdamW(std::vector<Module::Named> parameters, const AdamWOptions& options);
  const char* name() const override { return "adamw"; }
  nlohmann::json describe() const override;

 private:
  AdamWStep step_of(const Due& due, double lr, double grad_scale) const;
  void update(std::span<const Due> due, double lr, double grad_scale,
              const Tensor& found_non_finite, const Tensor& values) override;
  std::array<double, 4> values_of(const Due& due, double lr, double grad_scale) const override;
  AdamWOptions options_;
};

// From {"name": "sgd", "momentum", "dampening", "weight_decay", "nesterov", "decay_vectors"} or
// {"name": "adamw", "beta1", "beta2", "epsilon", "weight_decay", "decay_vectors"}; other keys are
// refused. Defaults: those above.
std::unique_ptr<Optimizer> make_optimizer(const ConfigObject& config,
                                          std::vector<Module::Named> parameters);

// The sum of squares of all gradients together and the flag that one is not finite, on their
// device, which is not waited for; zeros on the CPU without any gradient. The sum is taken in
// double over fixed chunks in fixed order: the same bits in every run and for any number of
// threads.
SquareSum grad_squares(const std::vector<Module::Named>& parameters);
// L2 norm of all gradients together; 0 without any. Waits for the device once.
double grad_norm(const std::vector<Module::Named>& parameters);
// What to multiply gradients with so that their norm is at most `max_norm`: 1 when it is already,
// else max_norm / norm. `max_norm` <= 0 means no limit.
double clip_factor(double norm, double max_norm);

}  // namespace thorax
