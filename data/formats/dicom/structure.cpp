#include "data/formats/dicom/structure.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "data/stb_bridge.h"
#include "engine/tensor/error.h"

namespace thorax::dicom {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr uint32_t kUndefined = 0xFFFFFFFF;
constexpr uint32_t kItem = 0xFFFEE000, kItemEnd = 0xFFFEE00D, kSequenceEnd = 0xFFFEE0DD;
constexpr uint32_t kPixelData = 0x7FE00010;
constexpr int kMaxDepth = 32;

constexpr std::string_view kExplicitBig = "1.2.840.10008.1.2.2", kImplicit = "1.2.840.10008.1.2",
                           kDeflated = "1.2.840.10008.1.2.1.99";

bool is_vr(uint8_t a, uint8_t b) {
  constexpr std::string_view known =
      "AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN "
      "UR US UT UV";
  const char text[2] = {static_cast<char>(a), static_cast<char>(b)};
  return a >= 'A' && b >= 'A' && known.find(std::string_view(text, 2)) != std::string_view::npos;
}

bool is_long_vr(std::string_view vr) {
  constexpr std::string_view kLong = "OB OD OF OL OV OW SQ SV UC UN UR UT UV";
  return kLong.find(vr) != std::string_view::npos;
}

class Walker {
 public:
  Walker(Bytes bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  struct Coding {
    bool has_vr = true, big = false;
  };

  // Elements up to `end`, or to the end of an item of undefined length. Returns where they end.
  size_t elements(size_t at, size_t end, Coding coding, bool until_delimiter, int depth) {
    while (at < end) {
      need(at, 8, end, "the head of an element");
      const uint32_t tag = u16(at, coding) << 16 | u16(at + 2, coding);
      if (tag == kItemEnd && until_delimiter) return at + 8;
      if ((tag == kItemEnd || tag == kSequenceEnd || tag == kItem) && depth == 0 &&
          !until_delimiter)
        fail("[decode] {}: corrupt DICOM: {} outside of a sequence, at byte {}", name_, text(tag),
             at);
      at = element(at, end, tag, coding, depth);
    }
    THORAX_CHECK(!until_delimiter, "[decode] {}: truncated DICOM: an item has no end", name_);
    return at;
  }

  // The value of a text element of the meta information.
  size_t meta(size_t at, std::string& transfer_syntax) {
    while (at + 8 <= bytes_.size() && u16(at, {}) == 2) {
      const uint32_t tag = u16(at, {}) << 16 | u16(at + 2, {});
      const size_t end = element(at, bytes_.size(), tag, {}, 0);
      if (tag == 0x00020010) {
        transfer_syntax.assign(bytes_.begin() + static_cast<ptrdiff_t>(at + 8),
                               bytes_.begin() + static_cast<ptrdiff_t>(end));
        while (!transfer_syntax.empty() &&
               (transfer_syntax.back() == 0 || transfer_syntax.back() == ' '))
          transfer_syntax.pop_back();
      }
      at = end;
    }
    return at;
  }

 private:
  uint32_t u16(size_t at, Coding c) const {
    return c.big ? static_cast<uint32_t>(bytes_[at] << 8 | bytes_[at + 1])
                 : static_cast<uint32_t>(bytes_[at] | bytes_[at + 1] << 8);
  }
  uint32_t u32(size_t at, Coding c) const {
    return c.big ? u16(at, c) << 16 | u16(at + 2, c) : u16(at, c) | u16(at + 2, c) << 16;
  }
  static std::string text(uint32_t tag) {
    return fmt::format("({:04X},{:04X})", tag >> 16, tag & 0xFFFF);
  }
  void need(size_t at, size_t count, size_t end, const std::string& what) const {
    THORAX_CHECK(at <= end && end - at >= count,
                 "[decode] {}: truncated DICOM: {} needs {} bytes, {} are left at byte {}", name_,
                 what, count, at <= end ? end - at : 0, at);
  }

  size_t element(size_t at, size_t end, uint32_t tag, Coding coding, int depth) {
    std::string_view vr;
    uint32_t length;
    if (!coding.has_vr || (tag >> 16) == 0xFFFE) {
      length = u32(at + 4, coding);
      at += 8;
    } else {
      vr = std::string_view(reinterpret_cast<const char*>(bytes_.data()) + at + 4, 2);
      THORAX_CHECK(is_vr(bytes_[at + 4], bytes_[at + 5]),
                   "[decode] {}: corrupt DICOM: element {} at byte {} has no known value "
                   "representation ({:02X} {:02X})",
                   name_, text(tag), at, bytes_[at + 4], bytes_[at + 5]);
      if (is_long_vr(vr)) {
        need(at, 12, end, text(tag));
        length = u32(at + 8, coding);
        at += 12;
      } else {
        length = u16(at + 6, coding);
        at += 8;
      }
    }
    if (length == kUndefined) {
      if (tag == kPixelData) return fragments(at, end);
      THORAX_CHECK(vr.empty() || vr == "SQ" || vr == "UN",
                   "[decode] {}: corrupt DICOM: element {} of type {} has no length", name_,
                   text(tag), vr);
      if (vr == "UN") coding = {false, false};  // PS3.5, 6.2.2
      return items(at, end, coding, true, depth + 1);
    }
    need(at, length, end, "element " + text(tag));
    // Without a type, what begins with an item is taken for a sequence.
    const bool sequence =
        vr == "SQ" || ((vr.empty() || vr == "UN") && tag != kPixelData && length >= 8 &&
                       (u16(at, coding) << 16 | u16(at + 2, coding)) == kItem);
    if (sequence) {
      if (vr == "UN") coding = {false, false};
      items(at, at + length, coding, false, depth + 1);
    }
    return at + length;
  }

  size_t items(size_t at, size_t end, Coding coding, bool until_delimiter, int depth) {
    THORAX_CHECK(depth <= kMaxDepth,
                 "[decode] {}: DICOM sequences are nested more than {} deep, at byte {}", name_,
                 kMaxDepth, at);
    while (at < end) {
      need(at, 8, end, "an item");
      const uint32_t tag = u16(at, coding) << 16 | u16(at + 2, coding),
                     length = u32(at + 4, coding);
      at += 8;
      if (tag == kSequenceEnd && until_delimiter) return at;
      THORAX_CHECK(tag == kItem, "[decode] {}: corrupt DICOM: {} instead of an item, at byte {}",
                   name_, text(tag), at - 8);
      if (length == kUndefined) {
        at = elements(at, end, coding, true, depth);
      } else {
        need(at, length, end, "an item");
        elements(at, at + length, coding, false, depth);
        at += length;
      }
    }
    THORAX_CHECK(!until_delimiter, "[decode] {}: truncated DICOM: a sequence has no end", name_);
    return at;
  }

  // Compressed pixel data, always little endian: an offset table and fragments.
  size_t fragments(size_t at, size_t end) {
    while (true) {
      need(at, 8, end, "a fragment of the pixel data");
      const uint32_t tag = u16(at, {}) << 16 | u16(at + 2, {}), length = u32(at + 4, {});
      at += 8;
      if (tag == kSequenceEnd) return at;
      THORAX_CHECK(tag == kItem && length != kUndefined,
                   "[decode] {}: corrupt DICOM: {} instead of a fragment of the pixel data", name_,
                   text(tag));
      need(at, length, end, "a fragment of the pixel data");
      at += length;
    }
  }

  Bytes bytes_;
  const std::string& name_;
};

// The file with its deflated data set unpacked, the transfer syntax as it was.
std::vector<uint8_t> unpack(Bytes bytes, size_t dataset, const std::string& name,
                            const DecodeLimits& limits) {
  std::vector<uint8_t> packed(bytes.begin() + static_cast<ptrdiff_t>(dataset), bytes.end());
  packed.resize(packed.size() + 8);  // stb_inflate looks ahead
  // Deflate packs at most 258 bytes into two bits.
  const size_t room =
      std::min<size_t>(packed.size() * 1032 + 64, static_cast<size_t>(limits.max_file_bytes) + 1);
  std::vector<uint8_t> out(room);
  const int64_t made = stb_inflate(packed, out);
  THORAX_CHECK(made >= 0 && made <= limits.max_file_bytes,
               "[decode] {}: the deflated data set is damaged, cut short, or unpacks to more than "
               "{} bytes",
               name, limits.max_file_bytes);
  out.resize(static_cast<size_t>(made));
  return out;
}

}  // namespace

bool looks_like_dicom(Bytes head) {
  if (head.size() >= 132 && std::equal(head.begin() + 128, head.begin() + 132, "DICM")) return true;
  if (head.size() < 16) return false;
  const int group = head[0] | head[1] << 8, element = head[2] | head[3] << 8;
  if (group == 2) return element == 0 && head[4] == 'U' && head[5] == 'L';
  if (group != 8) return false;
  constexpr int kFirst[] = {0x0000, 0x0001, 0x0005, 0x0008, 0x0012, 0x0016, 0x0018};
  if (std::find(std::begin(kFirst), std::end(kFirst), element) == std::end(kFirst)) return false;
  return is_vr(head[4], head[5]) || (head[5] == 0 && head[6] == 0 && head[7] == 0);
}

Layout walk(Bytes bytes, const std::string& name, const DecodeLimits& limits) {
  Layout layout;
  layout.preamble =
      bytes.size() >= 132 && std::equal(bytes.begin() + 128, bytes.begin() + 132, "DICM");
  const size_t begin = layout.preamble ? 132 : 0;
  Walker walker(bytes, name);
  layout.dataset = walker.meta(begin, layout.transfer_syntax);
  if (layout.transfer_syntax == kDeflated) {
    layout.unpacked = unpack(bytes, layout.dataset, name, limits);
    Walker(layout.unpacked, name).elements(0, layout.unpacked.size(), {}, false, 0);
    return layout;
  }
  THORAX_CHECK(layout.dataset + 8 <= bytes.size(),
               "[decode] {}: truncated DICOM: the file ends before its data set", name);
  Walker::Coding coding{layout.transfer_syntax != kImplicit,
                        layout.transfer_syntax == kExplicitBig};
  if (layout.transfer_syntax.empty())
    coding.has_vr = is_vr(bytes[layout.dataset + 4], bytes[layout.dataset + 5]);
  walker.elements(layout.dataset, bytes.size(), coding, false, 0);
  return layout;
}

}  // namespace thorax::dicom
