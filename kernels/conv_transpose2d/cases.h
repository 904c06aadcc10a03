// The transposed convolutions that tests and benchmarks run: every layer of the models, and shapes
// that break kernels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/conv_transpose2d/conv_transpose2d.h"

namespace thorax::conv_transpose2d_cases {

struct Case {
  std::string name;
  ConvTranspose2dProblem problem;
};

// The four 2x2 stride-2 up-convolutions of the study's UNet (Table 4) on size x size images.
inline std::vector<Case> unet(std::int64_t size, std::int64_t batch = 1) {
  std::vector<Case> cases;
  std::int64_t map = size / 16;
  const std::int64_t channels[] = {512, 256, 128, 64, 32};
  for (int i = 0; i < 4; ++i, map *= 2) {
    ConvTranspose2dProblem p;
    p.batch = batch;
    p.height = p.width = map;
    p.in_channels = channels[i];
    p.out_channels = channels[i + 1];
    p.kernel_h = p.kernel_w = p.stride_h = p.stride_w = 2;
    p.bias = true;
    cases.push_back({fmt::format("unet{} up {}", size, i + 1), p});
  }
  return cases;
}

inline std::vector<Case> awkward() {
  std::vector<Case> cases;
  const auto add = [&](const char* name, std::int64_t batch, std::int64_t height,
                       std::int64_t width, std::int64_t in, std::int64_t out, std::int64_t kernel,
                       std::int64_t stride, std::int64_t pad, auto&&... change) {
    ConvTranspose2dProblem p;
    p.batch = batch;
    p.height = height;
    p.width = width;
    p.in_channels = in;
    p.out_channels = out;
    p.kernel_h = p.kernel_w = kernel;
    p.stride_h = p.stride_w = stride;
    p.pad_h = p.pad_w = pad;
    (change(p), ...);
    cases.push_back({name, p});
  };
  const auto bias = [](ConvTranspose2dProblem& p) { p.bias = true; };
  const auto extra = [](ConvTranspose2dProblem& p) { p.extra_h = p.extra_w = 1; };
  const auto groups = [](ConvTranspose2dProblem& p) { p.groups = 3; };
  const auto dilation = [](ConvTranspose2dProblem& p) { p.dilation_h = p.dilation_w = 2; };
  add("one pixel, one channel", 1, 1, 1, 1, 1, 1, 1, 0);
  add("one channel", 2, 5, 7, 1, 4, 2, 2, 0, bias);
  add("to one channel", 2, 5, 7, 9, 1, 2, 2, 0, bias);
  add("18 channels", 2, 7, 6, 18, 18, 2, 2, 0, bias);
  add("overlapping 3x3 stride 2", 2, 6, 5, 16, 24, 3, 2, 1, bias);
  add("output padding", 1, 6, 5, 10, 12, 3, 2, 1, extra, bias);
  add("output padding of a whole stride", 1, 6, 5, 8, 12, 2, 1, 0, extra, dilation, bias);
  add("4x4 stride 2", 1, 6, 6, 12, 20, 4, 2, 1);
  add("3x3 stride 1", 1, 8, 9, 8, 9, 3, 1, 1, bias);
  add("gaps: stride 3, 2x2", 1, 4, 5, 8, 16, 2, 3, 0, bias);
  add("dilation", 1, 6, 7, 8, 8, 3, 2, 2, dilation);
  add("3 groups", 2, 5, 4, 12, 15, 3, 2, 0, groups, bias);
  add("empty batch", 0, 5, 4, 12, 15, 2, 2, 0, bias);
  add("many pixels", 2, 31, 17, 40, 24, 2, 2, 0, bias);
  return cases;
}

}  // namespace thorax::conv_transpose2d_cases
