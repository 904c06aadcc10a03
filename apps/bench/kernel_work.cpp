#include "apps/bench/kernel_work.h"

#include <charconv>

#include "engine/runtime/device.h"

namespace thorax::app {

Shape parse_shape(const char* option, const std::string& text, int rank) {
  const auto refuse = [&] {
    fail(
        "[problem] {} {}: {} whole numbers from 1 with an x between them are wanted, at most "
        "2^36 elements; for example {}",
        option, text, rank, rank == 4 ? "2x28x28x32" : "8x2048");
  };
  std::vector<std::int64_t> extents;
  const char *at = text.data(), *const end = at + text.size();
  double elements = 1;
  while (true) {
    std::int64_t extent = 0;
    const auto [rest, error] = std::from_chars(at, end, extent);
    if (error != std::errc() || extent < 1) refuse();
    extents.push_back(extent);
    elements *= static_cast<double>(extent);
    at = rest;
    if (at == end) break;
    if (*at++ != 'x') refuse();
  }
  if (static_cast<int>(extents.size()) != rank || elements > 0x1p36) refuse();
  return Shape(extents);
}

const std::vector<KernelOperation>& kernel_operations() {
  static const std::vector<KernelOperation> all = [] {
    std::vector<KernelOperation> operations = convolution_operations();
    for (KernelOperation& one : memory_bound_operations()) operations.push_back(std::move(one));
    return operations;
  }();
  return all;
}

namespace detail {

KernelRun kernel_run(const char* operation, std::string_view provider, DType dtype,
                     std::vector<Tensor> outputs, std::function<void()> work,
                     std::function<double()> error) {
  KernelRun run{std::string(provider), std::string(name_of(dtype)), {}};
  if (provider == kTf32) {
    run.dtype = "tf32";
    work = [operation, work = std::move(work)] {
      const ProviderScope asked(operation, kTf32);
      work();
    };
  }
  run.work = work;
  run.check = [outputs = std::move(outputs), work = std::move(work), error = std::move(error)] {
    // All bits set is a NaN in every type of float: an element that nobody writes is found.
    for (const Tensor& t : outputs) fill_bytes(t.raw(), t.device(), 0xff, t.bytes());
    work();
    return error();
  };
  return run;
}

KernelRun unsupported_run(std::string_view provider, DType dtype) {
  return {std::string(provider), std::string(name_of(dtype)),
          "the provider does not support this problem"};
}

Tensor host_floats(const Tensor& tensor) {
  return tensor.to(Device{}).to(DType::f32);
}

}  // namespace detail
}  // namespace thorax::app
