// Running one test on every device: where a provider's tensors go, and how its results come back.
#pragma once

#include <vector>

#include "engine/runtime/device.h"
#include "tests/support/device.h"

namespace thorax::test {

template <class Provider>
Device device_of(const Provider& provider) {
  return {provider.device, 0};
}
// The first device of every kind that this machine has.
inline std::vector<Device> one_device_a_kind() {
  std::vector<Device> devices;
  for (const Device device : all_devices())
    if (device.index == 0) devices.push_back(device);
  return devices;
}

// Values on a device in a type, as a channel slice if asked for (rank 2 or more).
inline Tensor placed(const Tensor& values, Device device, bool sliced = false,
                     DType dtype = DType::f32) {
  const Tensor there = values.to(dtype).to(device);
  return sliced && there.rank() > 1 ? as_slice(there) : there;
}
// Poisoned memory for a result.
inline Tensor destination(const Shape& shape, Device device, bool sliced = false,
                          DType dtype = DType::f32) {
  const Tensor there = poisoned(shape, dtype, device);
  return sliced && shape.rank() > 1 ? as_slice(there) : there;
}
// `t` for the CPU, contiguous, in float32 if it is of 16 bits.
inline Tensor back(const Tensor& t) {
  const Tensor here = t.to(Device{}).to_contiguous();
  return size_of(here.dtype()) == 2 ? here.to(DType::f32) : here;
}
// The nearest values that a type has, as float32.
inline Tensor rounded(const Tensor& values, DType dtype) {
  return values.to(dtype).to(DType::f32);
}

// |x rounded to a type - x| <= relative * |x| + absolute, for x within its range.
struct Rounding {
  double relative, absolute;
};
inline Rounding rounding_of(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return {0x1p-11, 0x1p-25};
    case DType::bf16:
      return {0x1p-8, 0x1p-134};
    default:
      return {0x1p-24, 0x1p-150};
  }
}
// What a GPU's providers take; those of the CPU say no to the last two.
inline constexpr DType kActivationTypes[] = {DType::f32, DType::f16, DType::bf16};

// The results of `run`, one for each order of the simulated device's threads.
template <class Run>
auto in_every_order(const Run& run) {
  std::vector<decltype(run())> results;
  in_every_thread_order([&] { results.push_back(run()); });
  return results;
}

}  // namespace thorax::test
