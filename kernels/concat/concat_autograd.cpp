#include "kernels/concat/concat.h"

#include <numeric>

#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"

namespace thorax {
namespace {

Shape with_channels(const Shape& shape, std::int64_t channels) {
  std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
  extents.back() = channels;
  return Shape(std::span<const std::int64_t>(extents));
}

}  // namespace

ConcatBuffer concat_buffer(std::int64_t batch, std::int64_t height, std::int64_t width,
                           std::span<const std::int64_t> channels, DType dtype, Device device) {
  const std::int64_t total = std::accumulate(channels.begin(), channels.end(), std::int64_t{0});
  ConcatBuffer buffer;
  buffer.wide = Tensor::empty({batch, height, width, total}, dtype, device);
  std::int64_t offset = 0;
  for (const std::int64_t count : channels) {
    buffer.parts.push_back(buffer.wide.channel_slice(offset, count));
    offset += count;
  }
  return buffer;
}

Variable concat(const std::vector<Variable>& parts) {
  THORAX_CHECK(!parts.empty(), "[concat] no parts");
  std::vector<Tensor> values;
  std::vector<std::int64_t> channels;
  std::int64_t total = 0;
  const Tensor& first = parts[0].value();
  THORAX_CHECK(first.rank() >= 2, "[concat] parts must have rank 2 or more, got {}", first.shape());
  for (const Variable& part : parts) {
    const Tensor& value = part.value();
    THORAX_CHECK(value.rank() == first.rank() && value.dtype() == first.dtype() &&
                     value.device() == first.device() &&
                     with_channels(value.shape(), 0) == with_channels(first.shape(), 0),
                 "[concat] parts {} {} and {} {} may differ in channels only", first.shape(),
                 name_of(first.dtype()), value.shape(), name_of(value.dtype()));
    values.push_back(value);
    channels.push_back(value.channels());
    total += value.channels();
  }
  Tensor y = join_channels(values);
  if (!y.defined()) {
    const ProfileScope scope("concat");
    y = Tensor::empty(with_channels(first.shape(), total), first.dtype(), first.device());
    std::int64_t offset = 0;
    for (const Tensor& value : values) {
      y.channel_slice(offset, value.channels()).copy_from(value);
      offset += value.channels();
    }
  }
  if (tracing()) trace_operation({"concat", values, y, nlohmann::json::object()});
  return record("concat", y, parts, [channels](const Tensor& dy, const std::vector<bool>& needs) {
    std::vector<Tensor> grads(needs.size());
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < needs.size(); ++i) {
      if (needs[i]) grads[i] = dy.channel_slice(offset, channels[i]);
      offset += channels[i];
    }
    return grads;
  });
}

}  // namespace thorax
