// Batch normalisation, backward:
//   batch_norm_backward_sums   reads dy and x (y only for ReLU behind a residual): per chunk the
//                              sums of dz and dz * (x - center), dz = dy where y > 0, in the way of
//                              batch_norm_statistics. Writes dz itself where the residual wants it.
//                              The last block of each column of blocks adds up the chunks in a
//                              fixed order: dweight, dbias, and the coefficients of dx.
//   batch_norm_backward_map    dx = scale * dz + slope * (x - center) + offset, the last chunk
//                              first; dz from where the first pass wrote it, if it did.
//   batch_norm_backward_small  both of a small map, in one launch.
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

// Everything that the kernels read and write but dy, x and y.
struct Gradients {
  double epsilon;
  const double *mean, *variance;
  const float* weight;
  float *dweight, *dbias;  // or nullptr
  // The coefficients of dx.
  float *slope, *offset;

  // From the sums of dz and dz * (x - center).
  __device__ void set(std::int64_t c, float sum_of_dz, float sum_of_products,
                      std::int64_t pixels) const {
    const double m = mean[c], v = variance[c] + epsilon, n = static_cast<double>(pixels);
    const double lost = m - static_cast<double>(static_cast<float>(m));  // what `center` left out
    const double sum = static_cast<double>(sum_of_dz);
    const double product = static_cast<double>(sum_of_products) - lost * sum;
    if (dweight != nullptr) dweight[c] = static_cast<float>(product / sqrt(v));
    if (dbias != nullptr) dbias[c] = static_cast<float>(sum);
    const double scale = static_cast<double>(weight[c]) / sqrt(v);
    const double steepness = -scale / v * product / n;
    slope[c] = static_cast<float>(steepness);
    offset[c] = static_cast<float>(-scale * sum / n - steepness * lost);
  }
};

// What the kernels read of the maps.
template <class T>
struct Maps {
  Mask mask;
  Affine map;
  Pixels<const T> dy, x, y;
};

// The sums over the pixels of a block, in row 0 and in `shared`.
template <class T, int N, int kBlock>
__device__ void sum_gradients(RowSums<N, kBlock>& shared, const Cut& cut, const Part& part,
                              const Maps<T>& maps, Pixels<T> dz, Floats<N>& sum,
                              Floats<N>& product) {
  sum = product = broadcast<N>(0);
  if (part.active) {
    const AffineOf<N> affine(maps.map, part.channel);
    Floats<N> a = broadcast<N>(0), b = a;
    for_stretches<N>(
        part, cut.rows,
        [&](auto count, std::int64_t p) {
          constexpr int kCount = decltype(count)::value;
          const Loaded<T, N, kCount> in(maps.mask, affine, maps.dy, maps.x, maps.y, p, cut.rows,
                                        part.channel);
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
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    batch_norm_backward_sums(Cut cut, Maps<T> maps, Pixels<T> dz, float* parts, unsigned* arrivals,
                             Gradients to) {
  THORAX_SHARED(MergingSums<N>, shared);
  const Part part(cut, N, blockIdx.x);
  Floats<N> sum, product;
  sum_gradients<T>(shared.sums, cut, part, maps, dz, sum, product);
  if (threadIdx.y == 0 && part.active) {
    float* of = parts + static_cast<std::int64_t>(blockIdx.x) * 2 * cut.channels + part.channel;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      of[k] = sum[k];
      of[cut.channels + k] = product[k];
    }
  }
  if (!is_last_block(shared.last, arrivals + blockIdx.y, gridDim.x)) return;
  const BlockChannels own(cut, N);
  float all = 0, products = 0;
  merge_chunks(
      shared.sums.values, own, cut.chunks,
      [&](std::int64_t channel, std::int64_t chunk, float& a, float& b) {
        const float* of = parts + chunk * 2 * cut.channels + channel;
        a = __ldcg(of);
        b = __ldcg(of + cut.channels);
      },
      all, products);
  if (own.active()) to.set(own.channel(), all, products, cut.pixels);
}

// dx of the thread's pixels. `training`: mean and variance depend on x; the running statistics do
// not.
template <class T, int N>
__device__ void map_gradients(const Cut& cut, const Part& part, const Maps<T>& maps, bool training,
                              const float* slopes, const float* offsets, Pixels<T> dx) {
  if (!part.active) return;
  const AffineOf<N> affine(maps.map, part.channel);
  Floats<N> slope, offset;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    slope[k] = training ? slopes[part.channel + k] : 0.0f;
    offset[k] = training ? offsets[part.channel + k] : 0.0f;
  }
  for_pixels<N>(part.first, part.end, cut.rows, [&](auto count, std::int64_t p) {
    constexpr int kCount = decltype(count)::value;
    Loaded<T, N, kCount> in(maps.mask, affine, maps.dy, maps.x, maps.y, p, cut.rows, part.channel);
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

// Left to itself, ptxas squeezes pairs into 48 registers on sm_80 and spills.
template <class T, int N>
__global__ void __launch_bounds__(kThreads, N == 2 ? 4 : 0)
    batch_norm_backward_map(Cut cut, bool training, Maps<T> maps, const float* slopes,
                            const float* offsets, Pixels<T> dx) {
  map_gradients<T, N>(cut, Part(cut, N, gridDim.x - 1 - blockIdx.x), maps, training, slopes,
                      offsets, dx);
}

// Both passes of a map so small that one block may walk over all pixels of its channels. A thread
// reads in the second pass what it has written in the first. Left to itself, ptxas squeezes the
// narrow one into 40 registers and spills.
template <class T, int N>
__global__ void __launch_bounds__(kSmallThreads, N == 1 ? 2 : 0)
    batch_norm_backward_small(Cut cut, bool training, Maps<T> maps, Maps<T> maps_of_dx,
                              Pixels<T> dz, Pixels<T> dx, Gradients to) {
  using Sums = RowSums<N, kSmallThreads>;
  THORAX_SHARED(Sums, shared);
  const Part part(cut, N, 0);
  Floats<N> sum, product;
  sum_gradients<T>(shared, cut, part, maps, dz, sum, product);
  __syncthreads();
  const BlockChannels own(cut, N);
  if (own.active())
    to.set(own.channel(), row_sum(shared, own.thread, 0), row_sum(shared, own.thread, 1),
           cut.pixels);
  __syncthreads();
  if (dx.data != nullptr)
    map_gradients<T, N>(cut, part, maps_of_dx, training, to.slope, to.offset, dx);
}

}  // namespace

void backward(const BatchNormProblem& pr, const Tensor& dy, const Tensor& x, const Tensor& y,
              const Tensor& weight, const Tensor& bias, const BatchNormStatistics& statistics,
              const Tensor& dx, const Tensor& dresidual, const Tensor& dweight,
              const Tensor& dbias) {
  if (pr.shape.numel() == 0) {
    if (dweight.defined()) dweight.fill(0);
    if (dbias.defined()) dbias.fill(0);
    return;
  }
  const Device device = x.device();
  const std::int64_t channels = pr.channels();
  Tensor coefficients = statistics.coefficients;
  if (!coefficients.defined()) {  // another provider made the forward pass
    coefficients = Tensor::empty({3, channels}, DType::f32, device);
    make_affine(pr, statistics, weight, bias, Affine(coefficients));
  }
  const Affine map(coefficients);
  const auto optional = [](const Tensor& t) {
    return t.defined() ? t.device_data<float>() : nullptr;
  };
  const Tensor slopes = Tensor::empty({2, channels}, DType::f32, device);
  float* const slope = slopes.device_data<float>();
  const Gradients to{pr.epsilon,
                     statistics.mean.device_data<double>(),
                     statistics.variance.device_data<double>(),
                     weight.device_data<float>(),
                     optional(dweight),
                     optional(dbias),
                     slope,
                     slope + channels};
  const Mask mask = !pr.relu ? Mask::none : pr.residual ? Mask::from_y : Mask::from_x;
  const Tensor result = mask == Mask::from_y ? y : Tensor{};
  const bool written = dresidual.defined();
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(pr.pixels(), channels, {&dy, &x, &result, &dx, &dresidual}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      const Pixels<const T> in(x), of_y(result);
      const Maps<T> maps{mask, map, Pixels<const T>(dy), in, of_y};
      const Maps<T> maps_of_dx{written ? Mask::none : mask, map,
                               Pixels<const T>(written ? dresidual : dy), in, of_y};
      const Cut whole = Cut::for_one_block(pr, N);
      if (whole.small()) {
        launch(THORAX_KERNEL(batch_norm_backward_small<T, N>), device, whole.launch_config(), whole,
               pr.training, maps, maps_of_dx, Pixels<T>(dresidual), Pixels<T>(dx), to);
        return;
      }
      const Cut cut = Cut::for_sums(pr, N);
      const Tensor parts = Tensor::empty({cut.chunks, 2, channels}, DType::f32, device);
      launch(THORAX_KERNEL(batch_norm_backward_sums<T, N>), device, cut.launch_config(), cut, maps,
             Pixels<T>(dresidual), parts.device_data<float>(), arrival_counters(device, cut.tiles),
             to);
      if (!dx.defined()) return;
      const Cut map_cut = Cut::for_map(pr, N);
      launch(THORAX_KERNEL(batch_norm_backward_map<T, N>), device, map_cut.launch_config(), map_cut,
             pr.training, maps_of_dx, to.slope, to.offset, Pixels<T>(dx));
    });
  });
}

}  // namespace batch_norm_detail
}  // namespace THORAX_GPU
}  // namespace thorax
