// The convolutions that tests and benchmarks run: every layer of the models, and shapes that break
// kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/conv2d/conv2d.h"

namespace thorax::conv2d_cases {

struct Case {
  std::string name;
  Conv2dProblem problem;
};

namespace detail {
inline Conv2dProblem problem(std::int64_t batch, std::int64_t size, std::int64_t in,
                             std::int64_t out, std::int64_t kernel, std::int64_t stride,
                             bool bias = false, bool relu = false) {
  Conv2dProblem p;
  p.batch = batch;
  p.height = p.width = size;
  p.in_channels = in;
  p.out_channels = out;
  p.kernel_h = p.kernel_w = kernel;
  p.stride_h = p.stride_w = stride;
  p.pad_h = p.pad_w = kernel / 2;
  p.bias = bias;
  p.relu = relu;
  return p;
}

// Layers of one shape count once, under the name of the first.
inline void add_once(std::vector<Case>& cases, Case added) {
  const std::string text = added.problem.to_string();
  for (const Case& c : cases)
    if (c.problem.to_string() == text) return;
  cases.push_back(std::move(added));
}
}  // namespace detail

// The study's UNet (Table 4) on size x size images; size a multiple of 16.
inline std::vector<Case> unet(std::int64_t size, std::int64_t batch = 1) {
  std::vector<Case> cases;
  const auto add = [&](const char* name, std::int64_t divisor, std::int64_t in, std::int64_t out,
                       std::int64_t kernel = 3) {
    cases.push_back(
        {fmt::format("unet{} {}", size, name),
         detail::problem(batch, size / divisor, in, out, kernel, 1, true, kernel == 3)});
  };
  add("1a", 1, 1, 32);
  add("1b 9b", 1, 32, 32);
  add("2a", 2, 32, 64);
  add("2b 8b", 2, 64, 64);
  add("3a", 4, 64, 128);
  add("3b 7b", 4, 128, 128);
  add("4a", 8, 128, 256);
  add("4b 6b", 8, 256, 256);
  add("5a", 16, 256, 512);
  add("5b", 16, 512, 512);
  add("6a", 8, 512, 256);
  add("7a", 4, 256, 128);
  add("8a", 2, 128, 64);
  add("9a", 1, 64, 32);
  add("10", 1, 32, 1, 1);
  return cases;
}

// HRNet with branch widths w, 2w, 4w, 8w on size x size images (size a multiple of 32), with timm's
// classification head; `w18_small_v2` has the convolutions of W18 and is covered by it, fewer of
// each.
inline std::vector<Case> hrnet(std::int64_t width, std::int64_t size, std::int64_t batch,
                               std::int64_t image_channels = 3) {
  std::vector<Case> cases;
  const std::int64_t map = size / 4;  // resolution of the first branch
  const auto add = [&](const std::string& name, std::int64_t at, std::int64_t in, std::int64_t out,
                       std::int64_t kernel, std::int64_t stride = 1) {
    detail::add_once(cases, {fmt::format("hrnet{} {}", width, name),
                             detail::problem(batch, at, in, out, kernel, stride)});
  };
  add("stem 1", size, image_channels, 64, 3, 2);
  add("stem 2", size / 2, 64, 64, 3, 2);
  add("layer1 64-64 1x1", map, 64, 64, 1);
  add("layer1 3x3", map, 64, 64, 3);
  add("layer1 expand", map, 64, 256, 1);
  add("layer1 reduce", map, 256, 64, 1);
  add("transition1 0", map, 256, width, 3);
  add("transition1 1", map, 256, 2 * width, 3, 2);
  for (std::int64_t b = 0; b < 4; ++b)
    add(fmt::format("branch {}", b), map >> b, width << b, width << b, 3);
  for (std::int64_t b = 1; b < 4; ++b)
    add(fmt::format("transition to {}", b), map >> (b - 1), width << (b - 1), width << b, 3, 2);
  for (std::int64_t from = 0; from < 4; ++from) {
    for (std::int64_t to = 0; to < 4; ++to) {
      if (from > to)
        add(fmt::format("fuse {} to {}", from, to), map >> from, width << from, width << to, 1);
      for (std::int64_t step = from; step < to; ++step) {
        const bool last = step + 1 == to;
        add(fmt::format("fuse {} to {} step {}", from, to, step - from), map >> step, width << from,
            last ? width << to : width << from, 3, 2);
      }
    }
  }
  for (std::int64_t b = 0; b < 4; ++b) {
    const std::int64_t narrow = 32 << b, wide = 128 << b;
    add(fmt::format("head {} in", b), map >> b, width << b, narrow, 1);
    add(fmt::format("head {} 3x3", b), map >> b, narrow, narrow, 3);
    add(fmt::format("head {} out", b), map >> b, narrow, wide, 1);
    add(fmt::format("head {} shortcut", b), map >> b, width << b, wide, 1);
    if (b < 3) add(fmt::format("head {} down", b), map >> b, wide, 2 * wide, 3, 2);
  }
  add("head final", map >> 3, 1024, 2048, 1);
  return cases;
}

// ResNet on size x size images (size a multiple of 32): bottlenecks (50, 101, 152) or basic blocks
// (18, 34); the depths repeat the same shapes.
inline std::vector<Case> resnet(bool bottleneck, std::int64_t size, std::int64_t batch,
                                std::int64_t image_channels = 3) {
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, std::int64_t at, std::int64_t in, std::int64_t out,
                       std::int64_t kernel, std::int64_t stride = 1) {
    detail::add_once(cases, {fmt::format("{} {}", bottleneck ? "resnet152" : "resnet18", name),
                             detail::problem(batch, at, in, out, kernel, stride)});
  };
  add("stem", size, image_channels, 64, 7, 2);
  std::int64_t map = size / 4, in = 64;
  for (std::int64_t stage = 0; stage < 4; ++stage) {
    const std::int64_t width = 64 << stage, out = bottleneck ? 4 * width : width;
    const std::int64_t stride = stage == 0 ? 1 : 2, after = map / stride;
    const auto layer = [&](const char* part) { return fmt::format("layer{} {}", stage + 1, part); };
    if (bottleneck) {
      add(layer("first reduce"), map, in, width, 1);
      add(layer("first 3x3"), map, width, width, 3, stride);
      add(layer("expand"), after, width, out, 1);
      add(layer("reduce"), after, out, width, 1);
    } else {
      add(layer("first 3x3"), map, in, width, 3, stride);
    }
    if (in != out) add(layer("shortcut"), map, in, out, 1, stride);
    add(layer("3x3"), after, width, width, 3);
    map = after;
    in = out;
  }
  return cases;
}

// DenseNet121 on size x size images (size a multiple of 32).
inline std::vector<Case> densenet121(std::int64_t size, std::int64_t batch,
                                     std::int64_t image_channels = 3) {
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, std::int64_t at, std::int64_t in, std::int64_t out,
                       std::int64_t kernel, std::int64_t stride = 1) {
    detail::add_once(cases,
                     {"densenet121 " + name, detail::problem(batch, at, in, out, kernel, stride)});
  };
  constexpr std::int64_t kGrowth = 32, kLayers[] = {6, 12, 24, 16};
  add("stem", size, image_channels, 64, 7, 2);
  std::int64_t map = size / 4, channels = 64;
  for (int block = 0; block < 4; ++block) {
    for (std::int64_t layer = 0; layer < kLayers[block]; ++layer, channels += kGrowth) {
      add(fmt::format("block{} {} 1x1", block + 1, layer + 1), map, channels, 4 * kGrowth, 1);
      add(fmt::format("block{} 3x3", block + 1), map, 4 * kGrowth, kGrowth, 3);
    }
    if (block == 3) break;
    add(fmt::format("transition{}", block + 1), map, channels, channels / 2, 1);
    channels /= 2;
    map /= 2;
  }
  return cases;
}

// Small problems with every way of being special.
inline std::vector<Case> awkward() {
  std::vector<Case> cases;
  const auto add = [&](const char* name, std::int64_t batch, std::int64_t height,
                       std::int64_t width, std::int64_t in, std::int64_t out, std::int64_t kernel_h,
                       std::int64_t kernel_w, auto&&... change) {
    Conv2dProblem p;
    p.batch = batch;
    p.height = height;
    p.width = width;
    p.in_channels = in;
    p.out_channels = out;
    p.kernel_h = kernel_h;
    p.kernel_w = kernel_w;
    p.pad_h = kernel_h / 2;
    p.pad_w = kernel_w / 2;
    (change(p), ...);
    cases.push_back({name, p});
  };
  const auto bias = [](Conv2dProblem& p) { p.bias = true; };
  const auto relu = [](Conv2dProblem& p) { p.relu = true; };
  const auto stride = [](std::int64_t n) {
    return [n](Conv2dProblem& p) { p.stride_h = p.stride_w = n; };
  };
  const auto pad = [](std::int64_t n) { return [n](Conv2dProblem& p) { p.pad_h = p.pad_w = n; }; };
  const auto dilation = [](std::int64_t n) {
    return [n](Conv2dProblem& p) { p.dilation_h = p.dilation_w = n; };
  };
  const auto groups = [](std::int64_t n) { return [n](Conv2dProblem& p) { p.groups = n; }; };
  add("one pixel, one channel", 1, 1, 1, 1, 1, 1, 1);
  add("one pixel under 3x3", 1, 1, 1, 8, 8, 3, 3, bias);
  add("one channel", 2, 9, 11, 1, 32, 3, 3, bias, relu);
  add("to one channel", 2, 9, 11, 32, 1, 1, 1, bias);
  add("to one channel 3x3", 1, 6, 7, 9, 1, 3, 3);
  add("three channels, stride 2", 2, 15, 13, 3, 64, 3, 3, stride(2), bias);
  add("18 channels", 2, 14, 14, 18, 18, 3, 3);
  add("18 channels, odd size", 3, 7, 5, 18, 18, 3, 3, bias, relu);
  add("17 to 23 channels", 1, 10, 9, 17, 23, 3, 3, bias, relu);
  add("8 to 9 channels", 1, 5, 5, 8, 9, 3, 3);
  add("9 to 8 channels", 1, 6, 4, 9, 8, 3, 3, relu);
  add("7 channels", 1, 6, 6, 7, 7, 3, 3, relu, bias);
  add("36 to 72, stride 2", 2, 13, 13, 36, 72, 3, 3, stride(2), relu);
  add("no padding", 2, 9, 8, 16, 24, 3, 3, pad(0), bias, relu);
  add("wide padding", 1, 6, 6, 16, 16, 3, 3, pad(2), bias, relu);
  add("padding beyond the filter", 1, 5, 5, 16, 16, 3, 3, pad(4), bias);
  add("filter larger than the image", 1, 3, 2, 8, 8, 5, 5, bias);
  add("5x5", 1, 12, 10, 12, 20, 5, 5, relu);
  add("7x7 stride 2", 1, 19, 17, 3, 16, 7, 7, stride(2), bias, relu);
  add("1x7", 1, 8, 16, 10, 12, 1, 7);
  add("3x1", 1, 8, 9, 16, 16, 3, 1, relu);
  add("dilation 2", 1, 12, 11, 16, 24, 3, 3, dilation(2), pad(2), bias, relu);
  add("stride 2, dilation 3", 2, 17, 16, 9, 10, 3, 3, stride(2), dilation(3), pad(3));
  add("stride 3 wider than the filter", 1, 11, 11, 16, 16, 1, 1, stride(3));
  add("1x1 stride 2", 2, 9, 9, 18, 36, 1, 1, stride(2), bias);
  add("1x1 stride 2, pixels left over", 1, 16, 26, 5, 13, 1, 1, stride(2));
  add("2 groups", 1, 9, 9, 16, 32, 3, 3, groups(2), bias, relu);
  add("3 groups of odd sizes", 2, 7, 6, 15, 21, 3, 3, groups(3), stride(2), relu);
  add("depthwise", 1, 10, 10, 16, 16, 3, 3, groups(16), bias);
  add("one row", 1, 1, 33, 16, 16, 3, 3, relu);
  add("one column", 2, 33, 1, 18, 16, 3, 3, bias);
  add("empty batch", 0, 8, 8, 16, 16, 3, 3, bias, relu);
  add("empty batch, 1x1", 0, 8, 8, 3, 5, 1, 1);
  add("many channels, few tiles", 1, 8, 8, 144, 160, 3, 3, bias, relu);
  add("many tiles", 2, 41, 39, 24, 40, 3, 3, bias, relu);
  return cases;
}

// The layers of W32 and W48 that W18 does not have.
inline std::vector<Case> wider_hrnets(std::int64_t size) {
  std::vector<Case> cases;
  std::vector<std::string> seen;
  for (const std::int64_t width : {18, 32, 48}) {
    for (const Case& c : hrnet(width, size, 1)) {
      const std::string text = c.problem.to_string();
      if (std::find(seen.begin(), seen.end(), text) != seen.end()) continue;
      seen.push_back(text);
      if (width != 18) cases.push_back(c);
    }
  }
  return cases;
}

}  // namespace thorax::conv2d_cases
