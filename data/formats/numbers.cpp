#include "data/formats/numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

template <class T>
T stored(const uint8_t* at, bool swapped) {
  uint8_t bytes[sizeof(T)];
  std::memcpy(bytes, at, sizeof(T));
  if (swapped) std::reverse(bytes, bytes + sizeof(T));
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

// Calls f(row, column, channel, number) in the order of the pixels.
template <class T, class F>
void each(const NumberArray& a, const F& f) {
  const bool swapped =
      sizeof(T) > 1 && a.type.big_endian != (std::endian::native == std::endian::big);
  const bool scaled = a.slope != 1 || a.intercept != 0;
  for (int y = 0; y < a.height; ++y)
    for (int x = 0; x < a.width; ++x)
      for (int c = 0; c < a.channels; ++c) {
        const uint8_t* at = a.data + y * a.row_step + x * a.column_step + c * a.channel_step;
        auto value = static_cast<double>(stored<T>(at, swapped));
        if (a.type.kind == NumberType::Kind::boolean) value = value != 0;
        f(y, x, c, scaled ? a.slope * value + a.intercept : value);
      }
}

template <class F>
void each(const NumberArray& a, const F& f) {
  const NumberType& t = a.type;
  if (t.kind == NumberType::Kind::real) {
    t.bytes == 4 ? each<float>(a, f) : each<double>(a, f);
  } else if (t.is_signed) {
    t.bytes == 1   ? each<int8_t>(a, f)
    : t.bytes == 2 ? each<int16_t>(a, f)
    : t.bytes == 4 ? each<int32_t>(a, f)
                   : each<int64_t>(a, f);
  } else {
    t.bytes == 1   ? each<uint8_t>(a, f)
    : t.bytes == 2 ? each<uint16_t>(a, f)
    : t.bytes == 4 ? each<uint32_t>(a, f)
                   : each<uint64_t>(a, f);
  }
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  bool whole = true;
  int odd_row = 0, odd_column = 0;  // the first that is no whole number from 0 to 65535
  double odd = 0;
};

Range range_of(const NumberArray& array, const std::string& name) {
  Range r;
  each(array, [&](int y, int x, int, double v) {
    THORAX_CHECK(
        std::isfinite(v),
        "[decode] {}: the number in row {}, column {} is {}; an image holds finite numbers", name,
        y, x, v);
    r.low = std::min(r.low, v);
    r.high = std::max(r.high, v);
    if (r.whole && (v < 0 || v > 65535 || v != std::floor(v))) {
      r.whole = false;
      r.odd_row = y, r.odd_column = x, r.odd = v;
    }
  });
  return r;
}

template <class T, class F>
void fill(Samples& s, const NumberArray& array, const F& convert) {
  s.pixels = allocate_pixels(sizeof(T) * s.count() * static_cast<size_t>(s.channels));
  T* to = static_cast<T*>(s.pixels.get());
  each(array, [&](int, int, int, double v) { *to++ = static_cast<T>(convert(v)); });
}

}  // namespace

void describe_numbers(const NumberArray& array, ImageInfo& info) {
  info.channels = array.channels;
  const bool boolean = array.type.kind == NumberType::Kind::boolean;
  const bool byte =
      array.type.bytes == 1 && !array.type.is_signed && array.slope == 1 && array.intercept == 0;
  info.bits = byte ? 8 : 16;
  info.sample_bits = boolean && byte ? 1 : info.bits;
}

Samples samples_of(const NumberArray& array, ImageInfo info, const std::string& name, Use use) {
  Samples s;
  describe_numbers(array, info);
  s.info = std::move(info);
  s.channels = array.channels;
  if (s.info.bits == 8) {
    s.step = s.info.sample_bits == 1 ? 255 : 1;
    fill<uint8_t>(s, array, [&](double v) { return v * s.step; });
    return s;
  }
  const Range range = range_of(array, name);
  if (use == Use::mask) {
    THORAX_CHECK(range.whole,
                 "[mask] {}: the number in row {}, column {} is {:g}; a mask holds whole numbers "
                 "from 0 to 65535 (a label each): write it so, probabilities after a threshold",
                 name, range.odd_row, range.odd_column, range.odd);
    // Types that say nothing of the largest label: as narrow as the file's values allow.
    if (range.high <= 255 && (array.type.bytes > 2 || array.type.is_signed)) {
      s.info.bits = s.info.sample_bits = 8;
      fill<uint8_t>(s, array, [](double v) { return v; });
    } else {
      fill<uint16_t>(s, array, [](double v) { return v; });
    }
    return s;
  }
  const bool unit = array.type.kind == NumberType::Kind::real && range.low >= 0 && range.high <= 1;
  if (range.whole && !unit) {
    fill<uint16_t>(s, array, [](double v) { return v; });
    return s;
  }
  s.top = 65535;
  // Divided first: the difference of two doubles may be more than the largest one.
  const double low = unit ? 0 : range.low, high = unit ? 1 : range.high;
  const double width = high / 2 - low / 2;
  fill<uint16_t>(s, array, [&](double v) {
    return width > 0 ? std::lround(std::clamp((v / 2 - low / 2) / width, 0., 1.) * 65535) : 0;
  });
  if (!unit)
    s.info.notes.push_back(
        fmt::format("numbers that are neither brightness from 0 to 1 nor samples from 0 to 65535: "
                    "the least of each file is black, its largest white (here {:g} and {:g})",
                    range.low, range.high));
  return s;
}

}  // namespace thorax
