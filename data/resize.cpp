#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

// For each output position, the first input position and the weights of `taps` positions.
struct FilterTable {
  int taps = 0;
  std::vector<int> first;
  std::vector<int> count;
  std::vector<float> weights;  // [out][taps]
};

FilterTable triangle_table(int in, int out) {
  const double scale = static_cast<double>(in) / out;
  const double support = std::max(scale, 1.0);
  FilterTable table;
  table.taps = static_cast<int>(std::ceil(support)) * 2 + 1;
  table.first.resize(out);
  table.count.resize(out);
  table.weights.assign(static_cast<size_t>(out) * table.taps, 0.f);
  std::vector<double> w(table.taps);
  for (int i = 0; i < out; ++i) {
    const double center = scale * (i + 0.5);
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int last = std::min(in, static_cast<int>(center + support + 0.5));
    const int count = std::min(last - first, table.taps);
    double sum = 0;
    for (int j = 0; j < count; ++j) {
      w[j] = std::max(0.0, 1.0 - std::abs((first + j + 0.5 - center) / support));
      sum += w[j];
    }
    table.first[i] = first;
    table.count[i] = count;
    for (int j = 0; j < count; ++j)
      table.weights[static_cast<size_t>(i) * table.taps + j] = static_cast<float>(w[j] / sum);
  }
  return table;
}

// The smallest size of the same proportions that covers height x width.
std::pair<int, int> covering_size(int in_height, int in_width, int height, int width) {
  const double scale =
      std::max(static_cast<double>(height) / in_height, static_cast<double>(width) / in_width);
  return {std::max(height, static_cast<int>(std::lround(in_height * scale))),
          std::max(width, static_cast<int>(std::lround(in_width * scale)))};
}

void check_sizes(int in_height, int in_width, int channels, int height, int width) {
  THORAX_CHECK(in_height > 0 && in_width > 0 && channels > 0 && height > 0 && width > 0,
               "[resize] {}x{}x{} to {}x{}: sizes must be positive", in_height, in_width, channels,
               height, width);
}

// Columns first: that pass streams whole rows and vectorises, and leaves fewer rows for the other.
Image resize_rows(const Image& image, int height) {
  if (height == image.height) return image;
  const FilterTable table = triangle_table(image.height, height);
  Image out(height, image.width, image.channels);
  const int n = image.width * image.channels;
  for (int y = 0; y < height; ++y) {
    float* to = out.row(y);
    for (int j = 0; j < table.count[y]; ++j) {
      const float w = table.weights[static_cast<size_t>(y) * table.taps + j];
      const float* from = image.row(table.first[y] + j);
      for (int i = 0; i < n; ++i) to[i] += w * from[i];
    }
  }
  return out;
}

template <int kChannels>
void resize_columns_of(const Image& image, const FilterTable& table, Image& out) {
  const int channels = kChannels ? kChannels : image.channels;
  for (int y = 0; y < image.height; ++y) {
    const float* row = image.row(y);
    float* to = out.row(y);
    for (int x = 0; x < out.width; ++x) {
      const float* w = table.weights.data() + static_cast<size_t>(x) * table.taps;
      const float* from = row + static_cast<ptrdiff_t>(table.first[x]) * channels;
      const int count = table.count[x];
      for (int c = 0; c < channels; ++c) {
        float sum = 0;
        for (int j = 0; j < count; ++j)
          sum += w[j] * from[static_cast<ptrdiff_t>(j) * channels + c];
        *to++ = sum;
      }
    }
  }
}

Image resize_columns(const Image& image, int width) {
  if (width == image.width) return image;
  const FilterTable table = triangle_table(image.width, width);
  Image out(image.height, width, image.channels);
  if (image.channels == 1)
    resize_columns_of<1>(image, table, out);
  else
    resize_columns_of<0>(image, table, out);
  return out;
}

}  // namespace

Image resize(const Image& image, int height, int width) {
  check_sizes(image.height, image.width, image.channels, height, width);
  return resize_columns(resize_rows(image, height), width);
}

ImageU8 resize_nearest(const ImageU8& image, int height, int width) {
  check_sizes(image.height, image.width, image.channels, height, width);
  const auto source = [](int i, int in, int out) {
    return std::min(in - 1, static_cast<int>((static_cast<int64_t>(2 * i + 1) * in) / (2LL * out)));
  };
  std::vector<int> columns(width);
  for (int x = 0; x < width; ++x) columns[x] = source(x, image.width, width) * image.channels;
  ImageU8 out(height, width, image.channels);
  for (int y = 0; y < height; ++y) {
    const uint8_t* from = image.row(source(y, image.height, height));
    uint8_t* to = out.row(y);
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < image.channels; ++c) *to++ = from[columns[x] + c];
  }
  return out;
}

Image resize_and_center_crop(const Image& image, int height, int width) {
  check_sizes(image.height, image.width, image.channels, height, width);
  const auto [h, w] = covering_size(image.height, image.width, height, width);
  return crop(resize(image, h, w), (h - height) / 2, (w - width) / 2, height, width);
}

ImageU8 resize_nearest_and_center_crop(const ImageU8& image, int height, int width) {
  check_sizes(image.height, image.width, image.channels, height, width);
  const auto [h, w] = covering_size(image.height, image.width, height, width);
  return crop(resize_nearest(image, h, w), (h - height) / 2, (w - width) / 2, height, width);
}

}  // namespace thorax
