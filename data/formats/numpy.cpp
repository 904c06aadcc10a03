#include "data/formats/numpy.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <vector>

#include "data/formats/numbers.h"
#include "data/stb_bridge.h"
#include "engine/io/crc32.h"
#include "engine/io/zip_archive.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

using Bytes = std::span<const uint8_t>;

struct Header {
  std::string type;
  bool fortran = false;
  std::vector<int64_t> shape;
  bool has_type = false, has_order = false, has_shape = false;
};

// The header's text: a Python dictionary of a string, a truth value and a tuple of whole numbers.
class HeaderText {
 public:
  HeaderText(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  Header parse() {
    Header h;
    expect('{');
    while (!next_is('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !h.has_type) {
        THORAX_CHECK(!next_is('['),
                     "[decode] {}: an array of records; an image is an array of plain numbers",
                     name_);
        h.type = quoted();
        h.has_type = true;
      } else if (key == "fortran_order" && !h.has_order) {
        h.fortran = truth();
        h.has_order = true;
      } else if (key == "shape" && !h.has_shape) {
        h.shape = tuple();
        h.has_shape = true;
      } else {
        broken(fmt::format("has the key '{}'", key));
      }
      if (!next_is('}')) expect(',');
    }
    expect('}');
    skip();
    if (at_ != text_.size()) broken("goes on behind its end");
    if (!h.has_type || !h.has_order || !h.has_shape)
      broken("lacks one of descr, fortran_order and shape");
    return h;
  }

 private:
  [[noreturn]] void broken(const std::string& why) const {
    fail("[decode] {}: corrupt npy: its header {}", name_, why);
  }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool next_is(char c) {
    skip();
    return at_ < text_.size() && text_[at_] == c;
  }
  void expect(char c) {
    if (!next_is(c)) broken(fmt::format("has no '{}' at byte {}", c, at_));
    ++at_;
  }
  std::string quoted() {
    skip();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') broken(fmt::format("has no text at byte {}", at_));
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) broken("has a text without an end");
    const std::string out(text_.substr(at_ + 1, end - at_ - 1));
    if (std::any_of(out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }))
      broken("has a text of other than ASCII letters");
    at_ = end + 1;
    return out;
  }
  bool truth() {
    skip();
    for (const std::string_view word : {"True", "False"})
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return word == "True";
      }
    broken("says neither True nor False for fortran_order");
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> out;
    expect('(');
    while (!next_is(')')) {
      int64_t value = 0;
      const auto [end, error] =
          std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
      if (error != std::errc() || value < 0 || out.size() == 32)
        broken("has a shape that is no tuple of whole numbers");
      at_ = static_cast<size_t>(end - text_.data());
      out.push_back(value);
      if (!next_is(')')) expect(',');
    }
    expect(')');
    return out;
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_ = 0;
};

NumberType type_of(const std::string& text, const std::string& name) {
  NumberType type;
  const char kind = text.size() == 3 ? text[1] : '\0', bytes = text.size() == 3 ? text[2] : '\0';
  const bool order =
      text.size() == 3 && std::string_view("<>|=").find(text[0]) != std::string_view::npos;
  const bool whole = (kind == 'u' || kind == 'i') &&
                     (bytes == '1' || bytes == '2' || bytes == '4' || bytes == '8');
  const bool real = kind == 'f' && (bytes == '4' || bytes == '8');
  THORAX_CHECK(order && (whole || real || (kind == 'b' && bytes == '1')),
               "[decode] {}: numbers of type '{}'; read are b1, u1 to u8, i1 to i8, f4 and f8{}",
               name, text,
               text.find('O') != std::string::npos ? " (Python objects are never read)"
                                                   : ": convert it by numpy's astype");
  type.kind = real          ? NumberType::Kind::real
              : kind == 'b' ? NumberType::Kind::boolean
                            : NumberType::Kind::whole;
  type.is_signed = kind == 'i';
  type.bytes = bytes - '0';
  type.big_endian = text[0] == '>';
  return type;
}

// An .npy file; `info` gets size and notes.
NumberArray read_array(Bytes b, const std::string& name, const DecodeLimits& limits,
                       ImageInfo& info) {
  info.format = "npy";
  info.file_bytes = static_cast<int64_t>(b.size());
  THORAX_CHECK(b.size() >= 10, "[decode] {}: truncated npy: only {} bytes", name, b.size());
  const int version = b[6];
  THORAX_CHECK(version >= 1 && version <= 3, "[decode] {}: npy of version {}.{}; read are 1 to 3",
               name, version, b[7]);
  const size_t begin = version == 1 ? 10 : 12;
  THORAX_CHECK(b.size() >= begin, "[decode] {}: truncated npy: only {} bytes", name, b.size());
  size_t length = b[8] | size_t{b[9]} << 8;
  if (version > 1) length |= size_t{b[10]} << 16 | size_t{b[11]} << 24;
  THORAX_CHECK(length <= b.size() - begin,
               "[decode] {}: truncated npy: its header claims {} bytes, {} are left", name, length,
               b.size() - begin);
  constexpr size_t kMaxHeader = 1 << 16;
  THORAX_CHECK(length <= kMaxHeader, "[decode] {}: corrupt npy: a header of {} bytes", name,
               length);
  const Header h =
      HeaderText({reinterpret_cast<const char*>(b.data()) + begin, length}, name).parse();
  NumberArray a;
  a.type = type_of(h.type, name);
  const size_t dims = h.shape.size();
  THORAX_CHECK(
      dims == 2 || (dims == 3 && (h.shape[2] == 1 || h.shape[2] == 3)),
      "[decode] {}: an array of shape ({}); an image is HxW, HxWx1 or HxWx3: take a slice, "
      "or move its axes by numpy.moveaxis",
      name, fmt::join(h.shape, ", "));
  constexpr int64_t kMost = 0x7fffffff;
  info.height = static_cast<int>(std::min(h.shape[0], kMost));
  info.width = static_cast<int>(std::min(h.shape[1], kMost));
  check_size(info, name, limits);
  a.height = info.height;
  a.width = info.width;
  a.channels = dims == 3 ? static_cast<int>(h.shape[2]) : 1;
  const int64_t size = a.type.bytes;
  const auto wanted = static_cast<uint64_t>(int64_t{a.height} * a.width * a.channels * size);
  const uint64_t left = b.size() - begin - length;
  THORAX_CHECK(left >= wanted,
               "[decode] {}: truncated npy: {}x{}x{} numbers of {} bytes want {}, {} are left",
               name, a.height, a.width, a.channels, size, wanted, left);
  if (left > wanted) info.notes.emplace_back("bytes behind the array are not read");
  a.data = b.data() + begin + length;
  if (h.fortran) {
    a.row_step = size;
    a.column_step = size * a.height;
    a.channel_step = size * a.height * a.width;
  } else {
    a.channel_step = size;
    a.column_step = size * a.channels;
    a.row_step = size * a.channels * a.width;
  }
  return a;
}

// The array of an .npz that is wanted, as an .npy file.
std::vector<uint8_t> unzipped(Bytes bytes, const std::string& name, const DecodeLimits& limits,
                              Use use) {
  const ZipArchive archive(ByteSource::of(std::as_bytes(bytes)), name);
  constexpr std::string_view kEnding = ".npy";
  const std::string preferred = use == Use::mask ? "mask.npy" : "image.npy";
  std::vector<std::string> arrays;
  for (const auto& [entry, place] : archive.entries())
    if (entry.ends_with(kEnding)) arrays.push_back(entry.substr(0, entry.size() - kEnding.size()));
  THORAX_CHECK(!arrays.empty(), "[decode] {}: a zip archive without an array (.npy)", name);
  const std::string chosen = arrays.size() == 1 ? arrays[0] + ".npy" : preferred;
  const auto found = archive.entries().find(chosen);
  THORAX_CHECK(found != archive.entries().end(),
               "[decode] {}: an archive of the arrays {}; one is wanted, or one of them called "
               "'image' (in a mask's file: 'mask')",
               name, fmt::join(arrays, ", "));
  const ZipEntry& entry = found->second;
  constexpr int kStored = 0, kDeflated = 8;
  THORAX_CHECK((entry.method == kStored || entry.method == kDeflated) && !entry.encrypted,
               "[decode] {}: '{}' is packed by method {}{}; numpy stores or deflates", name, chosen,
               entry.method, entry.encrypted ? ", encrypted" : "");
  THORAX_CHECK(entry.unpacked <= static_cast<uint64_t>(limits.max_file_bytes) &&
                   entry.unpacked / 1032 <= entry.size,
               "[decode] {}: '{}' claims {} bytes from {}, the limit is {}", name, chosen,
               entry.unpacked, entry.size, limits.max_file_bytes);
  std::vector<uint8_t> out(static_cast<size_t>(entry.unpacked));
  if (entry.method == kStored) {
    const std::vector<std::byte> content = archive.read(chosen);
    std::copy_n(reinterpret_cast<const uint8_t*>(content.data()), out.size(), out.begin());
    return out;
  }
  // The archive's directory follows: some bytes behind the data are there, as stb_inflate wants.
  const int64_t made = stb_inflate(bytes.subspan(static_cast<size_t>(entry.begin)), out);
  THORAX_CHECK(
      made == static_cast<int64_t>(out.size()) && crc32(std::as_bytes(std::span(out))) == entry.crc,
      "[decode] {}: corrupt npz: length or checksum of '{}' are not those of its data", name,
      chosen);
  return out;
}

bool is_zip(Bytes bytes) {
  return bytes.size() >= 4 && bytes[0] == 'P' && bytes[1] == 'K' && bytes[2] == 3 && bytes[3] == 4;
}

// The .npy file: the bytes themselves, or what is unpacked into `buffer`.
Bytes npy_of(Bytes bytes, const std::string& name, const DecodeLimits& limits, Use use,
             std::vector<uint8_t>& buffer) {
  if (!is_zip(bytes)) return bytes;
  buffer = unzipped(bytes, name, limits, use);
  THORAX_CHECK(is_npy(buffer), "[decode] {}: corrupt npz: its array is no .npy file", name);
  return buffer;
}

}  // namespace

bool is_npy(Bytes head) {
  constexpr std::string_view kMagic = "\x93NUMPY", kEnding = ".npy";
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  if (!is_zip(head)) return text.starts_with(kMagic);
  // By the name of the archive's first entry.
  constexpr size_t kName = 30;
  if (head.size() < kName) return false;
  const size_t length = head[26] | size_t{head[27]} << 8;
  return length <= text.size() - kName && text.substr(kName, length).ends_with(kEnding);
}

ImageInfo check_npy(Bytes bytes, const std::string& name, const DecodeLimits& limits) {
  ImageInfo info;
  std::vector<uint8_t> buffer;
  const NumberArray array =
      read_array(npy_of(bytes, name, limits, Use::image, buffer), name, limits, info);
  describe_numbers(array, info);
  info.file_bytes = static_cast<int64_t>(bytes.size());
  return info;
}

Samples decode_npy(Bytes bytes, const std::string& name, const DecodeLimits& limits, Use use) {
  ImageInfo info;
  std::vector<uint8_t> buffer;
  const NumberArray array =
      read_array(npy_of(bytes, name, limits, use, buffer), name, limits, info);
  info.file_bytes = static_cast<int64_t>(bytes.size());
  return samples_of(array, std::move(info), name, use);
}

}  // namespace thorax
