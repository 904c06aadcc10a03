#include "data/decode_jpeg_scans.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

// Thrown where bits are wanted that the file does not have.
struct Exhausted {};

}  // namespace

// The bits of a scan up to its next marker, stuffed bytes removed.
class JpegScans::Bits {
 public:
  explicit Bits(std::span<const uint8_t> data) : at_(data.data()), end_(at_ + data.size()) {}

  // At least 32 bits, unless fewer are left.
  void fill() {
    if (count_ >= 32) return;
    if (end_ - at_ >= 8) {
      uint64_t word;
      std::memcpy(&word, at_, 8);
      // No byte of the word is FF: none of the complement is zero.
      const uint64_t inverse = ~word;
      if (((inverse - 0x0101010101010101u) & ~inverse & 0x8080808080808080u) == 0) {
        ahead_ |= __builtin_bswap64(word) >> count_;
        const int bytes = (64 - count_) / 8;
        at_ += bytes;
        count_ += 8 * bytes;
        return;
      }
    }
    while (count_ <= 56 && at_ < end_) {
      if (*at_ == 0xFF && (at_ + 1 == end_ || at_[1] != 0)) break;  // a marker
      ahead_ |= uint64_t{*at_} << (56 - count_);
      at_ += *at_ == 0xFF ? 2 : 1;
      count_ += 8;
    }
  }
  int count() const { return count_; }
  // The next bits; zeros where there are none.
  uint32_t peek(int n) const { return static_cast<uint32_t>(ahead_ >> (64 - n)); }
  void skip(int n) {
    if (n > count_) throw Exhausted();
    ahead_ <<= n;
    count_ -= n;
  }
  void skip_any(int n) {
    for (; n > 0; n -= 32) {
      fill();
      skip(std::min(n, 32));
    }
  }
  // n >= 1
  int take(int n) {
    fill();
    const int value = static_cast<int>(peek(n));
    skip(n);
    return value;
  }
  // Goes on behind a restart marker. False where the next byte begins none.
  bool restart() {
    if (count_ >= 8) return false;
    while (end_ - at_ >= 2 && at_[0] == 0xFF && at_[1] == 0xFF) ++at_;  // fill
    constexpr uint8_t kEnd = 0xD9;
    if (end_ - at_ < 2 || (at_[0] == 0xFF && at_[1] == kEnd)) throw Exhausted();
    if (at_[0] != 0xFF || at_[1] < 0xD0 || at_[1] > 0xD7) return false;
    at_ += 2;
    ahead_ = 0;
    count_ = 0;
    return true;
  }
  const uint8_t* position() const { return at_; }

 private:
  const uint8_t *at_, *end_;
  uint64_t ahead_ = 0;  // first bit on top
  int count_ = 0;
};

struct JpegScans::Parameters {
  std::vector<size_t> planes;
  std::vector<int> dc, ac;   // tables, one for each plane
  int first = 0, last = 63;  // coefficients
  int before = 0, low = 0;   // lowest bit sent before (0: none) and now
  int row = 0, rows = 0;     // progress, for the message
};

void JpegScans::frame(int height, int width, std::vector<JpegComponent> components,
                      bool progressive) {
  progressive_ = progressive;
  int h_max = 1, v_max = 1;
  for (const JpegComponent& c : components) {
    h_max = std::max(h_max, c.h);
    v_max = std::max(v_max, c.v);
  }
  const auto divide_up = [](int a, int b) { return (a + b - 1) / b; };
  mcus_x_ = divide_up(width, 8 * h_max);
  mcus_y_ = divide_up(height, 8 * v_max);
  for (const JpegComponent& c : components) {
    Plane plane;
    plane.component = c;
    plane.width = divide_up(divide_up(width * c.h, h_max), 8);
    plane.height = divide_up(divide_up(height * c.v, v_max), 8);
    plane.stride = mcus_x_ * c.h;
    if (progressive) plane.known.resize(static_cast<size_t>(plane.stride) * mcus_y_ * c.v);
    plane.low.fill(-1);
    planes_.push_back(std::move(plane));
  }
}

void JpegScans::huffman_tables(std::span<const uint8_t> segment) {
  while (!segment.empty()) {
    THORAX_CHECK(segment.size() >= 17, "[decode] {}: jpeg Huffman table is cut short", name_);
    int values = 0;
    for (int i = 1; i <= 16; ++i) values += segment[static_cast<size_t>(i)];
    THORAX_CHECK((segment[0] >> 4) <= 1 && (segment[0] & 15) <= 3 && values <= 256 &&
                     segment.size() >= static_cast<size_t>(17 + values),
                 "[decode] {}: jpeg Huffman table {:02X} has {} values", name_, segment[0], values);
    Table& table = (segment[0] >> 4 ? ac_ : dc_)[segment[0] & 15];
    table = {};
    table.defined = true;
    std::copy_n(segment.begin() + 17, values, table.symbols.begin());
    int code = 0, index = 0;
    for (int length = 1; length <= 16; ++length, code *= 2) {
      const int count = segment[static_cast<size_t>(length)];
      THORAX_CHECK(code + count <= 1 << length,
                   "[decode] {}: jpeg Huffman table {:02X} has more codes of {} bits than there "
                   "are",
                   name_, segment[0], length);
      table.offset[static_cast<size_t>(length)] = index - code;
      for (int i = 0; i < count && length <= 10; ++i) {
        const uint8_t symbol = table.symbols[static_cast<size_t>(index + i)];
        std::fill_n(table.fast.begin() + ((code + i) << (10 - length)), 1 << (10 - length),
                    static_cast<uint16_t>(length << 8 | symbol));
      }
      code += count;
      index += count;
      table.limit[static_cast<size_t>(length)] = code << (16 - length);
    }
    segment = segment.subspan(static_cast<size_t>(17 + values));
  }
}

void JpegScans::fill_steps(Table& table) {
  for (uint32_t next = 0; next < table.steps.size(); ++next) {
    int used = 0, coefficients = 0;
    bool end = false;
    while (!end) {
      const uint16_t known = table.fast[next << used & 1023];
      const int run = known >> 4 & 15, size = known & 15, bits = (known >> 8) + size;
      if (known == 0 || used + bits > 10 || (size == 0 && run != 0)) break;
      used += bits;
      end = size == 0;
      if (!end) coefficients += run + 1;
    }
    table.steps[next] = static_cast<uint16_t>((end ? 0x8000 : 0) | coefficients << 8 | used);
  }
  table.has_steps = true;
}

// -1: there is no such code. At least 15 more bits are ahead afterwards, if the file has them.
inline int JpegScans::symbol(Bits& bits, const Table& table) {
  bits.fill();
  const uint16_t known = table.fast[bits.peek(10)];
  if (known) {
    bits.skip(known >> 8);
    return known & 255;
  }
  const int code = static_cast<int>(bits.peek(16));
  for (int length = 11; length <= 16; ++length)
    if (code < table.limit[static_cast<size_t>(length)]) {
      bits.skip(length);
      return table.symbols[static_cast<size_t>((code >> (16 - length)) +
                                               table.offset[static_cast<size_t>(length)]) &
                           255];
    }
  if (bits.count() < 16) throw Exhausted();
  return -1;
}

// One block of one scan; `index` counts blocks in the plane's whole MCUs.
template <bool kProgressive>
inline void JpegScans::block(Bits& bits, Plane& plane, size_t index, const Table& dc,
                             const Table& ac, const Parameters& p, int& end_of_band_run) {
  const auto corrupt = [&](const char* what) {
    fail("[decode] {}: corrupt jpeg: {} in row {} of {} of its blocks", name_, what, p.row + 1,
         p.rows);
  };
  int k = p.first;
  if (k == 0) {
    if (kProgressive && p.before > 0) {
      bits.take(1);
    } else {
      const int size = symbol(bits, dc);
      if (size < 0 || size > 15) corrupt("a Huffman code that does not exist");
      bits.skip(size);
    }
    k = 1;
  }
  if (k > p.last) return;
  if constexpr (kProgressive) {
    if (p.before > 0) return refine(bits, plane.known[index], ac, p, end_of_band_run);
    if (end_of_band_run > 0) {
      --end_of_band_run;
      return;
    }
  }
  uint64_t known = 0;
  while (k <= p.last) {
    if constexpr (!kProgressive) {
      bits.fill();
      // Where a block or the file ends within the step, symbol by symbol decides.
      const int step = ac.steps[bits.peek(10)], used = step & 255, on = step >> 8 & 127,
                end = step >> 15;
      if (used > 0 && used <= bits.count() && k + on + end <= 64) {
        bits.skip(used);
        k += on;
        if (end) break;
        continue;
      }
    }
    const int run_size = symbol(bits, ac);
    if (run_size < 0) corrupt("a Huffman code that does not exist");
    const int run = run_size >> 4, size = run_size & 15;
    if (size == 0) {
      if (run == 15) {
        k += 16;
        continue;
      }
      if (kProgressive) end_of_band_run = (1 << run) + (run ? bits.take(run) : 0) - 1;
      break;
    }
    k += run;
    if (k > 63) corrupt("a coefficient beyond the 64th");
    bits.skip(size);
    known |= uint64_t{1} << k++;
  }
  if constexpr (kProgressive) plane.known[index] |= known;
}

// One more bit of the AC coefficients of a block (G.1.2.3): a correction bit for each that is known
// to be other than zero, and new ones, coded by the number of zeros before them.
void JpegScans::refine(Bits& bits, uint64_t& known, const Table& ac, const Parameters& p,
                       int& end_of_band_run) {
  const uint64_t band = (~uint64_t{0} >> (63 - p.last)) & (~uint64_t{0} << p.first);
  if (end_of_band_run > 0) {
    --end_of_band_run;
    bits.skip_any(std::popcount(known & band));
    return;
  }
  for (int k = p.first; k <= p.last;) {
    const int run_size = symbol(bits, ac);
    int run = run_size >> 4;
    const int size = run_size & 15;
    if (run_size < 0 || size > 1)
      fail("[decode] {}: corrupt jpeg: a code that cannot be in row {} of {} of its blocks", name_,
           p.row + 1, p.rows);
    if (size == 1) bits.take(1);
    if (size == 0 && run < 15) {
      end_of_band_run = (1 << run) + (run ? bits.take(run) : 0) - 1;
      run = 64;  // no new one: to the end of the band
    }
    for (; k <= p.last; ++k) {
      if (known >> k & 1) {
        bits.take(1);
      } else if (run-- == 0) {
        if (size == 1) known |= uint64_t{1} << k;
        ++k;
        break;
      }
    }
  }
}

template <bool kProgressive>
void JpegScans::decode_symbols(Bits& position, const Parameters& p) {
  Bits bits = position;  // of which no other code knows: its members can stay in registers
  int end_of_band_run = 0;
  int64_t left = restart_;
  Parameters now = p;
  const auto next_mcu = [&](bool last) {
    if (restart_ == 0 || --left > 0 || last) return;
    THORAX_CHECK(
        bits.restart(),
        "[decode] {}: corrupt jpeg: no restart marker where one is due, in row {} of {} of "
        "its blocks",
        name_, now.row + 1, p.rows);
    left = restart_;
    end_of_band_run = 0;
  };
  if (p.planes.size() == 1) {
    Plane& plane = planes_[p.planes[0]];
    const Table &dc = dc_[static_cast<size_t>(p.dc[0])], &ac = ac_[static_cast<size_t>(p.ac[0])];
    for (int y = 0; y < plane.height; ++y) {
      now.row = y;
      for (int x = 0; x < plane.width; ++x) {
        block<kProgressive>(bits, plane, static_cast<size_t>(y) * plane.stride + x, dc, ac, now,
                            end_of_band_run);
        next_mcu(y + 1 == plane.height && x + 1 == plane.width);
      }
    }
    position = bits;
    return;
  }
  for (int y = 0; y < mcus_y_; ++y) {
    now.row = y;
    for (int x = 0; x < mcus_x_; ++x) {
      for (size_t i = 0; i < p.planes.size(); ++i) {
        Plane& plane = planes_[p.planes[i]];
        const JpegComponent& c = plane.component;
        for (int v = 0; v < c.v; ++v)
          for (int h = 0; h < c.h; ++h)
            block<kProgressive>(bits, plane,
                                static_cast<size_t>(y * c.v + v) * plane.stride + x * c.h + h,
                                dc_[static_cast<size_t>(p.dc[i])],
                                ac_[static_cast<size_t>(p.ac[i])], now, end_of_band_run);
      }
      next_mcu(y + 1 == mcus_y_ && x + 1 == mcus_x_);
    }
  }
  position = bits;
}

size_t JpegScans::scan(std::span<const uint8_t> header, std::span<const uint8_t> data) {
  const size_t n = header.empty() ? 0 : header[0];
  THORAX_CHECK(n >= 1 && n <= planes_.size() && header.size() == 4 + 2 * n,
               "[decode] {}: jpeg scan header of {} bytes for {} components", name_, header.size(),
               n);
  Parameters p;
  p.first = header[1 + 2 * n];
  p.last = header[2 + 2 * n];
  p.before = header[3 + 2 * n] >> 4;
  p.low = header[3 + 2 * n] & 15;
  if (!progressive_) {
    p.last = 63;  // some encoders write 0
    THORAX_CHECK(p.first == 0 && p.before == 0 && p.low == 0,
                 "[decode] {}: jpeg scan of coefficients {} to {} in a sequential file", name_,
                 p.first, p.last);
  }
  THORAX_CHECK(p.last <= 63 && p.first <= p.last && p.before <= 13 && p.low <= 13 &&
                   (!progressive_ || (p.first == 0) == (p.last == 0)) && (p.first == 0 || n == 1),
               "[decode] {}: jpeg scan of coefficients {} to {} of {} components", name_, p.first,
               p.last, n);
  for (size_t i = 0; i < n; ++i) {
    size_t plane = 0;
    while (plane < planes_.size() && planes_[plane].component.id != header[1 + 2 * i]) ++plane;
    const int dc = header[2 + 2 * i] >> 4, ac = header[2 + 2 * i] & 15;
    THORAX_CHECK(plane < planes_.size() && dc <= 3 && ac <= 3,
                 "[decode] {}: jpeg scan of component {} with tables {} and {}", name_,
                 header[1 + 2 * i], dc, ac);
    const bool needs_dc = p.first == 0 && p.before == 0, needs_ac = p.last > 0;
    THORAX_CHECK((!needs_dc || dc_[static_cast<size_t>(dc)].defined) &&
                     (!needs_ac || ac_[static_cast<size_t>(ac)].defined),
                 "[decode] {}: jpeg scan uses a Huffman table that the file does not define",
                 name_);
    if (Table& table = ac_[static_cast<size_t>(ac)]; !progressive_ && !table.has_steps)
      fill_steps(table);
    p.planes.push_back(plane);
    p.dc.push_back(dc);
    p.ac.push_back(ac);
  }
  p.rows = n == 1 ? planes_[p.planes[0]].height : mcus_y_;

  Bits bits(data);
  try {
    progressive_ ? decode_symbols<true>(bits, p) : decode_symbols<false>(bits, p);
  } catch (const Exhausted&) {
    fail("[decode] {}: truncated jpeg: its data end before the last block of the image", name_);
  }
  for (const size_t plane : p.planes)
    for (int k = p.first; k <= p.last; ++k)
      planes_[plane].low[static_cast<size_t>(k)] = static_cast<int8_t>(p.low);
  // To the next FF that is neither a stuffed 00 nor a restart marker.
  const uint8_t *at = bits.position(), *end = data.data() + data.size();
  while ((at = static_cast<const uint8_t*>(std::memchr(at, 0xFF, static_cast<size_t>(end - at))))) {
    if (at + 1 == end) return data.size() - 1;
    const int next = at[1];
    if (next != 0x00 && next != 0xFF && !(next >= 0xD0 && next <= 0xD7))
      return static_cast<size_t>(at - data.data());
    at += next == 0xFF ? 1 : 2;
  }
  return data.size();
}

bool JpegScans::complete() const {
  return std::all_of(planes_.begin(), planes_.end(), [](const Plane& plane) {
    return std::all_of(plane.low.begin(), plane.low.end(), [](int8_t low) { return low == 0; });
  });
}

void JpegScans::require_complete() const {
  THORAX_CHECK(complete(),
               "[decode] {}: truncated jpeg: scans are missing, so that the image lacks detail or "
               "a component",
               name_);
}

}  // namespace thorax
