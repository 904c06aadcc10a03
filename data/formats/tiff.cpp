#include "data/formats/tiff.h"

#include "engine/tensor/error.h"

#ifndef THORAX_TIFF

namespace thorax {
namespace {
[[noreturn]] void lacking(const std::string& name) {
  fail("[decode] {}: this build has no libtiff", name);
}
}  // namespace
std::string tiff_reader() {
  return {};
}
ImageInfo check_tiff(std::span<const uint8_t>, const std::string& name, const DecodeLimits&) {
  lacking(name);
}
Samples decode_tiff(std::span<const uint8_t>, const std::string& name, const DecodeLimits&, Use) {
  lacking(name);
}
}  // namespace thorax

#else

#include <fmt/format.h>
#include <tiffio.h>

#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "data/decode.h"
#include "data/formats/numbers.h"

namespace thorax {
namespace {

using Bytes = std::span<const uint8_t>;

// The file in memory, as libtiff reads it, and what it says meanwhile.
struct Source {
  Bytes bytes;
  uint64_t at = 0;
  std::string error = {}, warning = {};  // the first of each
};

tmsize_t read_source(thandle_t handle, void* to, tmsize_t size) {
  auto* source = static_cast<Source*>(handle);
  const uint64_t left = source->at < source->bytes.size() ? source->bytes.size() - source->at : 0;
  const auto n = static_cast<size_t>(std::min<uint64_t>(left, static_cast<uint64_t>(size)));
  if (n > 0) std::memcpy(to, source->bytes.data() + source->at, n);
  source->at += n;
  return static_cast<tmsize_t>(n);
}
tmsize_t write_source(thandle_t, void*, tmsize_t) {
  return 0;
}
toff_t seek_source(thandle_t handle, toff_t offset, int whence) {
  auto* source = static_cast<Source*>(handle);
  source->at = whence == SEEK_SET   ? offset
               : whence == SEEK_CUR ? source->at + offset
                                    : source->bytes.size() + offset;
  return source->at;
}
int close_source(thandle_t) {
  return 0;
}
toff_t size_of_source(thandle_t handle) {
  return static_cast<Source*>(handle)->bytes.size();
}

std::string message(const char* module, const char* format, va_list arguments) {
  char text[512];
  std::vsnprintf(text, sizeof text, format, arguments);
  return fmt::format("{}{}{}", module ? module : "", module ? ": " : "", text);
}
int keep_error(TIFF*, void* user, const char* module, const char* format, va_list arguments) {
  std::string& kept = static_cast<Source*>(user)->error;
  if (kept.empty()) kept = message(module, format, arguments);
  return 1;  // and nothing on stderr
}
int keep_warning(TIFF*, void* user, const char* module, const char* format, va_list arguments) {
  const std::string text = message(module, format, arguments);
  std::string& kept = static_cast<Source*>(user)->warning;
  // Private tags are common and change nothing.
  if (kept.empty() && text.find("Unknown field") == std::string::npos) kept = text;
  return 1;
}

struct CloseTiff {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};
using Handle = std::unique_ptr<TIFF, CloseTiff>;

Handle open(Source& source, const std::string& name, const DecodeLimits& limits) {
  std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> options(TIFFOpenOptionsAlloc(),
                                                                           TIFFOpenOptionsFree);
  if (!options) throw std::bad_alloc();
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), limits.max_pixels * 8 + (1 << 20));
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), keep_error, &source);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), keep_warning, &source);
  Handle tiff(TIFFClientOpenExt("tiff", "rm", &source, read_source, write_source, seek_source,
                                close_source, size_of_source, nullptr, nullptr, options.get()));
  THORAX_CHECK(tiff, "[decode] {}: corrupt or truncated tiff: {}", name, source.error);
  return tiff;
}

// The directory's fields that decide how pixels lie in the file.
struct Layout {
  uint16_t bits = 1, samples = 1, format = SAMPLEFORMAT_UINT, photometric = 0, planar = 0,
           compression = COMPRESSION_NONE;
  bool tiled = false;
  uint32_t block_width = 0, block_height = 0;  // of a tile or a strip
  int colours = 1;                             // samples that are brightness
  bool alpha = false;                          // of the sample behind them
  bool numbers = false;                        // by samples_of

  int kept() const { return colours + (alpha ? 1 : 0); }
};

uint16_t field16(TIFF* tiff, uint32_t tag) {
  uint16_t value = 0;
  TIFFGetFieldDefaulted(tiff, tag, &value);
  return value;
}

Layout read_layout(TIFF* tiff, const Source& source, const std::string& name,
                   const DecodeLimits& limits, ImageInfo& info) {
  info.format = "tiff";
  info.file_bytes = static_cast<int64_t>(source.bytes.size());
  uint32_t width = 0, height = 0;
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
  info.width = static_cast<int>(std::min<uint32_t>(width, 0x7fffffff));
  info.height = static_cast<int>(std::min<uint32_t>(height, 0x7fffffff));
  check_size(info, name, limits);
  Layout l;
  l.bits = field16(tiff, TIFFTAG_BITSPERSAMPLE);
  l.samples = field16(tiff, TIFFTAG_SAMPLESPERPIXEL);
  l.format = field16(tiff, TIFFTAG_SAMPLEFORMAT);
  l.planar = field16(tiff, TIFFTAG_PLANARCONFIG);
  l.compression = field16(tiff, TIFFTAG_COMPRESSION);
  THORAX_CHECK(TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &l.photometric) == 1,
               "[decode] {}: tiff does not say how its samples become brightness "
               "(PhotometricInterpretation)",
               name);
  THORAX_CHECK(l.compression != COMPRESSION_OJPEG && TIFFIsCODECConfigured(l.compression),
               "[decode] {}: tiff compression {} is not read; save it without or with LZW or "
               "deflate",
               name, l.compression);
  info.lossy = l.compression == COMPRESSION_JPEG;
  if (l.compression == COMPRESSION_JPEG && l.photometric == PHOTOMETRIC_YCBCR) {
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    l.photometric = PHOTOMETRIC_RGB;
  }
  const bool gray =
      l.photometric == PHOTOMETRIC_MINISBLACK || l.photometric == PHOTOMETRIC_MINISWHITE;
  const bool palette = l.photometric == PHOTOMETRIC_PALETTE;
  THORAX_CHECK(
      gray || palette || l.photometric == PHOTOMETRIC_RGB,
      "[decode] {}: tiff of photometric interpretation {}; read are gray, palette, RGB and "
      "YCbCr within JPEG: save it as gray",
      name, l.photometric);
  l.colours = l.photometric == PHOTOMETRIC_RGB ? 3 : 1;
  THORAX_CHECK(l.samples >= l.colours && l.samples <= 16,
               "[decode] {}: corrupt tiff: {} samples a pixel", name, l.samples);
  uint16_t extra = 0;
  uint16_t* kinds = nullptr;
  if (!palette && l.samples > l.colours &&
      TIFFGetField(tiff, TIFFTAG_EXTRASAMPLES, &extra, &kinds) == 1 && extra > 0)
    l.alpha = kinds[0] == EXTRASAMPLE_ASSOCALPHA || kinds[0] == EXTRASAMPLE_UNASSALPHA;
  if (l.samples > l.kept()) info.notes.emplace_back("samples beside gray or colour are ignored");
  const bool whole = l.format == SAMPLEFORMAT_UINT || l.format == SAMPLEFORMAT_VOID;
  const bool plain = whole && (l.bits == 1 || l.bits == 2 || l.bits == 4 || l.bits == 8 ||
                               l.bits == 10 || l.bits == 12 || l.bits == 14 || l.bits == 16);
  l.numbers =
      !plain && ((whole && l.bits == 32) ||
                 (l.format == SAMPLEFORMAT_INT && (l.bits == 8 || l.bits == 16 || l.bits == 32)) ||
                 (l.format == SAMPLEFORMAT_IEEEFP && (l.bits == 32 || l.bits == 64)));
  THORAX_CHECK((plain || l.numbers) && (!palette || (plain && l.bits <= 8)),
               "[decode] {}: tiff of {} bits a sample, sample format {}{}; read are 1 to 16 bits "
               "(palettes 1 to 8), whole numbers of 32 and real ones of 32 and 64",
               name, l.bits, l.format, palette ? ", palette" : "");
  THORAX_CHECK(!l.numbers || l.photometric != PHOTOMETRIC_MINISWHITE,
               "[decode] {}: tiff where white is zero, of signed, 32-bit or real numbers, whose "
               "black is not known; save it with black as zero",
               name);
  info.bits = l.bits <= 8 && !l.numbers ? 8 : 16;
  info.sample_bits = l.numbers ? 16 : l.bits;
  info.channels = palette ? 3 : l.kept();
  const int orientation = field16(tiff, TIFFTAG_ORIENTATION);
  info.orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
  if (palette) {
    uint16_t *r = nullptr, *g = nullptr, *b = nullptr;
    THORAX_CHECK(TIFFGetField(tiff, TIFFTAG_COLORMAP, &r, &g, &b) == 1,
                 "[decode] {}: corrupt tiff: a palette image without a palette", name);
    const size_t n = size_t{1} << l.bits;
    // Some writers have put values of 8 bits where 16 belong.
    const bool narrow = std::max({*std::max_element(r, r + n), *std::max_element(g, g + n),
                                  *std::max_element(b, b + n)}) < 256;
    for (size_t i = 0; i < n; ++i)
      for (const uint16_t v : {r[i], g[i], b[i]})
        info.palette.push_back(static_cast<uint8_t>(narrow ? v : v >> 8));
  }
  uint32_t depth = 1;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_IMAGEDEPTH, &depth);
  THORAX_CHECK(depth == 1, "[decode] {}: tiff of {} slices; one is wanted", name, depth);
  l.tiled = TIFFIsTiled(tiff) != 0;
  if (l.tiled) {
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &l.block_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &l.block_height);
  } else {
    uint32_t rows = 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &rows);
    l.block_width = width;
    l.block_height = std::min(rows, height);
  }
  // A tile may reach over the edge, but need not be larger than the image by much.
  THORAX_CHECK(
      l.block_width > 0 && l.block_height > 0 &&
          uint64_t{l.block_width} * l.block_height <= 4 * uint64_t{width} * height + (1 << 20),
      "[decode] {}: corrupt tiff: blocks of {}x{} pixels in an image of {}x{}", name, l.block_width,
      l.block_height, width, height);
  return l;
}

// Pages beside thumbnails and the like. Leaves the first one open again.
int count_pages(TIFF* tiff, const Source& source, const std::string& name, ImageInfo& info) {
  constexpr int kEnough = 1000;
  int pages = 1;
  while (pages < kEnough && TIFFReadDirectory(tiff) == 1) {
    uint32_t kind = 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SUBFILETYPE, &kind);
    if ((kind & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)) == 0) ++pages;
  }
  if (!source.error.empty())
    info.notes.emplace_back("what follows the first page is broken, and not read");
  THORAX_CHECK(TIFFSetDirectory(tiff, 0) == 1, "[decode] {}: corrupt tiff: {}", name, source.error);
  return pages;
}

// Samples of `bits` bits, the highest first, from sample `first` of a row on.
template <class T>
void unpack(const uint8_t* row, size_t first, size_t count, int bits, T* to) {
  if (bits == 8) {
    std::copy_n(row + first, count, to);
  } else if (bits == 16) {
    for (size_t i = 0; i < count; ++i) {
      uint16_t v;
      std::memcpy(&v, row + 2 * (first + i), 2);
      to[i] = static_cast<T>(v);
    }
  } else {
    size_t bit = first * static_cast<size_t>(bits);
    for (size_t i = 0; i < count; ++i) {
      unsigned value = 0;
      for (int k = 0; k < bits; ++k, ++bit)
        value = value << 1 | (row[bit / 8] >> (7 - bit % 8) & 1u);
      to[i] = static_cast<T>(value);
    }
  }
}

// Calls block(x, y, columns, rows, plane, data, bytes of a row) for every strip or tile.
template <class F>
void over_blocks(TIFF* tiff, const Layout& l, const ImageInfo& info, const Source& source,
                 const std::string& name, const F& block) {
  const bool separate = l.planar == PLANARCONFIG_SEPARATE;
  const auto width = static_cast<uint32_t>(info.width), height = static_cast<uint32_t>(info.height);
  const tmsize_t size = l.tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
  const tmsize_t row = l.tiled ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff);
  const uint64_t row_bits = uint64_t{l.block_width} * (separate ? 1 : l.samples) * l.bits;
  THORAX_CHECK(row > 0 && static_cast<uint64_t>(row) >= (row_bits + 7) / 8 &&
                   size >= row * static_cast<tmsize_t>(l.block_height),
               "[decode] {}: corrupt tiff: {}", name,
               source.error.empty() ? "its samples do not fill its blocks" : source.error);
  std::vector<uint8_t> buffer(static_cast<size_t>(size));
  for (uint16_t plane = 0; plane < (separate ? l.kept() : 1); ++plane)
    for (uint32_t y = 0; y < height; y += l.block_height)
      for (uint32_t x = 0; x < width; x += l.block_width) {
        const uint32_t rows = std::min(l.block_height, height - y);
        const tmsize_t wanted = l.tiled ? size : row * static_cast<tmsize_t>(rows);
        const tmsize_t made = l.tiled
                                  ? TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, x, y, 0, plane),
                                                        buffer.data(), size)
                                  : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, y, plane),
                                                         buffer.data(), wanted);
        // A warning here means that pixels are not those that were compressed.
        const std::string& why = source.error.empty() ? source.warning : source.error;
        THORAX_CHECK(made == wanted && why.empty(), "[decode] {}: corrupt or truncated tiff: {}",
                     name,
                     why.empty() ? fmt::format("{} bytes of {} in a block", made, wanted) : why);
        block(x, y, std::min(l.block_width, width - x), rows, plane, buffer.data(),
              static_cast<size_t>(row));
      }
}

template <class T>
void read_samples(TIFF* tiff, const Layout& l, const Source& source, const std::string& name,
                  Samples& s) {
  const auto kept = static_cast<size_t>(l.kept()), width = static_cast<size_t>(s.info.width);
  const bool separate = l.planar == PLANARCONFIG_SEPARATE;
  s.pixels = allocate_pixels(sizeof(T) * s.count() * kept);
  T* pixels = static_cast<T*>(s.pixels.get());
  const size_t stored = separate ? 1 : l.samples;
  std::vector<T> line(stored * l.block_width);
  over_blocks(tiff, l, s.info, source, name,
              [&](size_t x, size_t y, size_t columns, size_t rows, size_t plane,
                  const uint8_t* data, size_t row_bytes) {
                for (size_t r = 0; r < rows; ++r) {
                  unpack(data + r * row_bytes, 0, columns * stored, l.bits, line.data());
                  T* to = pixels + ((y + r) * width + x) * kept;
                  for (size_t i = 0; i < columns; ++i)
                    if (separate)
                      to[i * kept + plane] = line[i];
                    else
                      std::copy_n(line.data() + i * stored, kept, to + i * kept);
                }
              });
}

// Black is zero from here on. Samples of 16 bits that hold fewer are turned over within these.
template <class T>
void turn_over(Samples& s, Use use) {
  T* pixels = static_cast<T*>(s.pixels.get());
  const size_t n = s.count(), channels = static_cast<size_t>(s.channels);
  int bits = s.info.sample_bits;
  if (bits == 16 && use != Use::mask) {
    uint32_t all = 0;
    for (size_t i = 0; i < n; ++i) all |= pixels[i * channels];
    bits = effective_depth(all, 16, 0);
    s.info.significant_bits = bits;
    if (bits < 16) s.top = (1 << bits) - 1;
  }
  const int top = (1 << bits) - 1;
  for (size_t i = 0; i < n; ++i) pixels[i * channels] = static_cast<T>(top - pixels[i * channels]);
}

}  // namespace

std::string tiff_reader() {
  const std::string version = TIFFGetVersion();  // "LIBTIFF, Version 4.5.0\nCopyright ..."
  const size_t begin = version.find("Version ") + 8;
  return "libtiff " + version.substr(begin, version.find('\n') - begin);
}

ImageInfo check_tiff(Bytes bytes, const std::string& name, const DecodeLimits& limits) {
  Source source{bytes};
  ImageInfo info;
  const Handle tiff = open(source, name, limits);
  read_layout(tiff.get(), source, name, limits, info);
  return info;
}

Samples decode_tiff(Bytes bytes, const std::string& name, const DecodeLimits& limits, Use use) {
  Source source{bytes};
  Samples s;
  const Handle handle = open(source, name, limits);
  TIFF* tiff = handle.get();
  ImageInfo first;
  read_layout(tiff, source, name, limits, first);  // refuses before other pages are looked at
  const int pages = count_pages(tiff, source, name, s.info);
  THORAX_CHECK(pages == 1 || use != Use::mask,
               "[mask] {}: a tiff of {} pages; a mask has one: save each as a file", name, pages);
  if (pages > 1) s.info.notes.emplace_back("a TIFF of several pages, the first one is read");
  const Layout l = read_layout(tiff, source, name, limits, s.info);
  if (!source.warning.empty()) s.info.notes.push_back("libtiff says: " + source.warning);
  source.error.clear();
  source.warning.clear();
  s.channels = l.kept();
  if (l.numbers) {
    // The numbers as they are, for samples_of.
    const size_t bytes_each = l.bits / 8, kept = static_cast<size_t>(l.kept());
    const size_t stored = l.planar == PLANARCONFIG_SEPARATE ? 1 : l.samples;
    const auto width = static_cast<size_t>(s.info.width);
    std::vector<uint8_t> raw(s.count() * kept * bytes_each);
    over_blocks(tiff, l, s.info, source, name,
                [&](size_t x, size_t y, size_t columns, size_t rows, size_t plane,
                    const uint8_t* data, size_t row_bytes) {
                  for (size_t r = 0; r < rows; ++r)
                    for (size_t i = 0; i < columns; ++i) {
                      uint8_t* to =
                          raw.data() + (((y + r) * width + x + i) * kept + plane) * bytes_each;
                      const uint8_t* from = data + r * row_bytes + i * stored * bytes_each;
                      std::copy_n(from, (stored == 1 ? 1 : kept) * bytes_each, to);
                    }
                });
    NumberArray a;
    a.type = {l.format == SAMPLEFORMAT_IEEEFP ? NumberType::Kind::real : NumberType::Kind::whole,
              l.format != SAMPLEFORMAT_UINT && l.format != SAMPLEFORMAT_VOID,
              static_cast<int>(bytes_each), std::endian::native == std::endian::big};
    a.data = raw.data();
    a.height = s.info.height;
    a.width = s.info.width;
    a.channels = l.colours;
    a.channel_step = static_cast<int64_t>(bytes_each);
    a.column_step = static_cast<int64_t>(bytes_each * kept);
    a.row_step = a.column_step * a.width;
    return samples_of(a, std::move(s.info), name, use);
  }
  if (s.info.bits == 16)
    read_samples<uint16_t>(tiff, l, source, name, s);
  else
    read_samples<uint8_t>(tiff, l, source, name, s);
  if (l.photometric == PHOTOMETRIC_MINISWHITE)
    s.info.bits == 16 ? turn_over<uint16_t>(s, use) : turn_over<uint8_t>(s, use);
  if (s.info.palette.empty() && s.info.sample_bits < 8) {
    s.step = 255 / ((1 << s.info.sample_bits) - 1);
    uint8_t* p = s.u8();
    for (size_t i = 0; i < s.count() * static_cast<size_t>(s.channels); ++i)
      p[i] = static_cast<uint8_t>(p[i] * s.step);
  }
  return s;
}

}  // namespace thorax

#endif
