// The parts of the search for near-duplicates (duplicates.h): what an image looks like whatever its
// exposure, a hash of many of its windows, and the registration of two images.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/duplicates.h"
#include "data/image.h"

namespace thorax::duplicates {

// Everything is measured on images stretched to a square of this side.
inline constexpr int kSide = 256;

// A square image.
struct Plane {
  int side = 0;
  std::vector<float> values;
  float at(int y, int x) const { return values[static_cast<std::size_t>(y * side + x)]; }
};

// Local contrast: (I - mean) / sqrt(variance + 0.02^2) over a neighbourhood of about a twelfth of
// the side, zero on average in every neighbourhood, the same for any brightness and contrast.
Plane local_contrast(const Plane& gray);
Plane halved(const Plane& plane);

// What is kept of an image: 8-bit gray, and local contrast at a quarter and half the side.
struct Looks {
  std::vector<std::uint8_t> gray;  // kSide x kSide
  Plane quarter, half;
};
Looks looks_of(const Image& gray);
Plane gray_plane(const Looks& looks);

// A part of the unit square.
struct Window {
  double left = 0, top = 0, right = 1, bottom = 1;
};
// 256 bits: whether the mean of each of 16 x 16 cells of a window of the local contrast is above
// the window's mean.
using Hash = std::array<std::uint64_t, 4>;

// The windows that are hashed for every image: any 0, 7, 14, 21 or 28 % cut off at each side, at
// most 36 % of the width and of the height.
const std::vector<Window>& all_windows();
// What is looked for among them: the whole image and two central parts.
const std::vector<Window>& query_windows();

struct Hashes {
  std::vector<Hash> windows;            // all_windows()
  std::vector<Hash> queries, mirrored;  // query_windows() of the image and of its mirror image
};
Hashes hashes_of(const Looks& looks);

// Bits in which two hashes differ.
inline int distance(const Hash& a, const Hash& b) {
  int bits = 0;
  for (std::size_t i = 0; i < a.size(); ++i) bits += __builtin_popcountll(a[i] ^ b[i]);
  return bits;
}

// From a start, moves the four edges of a's square within b until the correlation of the local
// contrast is largest. Coarse: on a quarter of the side. Fine: on half of it, then at full
// resolution. `correlation` is at least 0 and, of the fine one, that of common_correlation().
struct Registered {
  Registration registration;
  double correlation = 0;
};
Registered register_coarse(const Looks& a, const Looks& b, const Registration& start);
Registered register_fine(const Looks& a, const Looks& b, const Registration& start);

// Both images cut to what they share, at the same size; in each of 8 x 8 blocks the correlation
// of their local contrast; the median of that: the figure that decides. Two exposures of one
// patient agree here and there (ribs), one exposure agrees everywhere but where it was written on.
double common_correlation(const Looks& a, const Looks& b, const Registration& registration);

}  // namespace thorax::duplicates
