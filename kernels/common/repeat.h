// One row of pixels repeated, and summed back, by a whole factor: nearest-neighbour upsampling and
// its gradient along the width.
#pragma once

#include <cstdint>

#include "kernels/common/lanes.h"

namespace thorax::lanes {

// to[q] = from[q / factor] for q in [0, width * factor); pixels of `channels` floats, `from_stride`
// and `to_stride` floats apart.
inline void repeat_row(const float* from, std::int64_t from_stride, std::int64_t width,
                       std::int64_t factor, std::int64_t channels, float* to,
                       std::int64_t to_stride) {
  for (std::int64_t w = 0; w < width; ++w, from += from_stride)
    for (std::int64_t r = 0; r < factor; ++r, to += to_stride)
      for_lanes_overlapped(channels,
                           [=]<class V>(std::int64_t i) { store(to + i, load<V>(from + i)); });
}

// to[w] = from[w * factor] + ... + from[w * factor + factor - 1], added in this order; `from`
// dense.
inline void sum_row(const float* from, std::int64_t width, std::int64_t factor,
                    std::int64_t channels, float* to, std::int64_t to_stride) {
  for (std::int64_t w = 0; w < width; ++w, to += to_stride, from += factor * channels)
    for_lanes_overlapped(channels, [=]<class V>(std::int64_t i) {
      V sum = load<V>(from + i);
      for (std::int64_t r = 1; r < factor; ++r) sum += load<V>(from + r * channels + i);
      store(to + i, sum);
    });
}

// A row of pixels as consecutive floats: the row itself, or gathered in `buffer`.
inline const float* dense_row(const float* from, std::int64_t stride, std::int64_t width,
                              std::int64_t channels, float* buffer) {
  if (stride == channels) return from;
  repeat_row(from, stride, width, 1, channels, buffer, channels);
  return buffer;
}

}  // namespace thorax::lanes
