#include "engine/train/graph_step.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "engine/optim/device_step.h"
#include "engine/runtime/device.h"

namespace thorax {
namespace {

constexpr int kWarmUps = 2;   // steps of a shape before it is captured
constexpr int kPatience = 3;  // steps of other shapes in a row before these are captured

bool same_shapes(const Batch& a, const Batch& b) {
  return std::equal(a.tensors.begin(), a.tensors.end(), b.tensors.begin(), b.tensors.end(),
                    [](const auto& x, const auto& y) {
                      return x.first == y.first && x.second.shape() == y.second.shape() &&
                             x.second.dtype() == y.second.dtype();
                    });
}

Device gpu(Device device) {
  THORAX_CHECK(device.kind != DeviceKind::cpu,
               "[graph] steps are captured on cuda and sim devices: the CPU computes at once");
  return device;
}

}  // namespace

GraphStep::GraphStep(Optimizer& optimizer, Device device, Options options, Loss loss)
    : optimizer_(optimizer),
      device_(device),
      options_(options),
      loss_(std::move(loss)),
      staging_(gpu(device)) {
  const auto rows = static_cast<std::int64_t>(optimizer.parameters().size());
  block_ = Tensor::zeros({4 * rows + 2}, DType::f64, device);
  number_ = Tensor::zeros({1}, DType::i64, device);
  report_ = Tensor::zeros({kStepReport}, DType::f64, device);
  skip_ = Tensor::zeros({1}, DType::i32, device);
}

// Everything that a step gives the device to do.
void GraphStep::body(const Batch& batch) {
  const std::int64_t rows = (block_.numel() - 2) / 4;
  const Tensor values = block_.batch_slice(0, 4 * rows).reshape({rows, 4});
  number_.copy_from(block_.batch_slice(4 * rows + 1, 1));
  const Variable loss = loss_(batch);
  THORAX_CHECK(loss.defined() && loss.value().numel() == 1,
               "[train] the loss must be a single number");
  const Tensor seed = block_.batch_slice(4 * rows, 1).to(loss.value().dtype());
  backward(loss, seed.reshape(loss.shape()));
  const SquareSum squares = options_.clip_norm > 0 || options_.check_grads
                                ? grad_squares(optimizer_.parameters())
                                : SquareSum{};
  finish_gradients(loss.value(), squares, options_.clip_norm, values, report_, skip_);
  optimizer_.step_on_device(values, skip_);
  optimizer_.zero_grad();
}

bool GraphStep::holds(const Batch& batch) const {
  return !inputs_.tensors.empty() && same_shapes(inputs_, batch);
}

void GraphStep::hold(const Batch& batch) {
  graph_ = {};
  warm_ups_ = 0;
  inputs_ = {};
  for (const auto& [name, tensor] : batch.tensors)
    inputs_.tensors[name] = Tensor::empty(tensor.shape(), tensor.dtype(), device_);
}

bool GraphStep::capture() {
  try {
    graph_ = Graph::capture(device_, [this] { body(inputs_); });
  } catch (const Error& error) {
    optimizer_.zero_grad();
    // Memory was given back to the system since the last step (a limit, a validation): one more
    // step brings it back.
    if (std::string_view(error.what()).starts_with("[allocator]") && ++failures_ < 3) return false;
    throw;
  }
  failures_ = 0;
  ++captures_;
  return true;
}

void GraphStep::launch(const Batch& batch, std::uint64_t number, double lr, double grad_scale,
                       double seed) {
  const std::int64_t rows = (block_.numel() - 2) / 4;
  const Tensor block = Tensor::empty({4 * rows + 2}, DType::f64);
  block.batch_slice(0, 4 * rows)
      .copy_from(optimizer_.next_values(lr, grad_scale).reshape({4 * rows}));
  block.data<double>()[4 * rows] = seed;
  block.data<double>()[4 * rows + 1] = static_cast<double>(number);
  staging_.begin(std::array{block});
  block_.copy_from(staging_.take()[0]);
  if (!holds(batch)) {
    others_ = same_shapes(other_, batch) ? others_ + 1 : 1;
    other_ = {};
    other_.tensors = batch.tensors;
    if (!inputs_.tensors.empty() && others_ < kPatience) return body(batch);
    other_ = {};
    hold(batch);
  }
  others_ = 0;
  for (const auto& [name, tensor] : batch.tensors) inputs_.tensors.at(name).copy_from(tensor);
  inputs_.names = batch.names;
  if (!graph_.defined() && (warm_ups_++ < kWarmUps || !capture())) return body(inputs_);
  graph_.replay();
  ++replays_;
}

GraphStep::Result GraphStep::wait() const {
  const Tensor report = report_.to(Device{});
  const double* values = report.data<double>();
  return {values[0], values[1], values[2] != 0};
}

}  // namespace thorax
