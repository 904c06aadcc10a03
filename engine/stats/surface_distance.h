// How far the outlines of two masks are apart, which Dice does not tell.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace thorax {

// Distance between the centres of neighbouring pixels, in any unit; 1 and 1: pixels.
struct PixelSpacing {
  double row = 1, column = 1;
};

struct SurfaceDistances {
  double hausdorff;          // the largest distance
  double hausdorff95;        // the larger one of the two directions' 95th percentiles
  double average_symmetric;  // mean over the outline pixels of both masks together
};

// Of two masks of height x width pixels, row after row; a pixel is set when it is not 0. A mask's
// outline are its pixels with one of the four neighbours not set or outside the image. Each outline
// pixel of one mask has a distance to the nearest outline pixel of the other; "directions" are from
// the first to the second and back. Percentiles by linear interpolation, as NumPy and MONAI 1.6
// (compute_hausdorff_distance with percentile 95, compute_average_surface_distance with
// symmetric=True). medpy differs: one percentile over both directions together.
// NaN when a mask is empty. Throws Error "[stats] ..." for sizes that do not fit and for a spacing
// that is not above 0.
SurfaceDistances surface_distances(std::span<const std::uint8_t> first,
                                   std::span<const std::uint8_t> second, std::int64_t height,
                                   std::int64_t width, PixelSpacing spacing = {});

// Squared distance of every pixel to the nearest set one, exact, in O(pixels); infinity everywhere
// when none is set. Felzenszwalb & Huttenlocher, "Distance transforms of sampled functions", 2012.
std::vector<double> squared_distances(std::span<const std::uint8_t> mask, std::int64_t height,
                                      std::int64_t width, PixelSpacing spacing = {});

}  // namespace thorax
