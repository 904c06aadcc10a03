// Dense products: rows of features times a weight matrix, and the two gradients. The kernels are
// gemm_tile.cuh's with its dense sources: no index map at all.
//
//                     rows m     columns n   depth l     left              right
//   forward           row        out         in          x                 w, along l
//   backward          row        in          out         dy                w, along n
//   weight gradient   out        in          row         dy, along m       x, along n
#include "kernels/common/gemm_launch.cuh"
#include "kernels/common/gemm_tile.cuh"
#include "kernels/common/gpu_gemm.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

int i(std::int64_t v) {
  return static_cast<int>(v);
}

template <class Left, class Right>
void multiply(Device device, const char* name, const Left& left, const Right& right,
              const Epilogue& result, ChannelParts* statistics = nullptr) {
  const Product<Left, Right> problem{.left = left,
                                     .right = right,
                                     .result = result,
                                     .rows_at = {},
                                     .rows = left.extent,
                                     .columns = right.extent,
                                     .depth = left.depth,
                                     .part = 0,
                                     .part_elements = 0};
  const int rows = left.extent;
  if constexpr (Left::kVector == 4) {
    launch_best<LargeTile, MediumTile, SmallTile, TallTile, FlatTile>(device, problem, name, rows,
                                                                      1, rows, statistics);
  } else {
    launch_best<SmallTile, TallTile, FlatTile>(device, problem, name, rows, 1, rows, statistics);
  }
}

Pixels weights(const Tensor& w, std::int64_t in) {
  return {w.device_data<float>(), i(in), nullptr, 0};
}

}  // namespace

bool dense_supported(std::int64_t rows, std::int64_t in, std::int64_t out) {
  constexpr std::int64_t limit = std::int64_t{1} << 30;
  return rows < limit && in < limit && out < limit;
}

void dense_forward(const char* name, const Tensor& x_map, const Tensor& w, const Tensor& bias,
                   const Tensor& residual, bool relu, const Tensor& y, ChannelParts* statistics) {
  const int rows = i(y.pixels()), in = i(x_map.channels()), out = i(y.channels());
  const Pixels x = pixels_of(x_map), filter = weights(w, in);
  with_vector([&](int v) { return in % v == 0 && aligned(x, v) && aligned(filter, v); },
              [&](auto v) {
                multiply(y.device(), name, DenseRows<v>{x, rows, in}, DenseRows<v>{filter, out, in},
                         epilogue_of(y, bias, residual, relu), statistics);
              });
}

void dense_backward(const char* name, const Tensor& dy_map, const Tensor& gate, const Tensor& w,
                    const Tensor& dx) {
  const int rows = i(dx.pixels()), in = i(dx.channels()), out = i(dy_map.channels());
  const Pixels dy = pixels_of(dy_map, gate), filter = weights(w, in);
  const auto fits = [&](int v) {
    return in % v == 0 && out % v == 0 && aligned(dy, v) && aligned(filter, v);
  };
  with_vector(fits, [&](auto v) {
    multiply(dx.device(), name, DenseRows<v>{dy, rows, out}, DenseColumns<v>{filter, in, out},
             epilogue_of(dx));
  });
}

void dense_weight_gradient(const char* name, const Tensor& x_map, const Tensor& dy_map,
                           const Tensor& gate, const Tensor& dw) {
  const int in = i(x_map.channels()), out = i(dy_map.channels());
  const int rows = i(out == 0 ? 0 : dy_map.pixels());
  const Pixels x = pixels_of(x_map), dy = pixels_of(dy_map, gate);
  Epilogue result{.data = dw.device_data<float>(), .stride = in};
  result.vectors = aligned(result, 4);
  const auto fits = [&](int v) {
    return in % v == 0 && out % v == 0 && aligned(x, v) && aligned(dy, v);
  };
  with_vector(fits, [&](auto v) {
    multiply(dw.device(), name, DenseColumns<v>{dy, out, rows}, DenseColumns<v>{x, in, rows},
             result);
  });
}

}  // namespace THORAX_GPU
}  // namespace thorax
