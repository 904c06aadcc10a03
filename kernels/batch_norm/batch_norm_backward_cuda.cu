// Batch normalisation, backward:
//   batch_norm_backward_sums   reads dy and x (y only for ReLU behind a residual): per chunk the
//                              sums of dz and dz * (x - center), dz = dy where y > 0, in the way of
//                              batch_norm_statistics. Writes dz itself where the residual wants it.
//   batch_norm_backward_merge  adds up the chunks in a fixed order in double: dweight, dbias, and
//                              the coefficients of dx.
//   batch_norm_backward_map    dx = scale * dz + slope * (x - center) + offset, the last chunk
//                              first; dz from where the first pass wrote it, if it did.
// ReLU's mask costs no read of y without a residual: it is computed again from x, with the same
// bits as forward did, rounded as y was.
#include "kernels/batch_norm/batch_norm_cuda.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace batch_norm_detail {
namespace {

// Where the mask of ReLU comes from.
enum class Mask : std::uint8_t { none, from_x, from_y };

// dy and x of `kCount` pixels, as dz and x - center.
template <class T, int N, int kCount>
struct Loaded {
  Floats<N> dz[kCount], centered[kCount];

  __device__ Loaded(Mask mask, const AffineOf<N>& affine, Pixels<const T> dy, Pixels<const T> x,
                    Pixels<const T> y, std::int64_t p, int rows, std::int64_t channel) {
#pragma unroll
    for (int r = 0; r < kCount; ++r) {
      dz[r] = load<N>(dy.at(p + r * rows, channel));
      centered[r] = load<N>(x.at(p + r * rows, channel));
    }
#pragma unroll
    for (int r = 0; r < kCount; ++r) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        centered[r][k] -= affine.center[k];
        if (mask == Mask::from_x) {
          const float result = to_float(from_float<T>(affine(centered[r][k], k)));
          dz[r][k] = result <= 0 ? 0.0f : dz[r][k];
        }
      }
    }
    if (mask == Mask::from_y) {
#pragma unroll
      for (int r = 0; r < kCount; ++r) {
        const Floats<N> result = load<N>(y.at(p + r * rows, channel));
#pragma unroll
        for (int k = 0; k < N; ++k) dz[r][k] = result[k] <= 0 ? 0.0f : dz[r][k];
      }
    }
  }
};

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    batch_norm_backward_sums(Cut cut, Mask mask, Affine map, Pixels<const T> dy, Pixels<const T> x,
                             Pixels<const T> y, Pixels<T> dz, float* parts) {
  THORAX_SHARED(RowSums<N>, shared);
  const Part part(cut, N, blockIdx.x);
  Floats<N> sum = broadcast<N>(0), product = sum;
  if (part.active) {
    const AffineOf<N> affine(map, part.channel);
    Floats<N> a = broadcast<N>(0), b = a;
    for_stretches<N>(
        part, cut.rows,
        [&](auto count, std::int64_t p) {
          constexpr int kCount = decltype(count)::value;
          const Loaded<T, N, kCount> in(mask, affine, dy, x, y, p, cut.rows, part.channel);
#pragma unroll
          for (int r = 0; r < kCount; ++r) {
            if (dz.data != nullptr) store(dz.at(p + r * cut.rows, part.channel), in.dz[r]);
#pragma unroll
            for (int k = 0; k < N; ++k) {
              a[k] += in.dz[r][k];
              b[k] = fmaf(in.dz[r][k], in.centered[r][k], b[k]);
            }
          }
        },
        [&] {
#pragma unroll
          for (int k = 0; k < N; ++k) {
            sum[k] += a[k];
            product[k] += b[k];
            a[k] = b[k] = 0;
          }
        });
  }
  add_rows(shared, cut, sum, product);
  if (threadIdx.y != 0 || !part.active) return;
  float* to = parts + static_cast<std::int64_t>(blockIdx.x) * 2 * cut.channels + part.channel;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    to[k] = sum[k];
    to[cut.channels + k] = product[k];
  }
}

// The coefficients of dx; two rows of floats.
struct Slopes {
  float* slope;
  float* offset;
};

struct MergeSums {
  double values[kMergeRows][kMergeChannels][2];
};

__global__ void __launch_bounds__(kMergeChannels* kMergeRows)
    batch_norm_backward_merge(Cut cut, const float* parts, const double* mean,
                              const double* variance, double epsilon, const float* weight,
                              float* dweight, float* dbias, Slopes slopes) {
  THORAX_SHARED(MergeSums, shared);
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kMergeChannels + threadIdx.x;
  const bool active = c < cut.channels;
  double sum = 0, product = 0;
  if (active) {
    for (std::int64_t chunk = threadIdx.y; chunk < cut.chunks; chunk += kMergeRows) {
      const float* of = parts + chunk * 2 * cut.channels + c;
      sum += static_cast<double>(of[0]);
      product += static_cast<double>(of[cut.channels]);
    }
  }
  double* own = shared.values[threadIdx.y][threadIdx.x];
  own[0] = sum;
  own[1] = product;
  sum_rows<2>(&shared.values[0][threadIdx.x][0], 2 * kMergeChannels);
  if (threadIdx.y != 0 || !active) return;
  sum = own[0];
  const double m = mean[c], v = variance[c] + epsilon, n = static_cast<double>(cut.pixels);
  const double lost = m - static_cast<double>(static_cast<float>(m));  // what `center` left out
  product = own[1] - lost * sum;
  if (dweight != nullptr) dweight[c] = static_cast<float>(product / sqrt(v));
  if (dbias != nullptr) dbias[c] = static_cast<float>(sum);
  const double scale = static_cast<double>(weight[c]) / sqrt(v);
  const double slope = -scale / v * product / n;
  slopes.slope[c] = static_cast<float>(slope);
  slopes.offset[c] = static_cast<float>(-scale * sum / n - slope * lost);
}

// `training`: mean and variance depend on x; the running statistics do not. Left to itself, ptxas
// squeezes pairs into 48 registers on sm_80 and spills.
template <class T, int N>
__global__ void __launch_bounds__(kThreads, N == 2 ? 4 : 0)
    batch_norm_backward_map(Cut cut, Mask mask, bool training, Affine map, Slopes slopes,
                            Pixels<const T> dy, Pixels<const T> x, Pixels<const T> y,
                            Pixels<T> dx) {
  const Part part(cut, N, gridDim.x - 1 - blockIdx.x);
  if (!part.active) return;
  const AffineOf<N> affine(map, part.channel);
  Floats<N> slope, offset;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    slope[k] = training ? slopes.slope[part.channel + k] : 0.0f;
    offset[k] = training ? slopes.offset[part.channel + k] : 0.0f;
  }
  for_pixels<N>(part.first, part.end, cut.rows, [&](auto count, std::int64_t p) {
    constexpr int kCount = decltype(count)::value;
    Loaded<T, N, kCount> in(mask, affine, dy, x, y, p, cut.rows, part.channel);
#pragma unroll
    for (int r = 0; r < kCount; ++r) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float rest = training ? fmaf(slope[k], in.centered[r][k], offset[k]) : 0.0f;
        in.dz[r][k] = fmaf(affine.scale[k], in.dz[r][k], rest);
      }
      store(dx.at(p + r * cut.rows, part.channel), in.dz[r]);
    }
  });
}

}  // namespace

void backward(const BatchNormProblem& pr, const Tensor& dy, const Tensor& x, const Tensor& y,
              const Tensor& weight, const Tensor& bias, const Tensor& mean, const Tensor& variance,
              const Tensor& dx, const Tensor& dresidual, const Tensor& dweight,
              const Tensor& dbias) {
  if (pr.shape.numel() == 0) {
    if (dweight.defined()) dweight.fill(0);
    if (dbias.defined()) dbias.fill(0);
    return;
  }
  const Device device = x.device();
  const std::int64_t channels = pr.channels();
  const Tensor memory = Tensor::empty({5, channels}, DType::f32, device);
  const Affine map(memory, channels);
  const Slopes slopes{memory.device_data<float>() + 3 * channels,
                      memory.device_data<float>() + 4 * channels};
  make_affine(pr, mean, variance, weight, bias, map);
  const Mask mask = !pr.relu ? Mask::none : pr.residual ? Mask::from_y : Mask::from_x;
  const Tensor result = mask == Mask::from_y ? y : Tensor{};
  const auto optional = [](const Tensor& t) {
    return t.defined() ? t.device_data<float>() : nullptr;
  };
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(pr.pixels(), channels, {&dy, &x, &result, &dx, &dresidual}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      const Cut cut = Cut::for_sums(pr, N);
      const Tensor parts = Tensor::empty({cut.chunks, 2, channels}, DType::f32, device);
      launch(THORAX_KERNEL(batch_norm_backward_sums<T, N>), device, cut.launch_config(), cut, mask,
             map, Pixels<const T>(dy), Pixels<const T>(x), Pixels<const T>(result),
             Pixels<T>(dresidual), parts.device_data<float>());
      launch(THORAX_KERNEL(batch_norm_backward_merge), device,
             {dim3(blocks_for(channels, kMergeChannels)), dim3(kMergeChannels, kMergeRows)}, cut,
             parts.device_data<float>(), mean.device_data<double>(), variance.device_data<double>(),
             pr.epsilon, weight.device_data<float>(), optional(dweight), optional(dbias), slopes);
      if (!dx.defined()) return;
      const Cut map_cut = Cut::for_map(pr, N);
      const bool written = dresidual.defined();
      launch(THORAX_KERNEL(batch_norm_backward_map<T, N>), device, map_cut.launch_config(), map_cut,
             written ? Mask::none : mask, pr.training, map, slopes,
             Pixels<const T>(written ? dresidual : dy), Pixels<const T>(x), Pixels<const T>(result),
             Pixels<T>(dx));
    });
  });
}

}  // namespace batch_norm_detail
}  // namespace THORAX_GPU
}  // namespace thorax
