// Vectorised float32, one pass over memory in each direction. A coarse branch's row is repeated
// along the width once, in the cache, for the `factor` output rows that use it; the sum and ReLU
// then run over whole rows, so that 18 channels fill vectors. Backward the same in reverse: rows
// are added up in the cache, then pixels along the row.
#include <numeric>

#include "engine/runtime/allocator.h"
#include "engine/runtime/parallel.h"
#include "kernels/common/repeat.h"
#include "kernels/fuse_multires/fuse_multires.h"

namespace thorax {
namespace {

using namespace lanes;

constexpr std::int64_t kChunkFloats = 1 << 14;  // 64 KiB of output to a task

struct Image {
  float* data = nullptr;
  std::int64_t height = 0, width = 0, stride = 0;
  Image() = default;
  explicit Image(const Tensor& t)
      : data(t.data<float>()), height(t.size(1)), width(t.size(2)), stride(t.pixel_stride()) {
    // A single pixel may be called contiguous whatever its stride; rows of it are dense.
    if (t.contiguous()) stride = t.channels();
  }
  float* row(std::int64_t n, std::int64_t h) const {
    return data + (n * height + h) * width * stride;
  }
};

// Calls task(n, first row, last row, buffers) for blocks of rows, in parallel. No coarse pixel
// belongs to two blocks. `buffers` is scratch memory of `lines` rows.
template <class Task>
void for_row_blocks(const FuseProblem& pr, std::size_t lines, const Task& task) {
  std::int64_t unit = 1;
  for (int i = 0; i < pr.branches; ++i)
    unit = std::lcm(unit, pr.factors[static_cast<std::size_t>(i)]);
  const std::int64_t units = pr.height / unit;
  const std::int64_t row_floats = pr.width * pr.channels;
  parallel_for(0, pr.batch * units, kChunkFloats / (unit * row_floats),
               [&](std::int64_t first, std::int64_t last) {
                 const Workspace<float> buffers(lines * static_cast<std::size_t>(row_floats));
                 for (std::int64_t i = first; i < last; ++i)
                   task(i / units, i % units * unit, (i % units + 1) * unit, buffers.data());
               });
}

template <std::size_t kCount, bool kRelu>
void add_rows(const std::array<const float*, FuseProblem::kMaxBranches>& rows, float* to,
              std::int64_t floats) {
  for_lanes(floats, [=]<class V>(std::int64_t i) {
    V sum = load<V>(rows[0] + i);
    for (std::size_t k = 1; k < kCount; ++k) sum += load<V>(rows[k] + i);
    store(to + i, kRelu ? relu(sum) : sum);
  });
}

using AddRows = void (*)(const std::array<const float*, FuseProblem::kMaxBranches>&, float*,
                         std::int64_t);

AddRows adder(const FuseProblem& pr) {
  switch (pr.branches) {
    case 2:
      return pr.relu ? add_rows<2, true> : add_rows<2, false>;
    case 3:
      return pr.relu ? add_rows<3, true> : add_rows<3, false>;
    default:
      return pr.relu ? add_rows<4, true> : add_rows<4, false>;
  }
}

void forward(const FuseProblem& pr, std::span<const Tensor> branches, const Tensor& y) {
  if (y.numel() == 0) return;
  const std::size_t count = branches.size();
  std::array<Image, FuseProblem::kMaxBranches> in;
  for (std::size_t i = 0; i < count; ++i) in[i] = Image(branches[i]);
  const Image out(y);
  const std::int64_t floats = pr.width * pr.channels;
  const AddRows add = adder(pr);
  for_row_blocks(
      pr, count + 1, [&](std::int64_t n, std::int64_t first, std::int64_t last, float* buffers) {
        std::array<const float*, FuseProblem::kMaxBranches> rows{};
        for (std::int64_t h = first; h < last; ++h) {
          for (std::size_t i = 0; i < count; ++i) {
            float* buffer = buffers + floats * static_cast<std::int64_t>(i);
            const std::int64_t factor = pr.factors[i];
            if (factor == 1) {
              rows[i] = dense_row(in[i].row(n, h), in[i].stride, pr.width, pr.channels, buffer);
            } else if (h % factor == 0) {
              repeat_row(in[i].row(n, h / factor), in[i].stride, in[i].width, factor, pr.channels,
                         buffer, pr.channels);
              rows[i] = buffer;
            }
          }
          float* to = out.row(n, h);
          if (out.stride == pr.channels) {
            add(rows, to, floats);
          } else {
            float* line = buffers + floats * static_cast<std::int64_t>(count);
            add(rows, line, floats);
            repeat_row(line, pr.channels, pr.width, 1, pr.channels, to, out.stride);
          }
        }
      });
}

void backward(const FuseProblem& pr, const Tensor& dy, const Tensor& y, const Tensor& dz,
              std::span<const Tensor> grads) {
  if (dy.numel() == 0) return;
  const std::size_t count = grads.size();
  const Image grad(dy), result = pr.relu ? Image(y) : Image(),
                        fine = dz.defined() ? Image(dz) : Image();
  std::array<Image, FuseProblem::kMaxBranches> out;
  for (std::size_t i = 0; i < count; ++i)
    if (grads[i].defined()) out[i] = Image(grads[i]);
  const std::int64_t floats = pr.width * pr.channels;
  // Scratch rows: column sums of each coarse branch; masked dy; dense copies of dy and y.
  for_row_blocks(
      pr, count + 3, [&](std::int64_t n, std::int64_t first, std::int64_t last, float* buffers) {
        const auto buffer = [&](std::size_t i) {
          return buffers + floats * static_cast<std::int64_t>(i);
        };
        for (std::int64_t h = first; h < last; ++h) {
          const float* from =
              dense_row(grad.row(n, h), grad.stride, pr.width, pr.channels, buffer(count + 1));
          const float* row = from;
          if (pr.relu) {
            const float* gate = dense_row(result.row(n, h), result.stride, pr.width, pr.channels,
                                          buffer(count + 2));
            float* to =
                fine.data != nullptr && fine.stride == pr.channels ? fine.row(n, h) : buffer(count);
            for_lanes(floats, [=]<class V>(std::int64_t i) {
              store(to + i, relu_gradient(load<V>(gate + i), load<V>(from + i)));
            });
            row = to;
          }
          if (fine.data != nullptr && row != fine.row(n, h))
            repeat_row(row, pr.channels, pr.width, 1, pr.channels, fine.row(n, h), fine.stride);
          for (std::size_t i = 0; i < count; ++i) {
            if (out[i].data == nullptr) continue;
            const std::int64_t factor = pr.factors[i];
            float* sums = buffer(i);
            if (h % factor == 0) {
              std::copy_n(row, floats, sums);
            } else {
              for_lanes(floats, [=]<class V>(std::int64_t k) {
                store(sums + k, load<V>(sums + k) + load<V>(row + k));
              });
            }
            if (h % factor == factor - 1)
              sum_row(sums, out[i].width, factor, pr.channels, out[i].row(n, h / factor),
                      out[i].stride);
          }
        }
      });
}

}  // namespace

THORAX_PROVIDER(fuse_multires_cpu, fuse_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority = [](const FuseProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace thorax
