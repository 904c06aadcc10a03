// Laying one image over another.
#include <algorithm>
#include <cmath>

#include "data/duplicate_search.h"

namespace thorax::duplicates {
namespace {

constexpr double kLeastOverlap = 0.3;  // of the area of each image
constexpr int kCommonSide = 128;
// Correlation on a quarter of the side below which a start leads nowhere.
constexpr double kHopeful = 0.35;
// Correlation on half of the side below which full resolution is not tried.
constexpr double kWorthFullResolution = 0.65;

Plane mirror(const Plane& plane) {
  Plane result{plane.side, plane.values};
  for (int y = 0; y < plane.side; ++y) {
    const auto row = result.values.begin() + static_cast<std::ptrdiff_t>(y) * plane.side;
    std::reverse(row, row + plane.side);
  }
  return result;
}

// Sums of a correlation.
struct Sums {
  double a = 0, b = 0, aa = 0, bb = 0, ab = 0, count = 0;
  void add(double x, double y) {
    a += x;
    b += y;
    aa += x * x;
    bb += y * y;
    ab += x * y;
    ++count;
  }
  double least_variance() const { return std::min(aa - a * a / count, bb - b * b / count) / count; }
  double correlation() const {
    if (count == 0) return 0;
    const double va = aa - a * a / count, vb = bb - b * b / count, cov = ab - a * b / count;
    return va > 1e-9 && vb > 1e-9 ? cov / std::sqrt(va * vb) : 0;
  }
};

// A row's share of the sums, in float while it is short.
struct Part {
  float a = 0, b = 0, aa = 0, bb = 0, ab = 0;
  int count = 0;
  // `corner`: the upper left of four pixels of an image of this side; the shares of the right and
  // the lower ones.
  void add(float u, const float* corner, int side, float right, float lower) {
    const float top = corner[0] + right * (corner[1] - corner[0]);
    const float bottom = corner[side] + right * (corner[side + 1] - corner[side]);
    const float v = top + lower * (bottom - top);
    a += u;
    b += v;
    aa += u * u;
    bb += v * v;
    ab += u * v;
    ++count;
  }
  void into(Sums& sums) const {
    sums.a += static_cast<double>(a);
    sums.b += static_cast<double>(b);
    sums.aa += static_cast<double>(aa);
    sums.bb += static_cast<double>(bb);
    sums.ab += static_cast<double>(ab);
    sums.count += count;
  }
};

// Where a pixel of one axis of a lies in b: the lower of two neighbours, -1 outside, and the share
// of the other.
struct Spot {
  int low = -1;
  float share = 0;
};
void place(double begin, double end, int side, std::vector<Spot>& spots) {
  spots.assign(static_cast<std::size_t>(side), {});
  for (int i = 0; i < side; ++i) {
    const double at = (begin + (end - begin) * (i + 0.5) / side) * side - 0.5;
    if (!(at >= 0 && at < side - 1)) continue;
    const int low = static_cast<int>(at);
    spots[static_cast<std::size_t>(i)] = {low, static_cast<float>(at - low)};
  }
}

class Search {
 public:
  Search(const Plane& a, const Plane& b, bool inverted) : a_(a), b_(b), sign_(inverted ? -1 : 1) {}

  // The correlation where both overlap; -1 where that is too little.
  double value(const Registration& r) {
    const double overlap = r.overlap();
    if (overlap < kLeastOverlap ||
        overlap * (r.right - r.left) * (r.bottom - r.top) < kLeastOverlap)
      return -1;
    return sign_ * (r.skew_x == 0 && r.skew_y == 0 ? upright(r) : skewed(r)).correlation();
  }

  // Steps in units of the side: each edge by itself, both of an axis together and, with `skews`,
  // each skew and a rotation, while that helps; then half the step. Gives up where the first step
  // does not lead to `hopeful`.
  Registered climb(Registered best, double step, double last_step, bool skews,
                   double hopeful = -1) {
    constexpr int kRounds = 12;
    constexpr double kMostSkew = 0.15;
    const int moves = skews ? 18 : 12;
    best.correlation = value(best.registration);
    for (; step >= last_step; step /= 2) {
      for (int round = 0; round < kRounds; ++round) {
        bool better = false;
        for (int move = 0; move < moves; ++move) {
          const double by = move % 2 == 0 ? step : -step;
          Registration r = best.registration;
          const int what = move / 2;
          if (what == 0 || what == 2) r.left += by;
          if (what == 1 || what == 2) r.right += by;
          if (what == 3 || what == 5) r.top += by;
          if (what == 4 || what == 5) r.bottom += by;
          if (what == 6 || what == 8) r.skew_x += by;
          if (what == 7) r.skew_y += by;
          if (what == 8) r.skew_y -= by;
          if (std::max(std::abs(r.skew_x), std::abs(r.skew_y)) > kMostSkew) continue;
          if (r.right - r.left < 0.3 || r.bottom - r.top < 0.3) continue;
          const double found = value(r);
          if (found > best.correlation) {
            best = {r, found};
            better = true;
          }
        }
        if (!better) break;
      }
      if (best.correlation < hopeful) break;
    }
    return best;
  }

 private:
  // Without skews: columns and rows are placed once each.
  Sums upright(const Registration& r) {
    const int side = a_.side;
    place(r.left, r.right, side, x_);
    place(r.top, r.bottom, side, y_);
    Sums sums;
    for (int y = 0; y < side; ++y) {
      const Spot row = y_[static_cast<std::size_t>(y)];
      if (row.low < 0) continue;
      const float* up = b_.values.data() + static_cast<std::ptrdiff_t>(row.low) * side;
      Part part;
      for (int x = 0; x < side; ++x) {
        const Spot column = x_[static_cast<std::size_t>(x)];
        if (column.low >= 0) part.add(a_.at(y, x), up + column.low, side, column.share, row.share);
      }
      part.into(sums);
    }
    return sums;
  }

  Sums skewed(const Registration& r) const {
    const int side = a_.side;
    const auto pixels = static_cast<float>(side);
    const auto slope_x = static_cast<float>(r.skew_x), slope_y = static_cast<float>(r.skew_y);
    const auto step = static_cast<float>(r.right - r.left);
    const auto begin = static_cast<float>(r.left + 0.5 * (r.right - r.left) / side) * pixels - 0.5f;
    const float last = pixels - 1;
    Sums sums;
    for (int y = 0; y < side; ++y) {
      const float from_middle = static_cast<float>(y) + 0.5f - 0.5f * pixels;
      const float row_x = begin + slope_x * from_middle;
      const float row_y =
          static_cast<float>(r.top + (r.bottom - r.top) * (y + 0.5) / side) * pixels - 0.5f +
          slope_y * (0.5f - 0.5f * pixels);
      const float* row = a_.values.data() + static_cast<std::ptrdiff_t>(y) * side;
      Part part;
      for (int x = 0; x < side; ++x) {
        const float bx = row_x + step * static_cast<float>(x),
                    by = row_y + slope_y * static_cast<float>(x);
        if (!(bx >= 0 && bx < last && by >= 0 && by < last)) continue;
        const int j = static_cast<int>(bx), i = static_cast<int>(by);
        part.add(row[x], b_.values.data() + static_cast<std::ptrdiff_t>(i) * side + j, side,
                 bx - static_cast<float>(j), by - static_cast<float>(i));
      }
      part.into(sums);
    }
    return sums;
  }

  const Plane& a_;
  const Plane& b_;
  double sign_;
  std::vector<Spot> x_, y_;
};

// The plane at `side` x `side` points: where(x, y) of the unit square for each (x, y) in 0..1.
template <class Where>
Plane sampled(const Plane& plane, int side, const Where& where) {
  Plane result{side, std::vector<float>(static_cast<std::size_t>(side * side))};
  const auto pixel = [&](double at) {
    return std::clamp(at * plane.side - 0.5, 0.0, plane.side - 1.000001);
  };
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x) {
      const auto [at_x, at_y] = where((x + 0.5) / side, (y + 0.5) / side);
      const double u = pixel(at_x), v = pixel(at_y);
      const int j = static_cast<int>(u), i = static_cast<int>(v);
      const auto t = static_cast<float>(u - j), s = static_cast<float>(v - i);
      const float above = plane.at(i, j) + t * (plane.at(i, j + 1) - plane.at(i, j));
      const float below = plane.at(i + 1, j) + t * (plane.at(i + 1, j + 1) - plane.at(i + 1, j));
      result.values[static_cast<std::size_t>(y * side + x)] = above + s * (below - above);
    }
  return result;
}

// The median over blocks of their own correlation, of blocks with something to see in both.
double block_median(const Plane& u, const Plane& v, double sign) {
  constexpr int kBlock = 16;
  constexpr double kLeastVariance = 0.05;  // local contrast has about 1
  std::vector<double> values;
  for (int top = 0; top + kBlock <= u.side; top += kBlock)
    for (int left = 0; left + kBlock <= u.side; left += kBlock) {
      Sums sums;
      for (int y = top; y < top + kBlock; ++y)
        for (int x = left; x < left + kBlock; ++x)
          sums.add(static_cast<double>(u.at(y, x)), static_cast<double>(v.at(y, x)));
      if (sums.least_variance() >= kLeastVariance) values.push_back(sign * sums.correlation());
    }
  constexpr std::size_t kEnough = 20;
  if (values.size() < kEnough) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return std::max(0.0, *middle);
}

}  // namespace

Registered register_coarse(const Looks& a, const Looks& b, const Registration& start) {
  const Plane turned = start.mirrored ? mirror(a.quarter) : Plane{};
  return Search(start.mirrored ? turned : a.quarter, b.quarter, start.inverted)
      .climb({start, 0}, 0.032, 0.008, false, kHopeful);
}

Registered register_fine(const Looks& a, const Looks& b, const Registration& start) {
  const Plane turned = start.mirrored ? mirror(a.half) : Plane{};
  Registered best = Search(start.mirrored ? turned : a.half, b.half, start.inverted)
                        .climb({start, 0}, 0.016, 0.004, true);
  if (best.correlation < kWorthFullResolution) return {best.registration, 0};
  Plane full = local_contrast(gray_plane(a));
  if (start.mirrored) full = mirror(full);
  best =
      Search(full, local_contrast(gray_plane(b)), start.inverted).climb(best, 0.004, 0.0005, true);
  best.correlation = common_correlation(a, b, best.registration);
  return best;
}

double common_correlation(const Looks& a, const Looks& b, const Registration& r) {
  // What both show, in the coordinates of a (mirrored if need be) and of b.
  const double width = r.right - r.left, height = r.bottom - r.top;
  const double left = std::max(0.0, -r.left / width), right = std::min(1.0, (1 - r.left) / width);
  const double top = std::max(0.0, -r.top / height), bottom = std::min(1.0, (1 - r.top) / height);
  if (right <= left || bottom <= top) return 0;
  Plane plane = gray_plane(a);
  if (r.mirrored) plane = mirror(plane);
  using Point = std::pair<double, double>;
  const auto in_a = [&](double x, double y) {
    return Point(left + (right - left) * x, top + (bottom - top) * y);
  };
  const auto in_b = [&](double x, double y) {
    const auto [u, v] = in_a(x, y);
    return Point(r.left + width * u + r.skew_x * (v - 0.5),
                 r.top + height * v + r.skew_y * (u - 0.5));
  };
  const Plane u = local_contrast(sampled(plane, kCommonSide, in_a));
  const Plane v = local_contrast(sampled(gray_plane(b), kCommonSide, in_b));
  return block_median(u, v, r.inverted ? -1 : 1);
}

}  // namespace thorax::duplicates
