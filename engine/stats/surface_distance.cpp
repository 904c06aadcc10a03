#include "engine/stats/surface_distance.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/stats/numbers.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void check(std::size_t size, std::int64_t height, std::int64_t width, PixelSpacing spacing) {
  THORAX_CHECK(height >= 0 && width >= 0 && height <= 1 << 20 && width <= 1 << 20 &&
                   size == static_cast<std::size_t>(height) * static_cast<std::size_t>(width),
               "[stats] mask of {} pixels is not {} x {}", size, height, width);
  THORAX_CHECK(spacing.row > 0 && spacing.column > 0 && std::isfinite(spacing.row) &&
                   std::isfinite(spacing.column),
               "[stats] pixel spacing {} x {}", spacing.row, spacing.column);
}

// One line: result[x] = min over v of (step (x - v))^2 + values[v], the lower envelope of
// parabolas. Lines of infinities only stay as they are.
class Envelope {
 public:
  explicit Envelope(std::size_t longest)
      : values_(longest), roots_(longest), starts_(longest + 1) {}

  std::vector<double>& values() { return values_; }

  template <class Store>
  void run(std::size_t length, double step, const Store& store) {
    const double square = step * step;
    std::size_t count = 0;  // parabolas in the envelope; k reigns from starts_[k] on
    for (std::size_t v = 0; v < length; ++v) {
      if (values_[v] == kInfinity) continue;
      const double x = static_cast<double>(v);
      double start = -kInfinity;
      while (count > 0) {
        const double u = static_cast<double>(roots_[count - 1]);
        start =
            ((values_[v] - values_[roots_[count - 1]]) / square + (x * x - u * u)) / (2 * (x - u));
        if (start > starts_[count - 1]) break;
        --count;
        start = -kInfinity;
      }
      roots_[count] = v;
      starts_[count] = start;
      ++count;
    }
    std::size_t k = 0;
    for (std::size_t x = 0; x < length; ++x) {
      while (k + 1 < count && starts_[k + 1] < static_cast<double>(x)) ++k;
      if (count == 0) {
        store(x, kInfinity);
        continue;
      }
      const double apart = static_cast<double>(x) - static_cast<double>(roots_[k]);
      store(x, square * apart * apart + values_[roots_[k]]);
    }
  }

 private:
  std::vector<double> values_;
  std::vector<std::size_t> roots_;
  std::vector<double> starts_;
};

std::vector<std::uint8_t> outline(std::span<const std::uint8_t> mask, std::size_t height,
                                  std::size_t width) {
  std::vector<std::uint8_t> result(mask.size());
  for (std::size_t y = 0; y < height; ++y)
    for (std::size_t x = 0; x < width; ++x) {
      const std::size_t i = y * width + x;
      if (mask[i] == 0) continue;
      const bool inner = y > 0 && y + 1 < height && x > 0 && x + 1 < width &&
                         mask[i - width] != 0 && mask[i + width] != 0 && mask[i - 1] != 0 &&
                         mask[i + 1] != 0;
      result[i] = inner ? 0 : 1;
    }
  return result;
}

// Distances of the pixels set in `from` to those set in `to`, rising.
std::vector<double> directed(const std::vector<std::uint8_t>& from,
                             const std::vector<std::uint8_t>& to, std::int64_t height,
                             std::int64_t width, PixelSpacing spacing) {
  const std::vector<double> squared = squared_distances(to, height, width, spacing);
  std::vector<double> distances;
  for (std::size_t i = 0; i < from.size(); ++i)
    if (from[i] != 0) distances.push_back(std::sqrt(squared[i]));
  std::sort(distances.begin(), distances.end());
  return distances;
}

}  // namespace

std::vector<double> squared_distances(std::span<const std::uint8_t> mask, std::int64_t height,
                                      std::int64_t width, PixelSpacing spacing) {
  check(mask.size(), height, width, spacing);
  const auto rows = static_cast<std::size_t>(height), columns = static_cast<std::size_t>(width);
  std::vector<double> squared(mask.size());
  Envelope envelope(std::max(rows, columns));
  for (std::size_t y = 0; y < rows; ++y) {
    for (std::size_t x = 0; x < columns; ++x)
      envelope.values()[x] = mask[y * columns + x] != 0 ? 0 : kInfinity;
    envelope.run(columns, spacing.column,
                 [&](std::size_t x, double value) { squared[y * columns + x] = value; });
  }
  for (std::size_t x = 0; x < columns; ++x) {
    for (std::size_t y = 0; y < rows; ++y) envelope.values()[y] = squared[y * columns + x];
    envelope.run(rows, spacing.row,
                 [&](std::size_t y, double value) { squared[y * columns + x] = value; });
  }
  return squared;
}

SurfaceDistances surface_distances(std::span<const std::uint8_t> first,
                                   std::span<const std::uint8_t> second, std::int64_t height,
                                   std::int64_t width, PixelSpacing spacing) {
  check(first.size(), height, width, spacing);
  check(second.size(), height, width, spacing);
  const auto rows = static_cast<std::size_t>(height), columns = static_cast<std::size_t>(width);
  const std::vector<std::uint8_t> a = outline(first, rows, columns);
  const std::vector<std::uint8_t> b = outline(second, rows, columns);
  const std::vector<double> forth = directed(a, b, height, width, spacing);
  const std::vector<double> back = directed(b, a, height, width, spacing);
  if (forth.empty() || back.empty()) return {kUndefined, kUndefined, kUndefined};
  double sum = 0;
  for (const double distance : forth) sum += distance;
  for (const double distance : back) sum += distance;
  return {std::max(forth.back(), back.back()),
          std::max(sorted_quantile(forth, 0.95), sorted_quantile(back, 0.95)),
          sum / static_cast<double>(forth.size() + back.size())};
}

}  // namespace thorax
