// One optimizer step: launch by launch, or as a graph.
#include <fmt/format.h>

#include <cmath>

#include "engine/train/trainer_state.h"

namespace thorax {
namespace {

std::int64_t samples_of(const Batch& batch) {
  if (!batch.names.empty()) return static_cast<std::int64_t>(batch.names.size());
  for (const auto& [name, tensor] : batch.tensors)
    if (tensor.rank() > 0) return tensor.size(0);
  return 0;
}

}  // namespace

// Throws the error of a loss that is not finite. The batch is computed again, for the history that
// the backward pass has taken apart; parameters are as they were.
void Trainer::explain_loss(const Batch& batch, std::int64_t index, double value) {
  const State& s = *state_;
  std::string inputs;
  for (const auto& [name, tensor] : batch.tensors)
    if (!all_finite(tensor)) inputs += fmt::format("; '{}' of the batch is not finite", name);
  const std::string first = first_non_finite(callbacks_.loss(batch));
  fail(
      "[train] step {} (epoch {}, batch {}): loss is {}; first value that is not finite: {}{}; "
      "files: {}",
      s.step + 1, s.epoch + 1, index + 1, std::isnan(value) ? std::abs(value) : value,
      first.empty() ? "the loss" : first, inputs, fmt::join(batch.names, ", "));
}

void Trainer::check_norm() const {
  const State& s = *state_;
  THORAX_CHECK(loss_scale_ || std::isfinite(s.grad_norm),
               "[train] step {} (epoch {}): gradient norm is {}", s.step + 1, s.epoch + 1,
               s.grad_norm);
}

// The optimizer's step with gradients times `scale`.
void Trainer::update(double lr, double scale) {
  State& s = *state_;
  const auto averaged = [&s] {
    if (s.average) s.average->update();
  };
  if (!loss_scale_ && options_.clip_norm <= 0) {
    optimizer_.step(lr, scale);
    return averaged();
  }
  const SquareSum squares = grad_squares(optimizer_.parameters());
  if (options_.clip_norm > 0) {
    s.grad_norm = std::sqrt(squares.sum.item()) * scale;
    check_norm();
    if (std::isfinite(s.grad_norm)) scale *= clip_factor(s.grad_norm, options_.clip_norm);
  }
  if (!loss_scale_) {
    optimizer_.step(lr, scale);
    return averaged();
  }
  // A device that meets an overflow changes nothing; the host learns of it afterwards.
  optimizer_.step(lr, scale, squares.non_finite);
  const bool overflow = squares.non_finite.item() != 0;
  if (overflow)
    optimizer_.take_back_step();
  else
    averaged();
  loss_scale_->update(overflow);
}

// Forward and backward pass of one of the source's batches; its gradients are added.
Trainer::BatchResult Trainer::compute_batch(std::int64_t index) {
  State& s = *state_;
  BatchResult result;
  if (callbacks_.prepare)
    callbacks_.prepare(static_cast<std::uint64_t>(s.epoch * batches_ + index));
  const Batch batch = s.source->get(s.epoch, index);
  result.samples = samples_of(batch);
  if (result.samples == 0) return result;  // every file was unreadable, and that was allowed
  const bool alone = batches_a_step() == 1;
  const Variable loss = callbacks_.loss(batch);
  THORAX_CHECK(loss.defined() && loss.value().numel() == 1,
               "[train] the loss must be a single number");
  result.weight = static_cast<double>(result.samples);
  if (callbacks_.weight && !alone) result.weight = callbacks_.weight(batch);
  const double share = alone ? 1.0 : result.weight;
  const double loss_scale = loss_scale_ ? loss_scale_->scale() : 1.0;
  // A GPU is given all of a batch's work before anybody waits for the loss, and the next batch
  // travels while it computes. Losses are means over a batch; the step takes the mean over all
  // samples, or values, of its batches.
  backward(loss, Tensor::full(loss.shape(), share * loss_scale, loss.value().dtype(),
                              loss.value().device()));
  std::int64_t next = index + 1;
  while (next < batches_ && !mine(next)) ++next;
  if (next < batches_) s.source->prefetch(s.epoch, next);
  result.loss = loss.value().item();
  if (!std::isfinite(result.loss)) explain_loss(batch, index, result.loss);
  if (callbacks_.weight && alone) result.weight = callbacks_.weight(batch);
  return result;
}

// The step of the gradients that `count` batches have left.
void Trainer::finish_step(std::int64_t count, const std::vector<BatchResult>& results, double lr) {
  State& s = *state_;
  const double loss_scale = loss_scale_ ? loss_scale_->scale() : 1.0;
  s.samples = 0;
  WeightedSum step_loss;
  double values = 0;
  for (const BatchResult& result : results) {
    if (result.samples == 0) continue;
    for (const BatchResult::Note& one : result.notes) note(one.name, one.value, one.weight);
    note("loss", result.loss, result.weight);
    step_loss.sum += result.loss * result.weight;
    step_loss.weight += result.weight;
    values += result.weight;
    s.samples += result.samples;
  }
  s.lr = lr;
  s.loss = s.samples > 0 && values == 0 ? 0 : step_loss.mean();
  if (s.samples > 0) {
    // Without any value all gradients are 0.
    const double whole = batches_a_step() == 1 || values == 0 ? 1.0 : values;
    update(lr, 1 / (whole * loss_scale));
    optimizer_.zero_grad();
  }
  s.batch += count;
  ++s.step;
  s.run_samples += s.samples;
  ++s.run_steps;
}

// One optimizer step over the next `accumulate` batches of the epoch.
void Trainer::train_step(double lr) {
  State& s = *state_;
  const std::int64_t count = std::min(batches_a_step(), batches_ - s.batch);
  std::vector<BatchResult> results;
  for (std::int64_t i = 0; i < count; ++i) results.push_back(compute_batch(s.batch + i));
  finish_step(count, results, lr);
}

// The same as one launch, which is waited for once.
void Trainer::graph_step(double lr) {
  State& s = *state_;
  const std::int64_t index = s.batch;
  const auto number = static_cast<std::uint64_t>(s.epoch * batches_ + index);
  if (callbacks_.prepare) callbacks_.prepare(number);
  const Batch batch = s.source->get(s.epoch, index);
  s.samples = samples_of(batch);
  s.lr = lr;
  s.loss = std::numeric_limits<double>::quiet_NaN();
  if (s.samples > 0) {
    const double loss_scale = loss_scale_ ? loss_scale_->scale() : 1.0;
    const std::int64_t captures = s.graph->captures();
    s.graph->launch(batch, number, lr, 1 / loss_scale, loss_scale);
    if (observer_ != nullptr && s.graph->captures() != captures)
      observer_->on_message(fmt::format("[train] step {} captured as a graph: {} launches in one",
                                        s.step + 1, s.graph->graph_size()));
    if (index + 1 < batches_) s.source->prefetch(s.epoch, index + 1);
    const GraphStep::Result result = s.graph->wait();
    // The device has left out a step that is not finite.
    if (!std::isfinite(result.loss)) explain_loss(batch, index, result.loss);
    note("loss", result.loss,
         callbacks_.weight ? callbacks_.weight(batch) : static_cast<double>(s.samples));
    s.loss = result.loss;
    if (options_.clip_norm > 0) s.grad_norm = result.grad_norm;
    check_norm();
    const bool overflow = loss_scale_ && result.overflow;
    if (overflow) optimizer_.take_back_step();
    if (loss_scale_) loss_scale_->update(overflow);
    if (s.average && !overflow) s.average->update();
  }
  ++s.batch;
  ++s.step;
  s.run_samples += s.samples;
  ++s.run_steps;
}

}  // namespace thorax
