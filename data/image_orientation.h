// EXIF orientation: a camera or a scanner stores pixels as its sensor lay and says in a number how
// they are to be turned.
#pragma once

#include <cstdint>
#include <span>

#include "data/image.h"

namespace thorax {

// Tag 0x0112 of the first directory of a TIFF structure, 1 to 8 (EXIF 2.32, 4.6.4 A). 1 where there
// is none, or where the structure is broken: such metadata never makes a file unreadable.
int exif_orientation(std::span<const uint8_t> tiff);

// Whether rows become columns.
constexpr bool swaps_sides(int orientation) {
  return orientation >= 5;
}

// The image as it is to be seen. 1: as stored; 2: mirrored left to right; 3: turned by 180 degrees;
// 4: mirrored top to bottom; 5: mirrored at the main diagonal; 6: turned by 90 degrees clockwise;
// 7: mirrored at the other diagonal; 8: turned by 90 degrees counterclockwise.
template <class T>
Raster<T> turned(Raster<T> image, int orientation) {
  if (orientation <= 1) return image;
  const bool swap = swaps_sides(orientation);
  const int height = swap ? image.width : image.height, width = swap ? image.height : image.width;
  Raster<T> out(height, width, image.channels);
  // Where the pixel shown at (y, x) is stored.
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 6;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const int row = swap ? x : y, column = swap ? y : x;
      const int from_y = flip_y ? image.height - 1 - row : row;
      const int from_x = flip_x ? image.width - 1 - column : column;
      for (int c = 0; c < image.channels; ++c) out.at(y, x, c) = image.at(from_y, from_x, c);
    }
  return out;
}

}  // namespace thorax
