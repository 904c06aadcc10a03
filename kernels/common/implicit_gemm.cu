// Convolution, its adjoint and its filter gradient: shapes to products to launches. The kernels are
// gemm_tile.cuh's, with the sources of implicit_gemm_sources.cuh.
#include <numeric>

#include "kernels/common/gemm_launch.cuh"
#include "kernels/common/gemm_tile.cuh"
#include "kernels/common/gpu_gemm.cuh"
#include "kernels/common/implicit_gemm_sources.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

int i(std::int64_t v) {
  return static_cast<int>(v);
}

// Few columns want tall tiles. Vectors of less than 4: two shapes are enough.
template <int V, class Problem>
void launch_for_pixels(Device device, const Problem& problem, const char* name, int rows,
                       int products, std::int64_t pixels, ChannelParts* statistics = nullptr) {
  if constexpr (V == 4) {
    launch_best<LargeTile, MediumTile, SmallTile, TallTile>(device, problem, name, rows, products,
                                                            pixels, statistics);
  } else {
    launch_best<SmallTile, TallTile>(device, problem, name, rows, products, pixels, statistics);
  }
}

// Patches that neither overlap nor leave gaps (2 x 2 with stride 2): row m of the product is all of
// patch m, (r, s, c) its columns, and the filter is the right matrix as it lies in memory.
bool side_by_side(const ConvShape& s) {
  return s.kernel_h == s.stride_h && s.kernel_w == s.stride_w && s.taps() > 1 && s.pad_h == 0 &&
         s.pad_w == 0 && s.dilation_h == 1 && s.dilation_w == 1 &&
         s.height == s.out_height * s.stride_h && s.width == s.out_width * s.stride_w;
}

void patch_adjoint(const char* name, const ConvShape& s, const Tensor& y_map, const Tensor& gate,
                   const Tensor& w, const Tensor& bias, const Tensor& x) {
  const int rows = i(s.out_pixels()), columns = i(s.taps() * s.channels), depth = i(s.out_channels);
  const Pixels y = pixels_of(y_map, gate), filter{w.device_data<float>(), columns, nullptr, 0};
  Epilogue result = epilogue_of(x, bias);
  result.vectors = result.vectors && s.channels % 4 == 0;
  result.patches = {i(s.out_width), i(s.kernel_h), i(s.kernel_w), i(s.channels)};
  const auto fits = [&](int v) {
    return depth % v == 0 && columns % v == 0 && aligned(y, v) && aligned(filter, v);
  };
  with_vector(fits, [&](auto v) {
    using Problem = Product<DenseRows<v>, DenseColumns<v>>;
    const Problem problem{.left = {y, rows, depth},
                          .right = {filter, columns, depth},
                          .result = result,
                          .rows_at = {},
                          .rows = rows,
                          .columns = columns,
                          .depth = depth,
                          .part = 0,
                          .part_elements = 0};
    launch_for_pixels<v>(x.device(), problem, name, rows, 1, rows);
  });
}

}  // namespace

bool supported(const ConvShape& s) {
  constexpr std::int64_t limit = std::int64_t{1} << 29;
  return s.groups == 1 && s.pixels() < limit && s.out_pixels() < limit &&
         s.taps() * std::max(s.channels, s.out_channels) < limit &&
         s.taps() * s.channels * s.out_channels < limit && s.pad_h < limit && s.pad_w < limit &&
         s.kernel_h * s.dilation_h < limit && s.kernel_w * s.dilation_w < limit;
}

void conv_forward(const char* name, const ConvShape& s, const Tensor& x_map, const Tensor& w_map,
                  const Tensor& bias, const Tensor& residual, bool relu, const Tensor& y,
                  ChannelParts* statistics) {
  const Pixels x = pixels_of(x_map);
  const float* const w = w_map.device_data<float>();
  const int rows = i(s.out_pixels()), depth = i(s.taps() * s.channels);
  with_vector([&](int v) { return s.channels % v == 0 && aligned(x, v) && aligned(w, 0, v); },
              [&](auto v) {
                using Problem = Product<GatherRows<v>, DenseRows<v>>;
                const Problem problem{.left = {.source = x,
                                               .height = i(s.height),
                                               .width = i(s.width),
                                               .channels = i(s.channels),
                                               .rows = rows,
                                               .rows_h = i(s.out_height),
                                               .rows_w = i(s.out_width),
                                               .step_h = i(s.stride_h),
                                               .step_w = i(s.stride_w),
                                               .start_h = i(-s.pad_h),
                                               .start_w = i(-s.pad_w),
                                               .taps_h = i(s.kernel_h),
                                               .taps_w = i(s.kernel_w),
                                               .tap_h = i(s.dilation_h),
                                               .tap_w = i(s.dilation_w)},
                                      .right = {{w, depth, nullptr, 0}, i(s.out_channels), depth},
                                      .result = epilogue_of(y, bias, residual, relu),
                                      .rows_at = {},
                                      .rows = rows,
                                      .columns = i(s.out_channels),
                                      .depth = depth,
                                      .part = 0,
                                      .part_elements = 0};
                launch_for_pixels<v>(y.device(), problem, name, rows, 1, rows, statistics);
              });
}

void conv_adjoint(const char* name, const ConvShape& s, const Tensor& y_map, const Tensor& gate,
                  const Tensor& w_map, const Tensor& bias, const Tensor& x) {
  if (side_by_side(s)) return patch_adjoint(name, s, y_map, gate, w_map, bias, x);
  const Pixels y = pixels_of(y_map, gate);
  const float* const w = w_map.device_data<float>();
  const auto axis = [&](std::int64_t extent, std::int64_t stride, std::int64_t pad,
                        std::int64_t dilation, std::int64_t kernel) {
    const std::int64_t next = stride / std::gcd(stride, dilation);
    return AdjointAxis{
        i(extent), i(stride), i(pad), i(dilation), i(kernel), i(next), i(dilation * next / stride)};
  };
  const AdjointAxis vertical = axis(s.height, s.stride_h, s.pad_h, s.dilation_h, s.kernel_h);
  const AdjointAxis horizontal = axis(s.width, s.stride_w, s.pad_w, s.dilation_w, s.kernel_w);
  const auto largest = [](const AdjointAxis& a) { return (a.extent + a.stride - 1) / a.stride; };
  const auto deepest = [](const AdjointAxis& a) { return (a.kernel + a.next - 1) / a.next; };
  const auto fits = [&](int v) {
    return s.channels % v == 0 && s.out_channels % v == 0 && aligned(y, v) && aligned(w, 0, v);
  };
  with_vector(fits, [&](auto v) {
    Adjoint<v> problem{};
    problem.product.left = {.source = y,
                            .height = i(s.out_height),
                            .width = i(s.out_width),
                            .channels = i(s.out_channels),
                            .rows = 0,
                            .rows_h = 0,
                            .rows_w = 0,
                            .step_h = 1,
                            .step_w = 1,
                            .start_h = 0,
                            .start_w = 0,
                            .taps_h = 0,
                            .taps_w = 0,
                            .tap_h = -vertical.step,
                            .tap_w = -horizontal.step};
    problem.product.right = {.filter = w,
                             .kernel_h = i(s.kernel_h),
                             .kernel_w = i(s.kernel_w),
                             .outputs = i(s.out_channels),
                             .extent = i(s.channels),
                             .taps_h = 0,
                             .taps_w = 0,
                             .first_h = 0,
                             .first_w = 0,
                             .next_h = vertical.next,
                             .next_w = horizontal.next};
    problem.product.rows_at = {.rows_h = 0,
                               .rows_w = 0,
                               .step_h = vertical.stride,
                               .step_w = horizontal.stride,
                               .start_h = 0,
                               .start_w = 0,
                               .height = vertical.extent,
                               .width = horizontal.extent};
    problem.product.columns = problem.columns = i(s.channels);
    problem.vertical = vertical;
    problem.horizontal = horizontal;
    problem.batch = i(s.batch);
    problem.depth = deepest(vertical) * deepest(horizontal) * i(s.out_channels);
    problem.result = epilogue_of(x, bias);
    launch_for_pixels<v>(x.device(), problem, name,
                         i(s.batch) * largest(vertical) * largest(horizontal),
                         vertical.stride * horizontal.stride, s.pixels());
  });
}

void conv_filter_gradient(const char* name, const ConvShape& s, const Tensor& x_map,
                          const Tensor& dy_map, const Tensor& gate, const Tensor& dw) {
  const Pixels x = pixels_of(x_map), dy = pixels_of(dy_map, gate);
  const int rows = i(s.out_channels), columns = i(s.taps() * s.channels), depth = i(s.out_pixels());
  Epilogue result{.data = dw.device_data<float>(), .stride = columns};
  result.vectors = aligned(result, 4);
  const auto fits = [&](int v) {
    return s.channels % v == 0 && s.out_channels % v == 0 && aligned(x, v) && aligned(dy, v);
  };
  with_vector(fits, [&](auto v) {
    using Problem = Product<DenseColumns<v>, GatherColumns<v>>;
    const Problem problem{.left = {dy, rows, depth},
                          .right = {.source = x,
                                    .height = i(s.height),
                                    .width = i(s.width),
                                    .channels = i(s.channels),
                                    .batch = i(s.batch),
                                    .out_height = i(s.out_height),
                                    .out_width = i(s.out_width),
                                    .extent = columns,
                                    .kernel_w = i(s.kernel_w),
                                    .stride_h = i(s.stride_h),
                                    .stride_w = i(s.stride_w),
                                    .pad_h = i(s.pad_h),
                                    .pad_w = i(s.pad_w),
                                    .dilation_h = i(s.dilation_h),
                                    .dilation_w = i(s.dilation_w)},
                          .result = result,
                          .rows_at = {},
                          .rows = rows,
                          .columns = columns,
                          .depth = depth,
                          .part = 0,
                          .part_elements = 0};
    if constexpr (v == 4) {
      launch_best<LargeTile, MediumTile, SmallTile, FlatTile>(dw.device(), problem, name, rows, 1,
                                                              rows);
    } else {
      launch_best<SmallTile, FlatTile>(dw.device(), problem, name, rows, 1, rows);
    }
  });
}

void channel_sums(const Tensor& map, const Tensor& gate, const Tensor& sums) {
  column_sums(sums.device(), pixels_of(map, gate), i(map.pixels()), i(map.channels()),
              sums.device_data<float>());
}

}  // namespace THORAX_GPU
}  // namespace thorax
