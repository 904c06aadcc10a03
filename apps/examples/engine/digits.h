// Digits as a clock shows them, seven segments each, somewhere in a 16 x 16 image.
#pragma once

#include <thorax/thorax.h>

struct Digits {
  thorax::Tensor images;  // N x 16 x 16 x 1: the digit in noise
  thorax::Tensor masks;   // N x 16 x 16 x 1: 1 where it is
  thorax::Tensor labels;  // N
};

inline Digits draw_digits(std::int64_t count, double noise, std::uint64_t seed) {
  using namespace thorax;
  // Bits: top, upper left, upper right, middle, lower left, lower right, bottom.
  constexpr unsigned kSegments[] = {0x77, 0x24, 0x5d, 0x6d, 0x2e, 0x6b, 0x7b, 0x25, 0x7f, 0x6f};
  struct Line {
    int x, y, width, height;
  };
  constexpr Line kLines[] = {{0, 0, 5, 1}, {0, 0, 1, 5}, {4, 0, 1, 5}, {0, 4, 5, 1},
                             {0, 4, 1, 5}, {4, 4, 1, 5}, {0, 8, 5, 1}};
  const Shape shape{count, 16, 16, 1};
  Digits digits{Tensor::empty(shape), Tensor::zeros(shape), Tensor::empty({count}, DType::i64)};
  Philox random(seed, 0);
  for (std::int64_t n = 0; n < count; ++n) {
    const auto digit = random.below(10), left = random.below(12), top = random.below(8);
    digits.labels.data<std::int64_t>()[n] = static_cast<std::int64_t>(digit);
    float* mask = digits.masks.data<float>() + n * 256;
    for (unsigned s = 0; s < 7; ++s) {
      const Line& line = kLines[s];
      for (int y = 0; kSegments[digit] >> s & 1 && y < line.height; ++y)
        std::fill_n(mask + (top + line.y + y) * 16 + left + line.x, line.width, 1.0f);
    }
    for (int i = 0; i < 256; ++i)
      digits.images.data<float>()[n * 256 + i] =
          mask[i] + static_cast<float>(noise * random.normal());
  }
  return digits;
}
