// Tests that run the providers of every kind of device on the same tensors.
#pragma once

#include <cstring>

#include "engine/runtime/sim/block.h"
#include "tests/support/check.h"

namespace thorax::test {

// A copy on the first device of a kind; a channel slice becomes a channel slice whose neighbours
// are poisoned. A tensor on the CPU stays as it is for the CPU.
inline Tensor on(DeviceKind kind, const Tensor& tensor) {
  if (!tensor.defined() || kind == DeviceKind::cpu) return tensor;
  const Device device{kind, 0};
  if (tensor.contiguous()) return tensor.to(device);
  std::vector<std::int64_t> extents(tensor.shape().extents().begin(),
                                    tensor.shape().extents().end());
  extents.back() = tensor.pixel_stride();
  const Tensor wide = poisoned(Shape(std::span<const std::int64_t>(extents)), tensor.dtype());
  const std::int64_t before = (tensor.pixel_stride() - tensor.channels()) / 2;
  const Tensor slice = wide.to(device).channel_slice(before, tensor.channels());
  slice.copy_from(tensor.to_contiguous().to(device));
  return slice;
}

// The same bits, NaNs included.
inline bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(Device{}).to_contiguous(), y = b.to(Device{}).to_contiguous();
  return x.shape() == y.shape() && x.dtype() == y.dtype() &&
         std::memcmp(x.raw(), y.raw(), x.bytes()) == 0;
}

// Calls run() with the simulated device's threads in order, in reverse and shuffled: what is
// computed must not depend on it.
template <class Run>
void in_every_thread_order(const Run& run) {
  struct Restore {
    ~Restore() { sim::set_order(sim::Order::forward); }
  } restore;
  for (const auto& [order, seed] : {std::pair{sim::Order::forward, 0},
                                    {sim::Order::reverse, 0},
                                    {sim::Order::random, 1},
                                    {sim::Order::random, 2}}) {
    sim::set_order(order, static_cast<std::uint64_t>(seed));
    run();
  }
}

}  // namespace thorax::test
