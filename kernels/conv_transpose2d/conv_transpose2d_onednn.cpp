// The vendor's transposed convolution on the CPU: provider "onednn", to compare with. A transposed
// convolution is the data gradient of the convolution that maps its output to its input, and that
// is how oneDNN's own deconvolution runs, too; so it is conv2d's provider "onednn" with the passes
// changed round.
#include <vector>

#include "kernels/conv_transpose2d/adjoint.h"

namespace thorax {
namespace {

const Conv2dProvider& convolution() {
  return conv2d_providers().named("onednn", DeviceKind::cpu);
}

void forward(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& y) {
  if (y.numel() == 0) return;
  convolution().backward_data(adjoint(p), x, w, {}, y);
  if (!bias.defined()) return;
  const float* b = bias.data<float>();
  for (std::int64_t i = 0; i < y.pixels(); ++i) {
    float* pixel = y.data<float>() + i * y.pixel_stride();
    for (std::int64_t k = 0; k < p.out_channels; ++k) pixel[k] += b[k];
  }
}

void backward_data(const ConvTranspose2dProblem& p, const Tensor& dy, const Tensor& w,
                   const Tensor& dx) {
  convolution().forward(adjoint(p), dy, w, {}, {}, dx);
}

void backward_filter(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& dy,
                     const Tensor& dw, const Tensor& dbias) {
  convolution().backward_filter(adjoint(p), dy, x, {}, dw, {});
  if (!dbias.defined()) return;
  std::vector<double> sums(static_cast<std::size_t>(p.out_channels));
  for (std::int64_t i = 0; i < dy.pixels(); ++i) {
    const float* pixel = dy.data<float>() + i * dy.pixel_stride();
    for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += pixel[k];
  }
  for (std::size_t k = 0; k < sums.size(); ++k)
    dbias.data<float>()[k] = static_cast<float>(sums[k]);
}

}  // namespace

THORAX_PROVIDER(conv_transpose2d_onednn, conv_transpose2d_providers(),
                {.name = "onednn",
                 .device = DeviceKind::cpu,
                 .priority =
                     [](const ConvTranspose2dProblem& p) {
                       return adjoint_fits(p) && convolution().priority(adjoint(p)) >= 0 ? 10 : -1;
                     },
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter});

}  // namespace thorax
