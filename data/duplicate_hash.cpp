// Local contrast and its hashes.
#include <algorithm>
#include <cmath>

#include "data/duplicate_search.h"
#include "data/resize.h"

namespace thorax::duplicates {
namespace {

constexpr int kCells = 16;
constexpr float kFloor = 0.02f;  // contrast below this share of the gray range is noise

// Mean over a square of 2 radius + 1 pixels, cut off at the border, by running sums; rows, then
// columns.
void box_mean(const std::vector<float>& in, int side, int radius, std::vector<float>& out) {
  std::vector<float> rows(in.size());
  for (int y = 0; y < side; ++y) {
    const float* from = in.data() + static_cast<std::ptrdiff_t>(y) * side;
    float* to = rows.data() + static_cast<std::ptrdiff_t>(y) * side;
    double sum = 0;
    for (int x = 0; x < std::min(radius, side); ++x) sum += static_cast<double>(from[x]);
    for (int x = 0; x < side; ++x) {
      if (x + radius < side) sum += static_cast<double>(from[x + radius]);
      if (x - radius > 0) sum -= static_cast<double>(from[x - radius - 1]);
      const int count = std::min(x + radius, side - 1) - std::max(x - radius, 0) + 1;
      to[x] = static_cast<float>(sum / count);
    }
  }
  out.resize(in.size());
  std::vector<double> sums(static_cast<std::size_t>(side), 0.0);
  const auto add_row = [&](int y, double factor) {
    const float* row = rows.data() + static_cast<std::ptrdiff_t>(y) * side;
    for (int x = 0; x < side; ++x)
      sums[static_cast<std::size_t>(x)] += factor * static_cast<double>(row[x]);
  };
  for (int y = 0; y < std::min(radius, side); ++y) add_row(y, 1);
  for (int y = 0; y < side; ++y) {
    if (y + radius < side) add_row(y + radius, 1);
    if (y - radius > 0) add_row(y - radius - 1, -1);
    const int count = std::min(y + radius, side - 1) - std::max(y - radius, 0) + 1;
    float* to = out.data() + static_cast<std::ptrdiff_t>(y) * side;
    for (int x = 0; x < side; ++x)
      to[x] = static_cast<float>(sums[static_cast<std::size_t>(x)] / count);
  }
}

// Two boxes: nearly a Gaussian of standard deviation radius * 0.85.
std::vector<float> blurred(const std::vector<float>& in, int side, int radius) {
  std::vector<float> once, twice;
  box_mean(in, side, radius, once);
  box_mean(once, side, radius, twice);
  return twice;
}

// sums[y][x]: of all values above and to the left.
std::vector<double> summed_area(const Plane& plane, bool mirrored) {
  const int side = plane.side;
  std::vector<double> sums(static_cast<std::size_t>((side + 1) * (side + 1)), 0.0);
  for (int y = 0; y < side; ++y) {
    double row = 0;
    for (int x = 0; x < side; ++x) {
      row += static_cast<double>(plane.at(y, mirrored ? side - 1 - x : x));
      sums[static_cast<std::size_t>((y + 1) * (side + 1) + x + 1)] =
          sums[static_cast<std::size_t>(y * (side + 1) + x + 1)] + row;
    }
  }
  return sums;
}

Hash hash_of(const std::vector<double>& sums, int side, const Window& window) {
  int xs[kCells + 1], ys[kCells + 1];
  for (int i = 0; i <= kCells; ++i) {
    const double share = static_cast<double>(i) / kCells;
    xs[i] =
        static_cast<int>(std::lround(side * (window.left + share * (window.right - window.left))));
    ys[i] =
        static_cast<int>(std::lround(side * (window.top + share * (window.bottom - window.top))));
  }
  const auto sum = [&](int y, int x) { return sums[static_cast<std::size_t>(y * (side + 1) + x)]; };
  double cells[kCells * kCells], mean = 0;
  for (int i = 0; i < kCells; ++i)
    for (int j = 0; j < kCells; ++j) {
      const double area = static_cast<double>(ys[i + 1] - ys[i]) * (xs[j + 1] - xs[j]);
      const double value = (sum(ys[i + 1], xs[j + 1]) - sum(ys[i], xs[j + 1]) -
                            sum(ys[i + 1], xs[j]) + sum(ys[i], xs[j])) /
                           area;
      cells[i * kCells + j] = value;
      mean += value / (kCells * kCells);
    }
  Hash hash{};
  for (std::size_t k = 0; k < kCells * kCells; ++k)
    if (cells[k] > mean) hash[k / 64] |= std::uint64_t{1} << (k % 64);
  return hash;
}

}  // namespace

Plane local_contrast(const Plane& gray) {
  const int side = gray.side, radius = std::max(1, side * 7 / kSide);
  Plane result{side, gray.values};
  const std::vector<float> mean = blurred(gray.values, side, radius);
  std::vector<float> squares(mean.size());
  for (std::size_t i = 0; i < mean.size(); ++i) {
    result.values[i] -= mean[i];
    squares[i] = result.values[i] * result.values[i];
  }
  const std::vector<float> variance = blurred(squares, side, 2 * radius);
  for (std::size_t i = 0; i < mean.size(); ++i)
    result.values[i] /= std::sqrt(std::max(variance[i], 0.f) + kFloor * kFloor);
  return result;
}

Plane halved(const Plane& plane) {
  Plane result{plane.side / 2, {}};
  result.values.resize(static_cast<std::size_t>(result.side * result.side));
  for (int y = 0; y < result.side; ++y)
    for (int x = 0; x < result.side; ++x)
      result.values[static_cast<std::size_t>(y * result.side + x)] =
          0.25f * (plane.at(2 * y, 2 * x) + plane.at(2 * y, 2 * x + 1) +
                   plane.at(2 * y + 1, 2 * x) + plane.at(2 * y + 1, 2 * x + 1));
  return result;
}

Looks looks_of(const Image& gray) {
  const ImageU8 small = to_u8(resize(to_gray(gray), kSide, kSide));
  Looks looks;
  looks.gray = small.pixels;
  looks.half = halved(local_contrast(gray_plane(looks)));
  looks.quarter = halved(looks.half);
  return looks;
}

Plane gray_plane(const Looks& looks) {
  Plane plane{kSide, std::vector<float>(looks.gray.size())};
  for (std::size_t i = 0; i < looks.gray.size(); ++i)
    plane.values[i] = static_cast<float>(looks.gray[i]) / 255.f;
  return plane;
}

const std::vector<Window>& all_windows() {
  static const std::vector<Window> windows = [] {
    constexpr double kStep = 0.07, kMost = 0.36;
    std::vector<Window> all;
    for (int top = 0; top <= 4; ++top)
      for (int left = 0; left <= 4; ++left)
        for (int bottom = 0; bottom <= 4; ++bottom)
          for (int right = 0; right <= 4; ++right)
            if (kStep * (top + bottom) <= kMost && kStep * (left + right) <= kMost)
              all.push_back({kStep * left, kStep * top, 1 - kStep * right, 1 - kStep * bottom});
    return all;
  }();
  return windows;
}

const std::vector<Window>& query_windows() {
  static const std::vector<Window> windows{
      {0, 0, 1, 1}, {0.1, 0.1, 0.9, 0.9}, {0.18, 0.18, 0.82, 0.82}};
  return windows;
}

Hashes hashes_of(const Looks& looks) {
  Hashes hashes;
  const std::vector<double> plain = summed_area(looks.half, false),
                            turned = summed_area(looks.half, true);
  for (const Window& window : all_windows())
    hashes.windows.push_back(hash_of(plain, looks.half.side, window));
  for (const Window& window : query_windows()) {
    hashes.queries.push_back(hash_of(plain, looks.half.side, window));
    hashes.mirrored.push_back(hash_of(turned, looks.half.side, window));
  }
  return hashes;
}

}  // namespace thorax::duplicates
