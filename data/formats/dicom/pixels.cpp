#ifdef THORAX_DCMTK
#include "data/formats/dicom/pixels.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "data/decode_jpeg.h"
#include "data/formats/dicom/jpeg2000.h"
#include "data/formats/dicom/rle.h"
#include "engine/tensor/error.h"

#include <dcmtk/dcmdata/dccodec.h>
#include <dcmtk/dcmdata/dcpixel.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>

namespace thorax::dicom {
namespace {

bool is_jpeg(E_TransferSyntax s) {
  return s >= EXS_JPEGProcess1 && s <= EXS_JPEGProcess14SV1;
}
bool is_jpeg_ls(E_TransferSyntax s) {
  return s == EXS_JPEGLSLossless || s == EXS_JPEGLSLossy;
}
bool is_jpeg_2000(E_TransferSyntax s) {
  return s == EXS_JPEG2000 || s == EXS_JPEG2000LosslessOnly;
}

DcmPixelData& pixel_data(Object& object) {
  DcmElement* element = nullptr;
  const bool found = object.dataset().findAndGetElement(DCM_PixelData, element).good();
  auto* pixels = found ? dynamic_cast<DcmPixelData*>(element) : nullptr;
  THORAX_CHECK(pixels && (object.dataset().tagExistsWithValue(DCM_PixelData)),
               "[decode] {}: DICOM object without pixel data ({}); it holds no image",
               object.name(),
               object.text(DCM_SOPClassUID).empty() ? "no SOP class"
                                                    : "SOP class " + object.text(DCM_SOPClassUID));
  return *pixels;
}

// The compressed bytes of one frame.
std::vector<uint8_t> fragments_of(Object& object, DcmPixelData& pixels, int frames, int frame) {
  DcmPixelSequence* sequence = nullptr;
  THORAX_CHECK(pixels.getEncapsulatedRepresentation(object.syntax(), nullptr, sequence).good() &&
                   sequence && sequence->card() > 1,
               "[decode] {}: the pixel data are not compressed as the transfer syntax {} says",
               object.name(), object.syntax_uid());
  Uint32 begin = 1, end = static_cast<Uint32>(sequence->card());
  const auto start_of = [&](int f, Uint32& at) {
    THORAX_CHECK(
        DcmCodec::determineStartFragment(static_cast<Uint32>(f), frames, sequence, at).good() &&
            at >= 1 && at < sequence->card(),
        "[decode] {}: {} fragments of pixel data for {} frames, and no offset table that says "
        "where "
        "frame {} begins",
        object.name(), sequence->card() - 1, frames, f + 1);
  };
  if (frames > 1) {
    start_of(frame, begin);
    if (frame + 1 < frames) start_of(frame + 1, end);
  }
  std::vector<uint8_t> out;
  for (Uint32 i = begin; i < end; ++i) {
    DcmPixelItem* item = nullptr;
    Uint8* bytes = nullptr;
    if (sequence->getItem(item, i).bad() || item->getLength() == 0) continue;
    THORAX_CHECK(item->getUint8Array(bytes).good() && bytes,
                 "[decode] {}: fragment {} of the pixel data cannot be read", object.name(), i);
    out.insert(out.end(), bytes, bytes + item->getLength());
  }
  return out;
}

struct CodedSize {
  int rows = 0, columns = 0, channels = 0, bits = 0;
};

// Of the first frame header of a JPEG or JPEG-LS stream; zeros where there is none.
CodedSize jpeg_size(const std::vector<uint8_t>& b) {
  for (size_t at = 2; at + 9 < b.size();) {
    if (b[at] != 0xFF) return {};
    const int marker = b[at + 1];
    if (marker == 0xFF) {
      ++at;
      continue;
    }
    const bool frame =
        (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) ||
        marker == 0xF7;
    if (frame)
      return {b[at + 5] << 8 | b[at + 6], b[at + 7] << 8 | b[at + 8], b[at + 9], b[at + 4]};
    at += 2 + static_cast<size_t>(b[at + 2] << 8 | b[at + 3]);
  }
  return {};
}

// Of the SIZ segment of a JPEG 2000 codestream (ISO 15444-1, A.5.1).
CodedSize jpeg_2000_size(const std::vector<uint8_t>& b) {
  if (b.size() < 43 || b[2] != 0xFF || b[3] != 0x51) return {};
  const auto u32 = [&](size_t at) {
    return int64_t{b[at]} << 24 | b[at + 1] << 16 | b[at + 2] << 8 | b[at + 3];
  };
  const int64_t columns = u32(8) - u32(16), rows = u32(12) - u32(20);
  if (columns <= 0 || rows <= 0 || columns > 65535 || rows > 65535) return {};
  return {static_cast<int>(rows), static_cast<int>(columns), b[40] << 8 | b[41],
          (b[42] & 0x7F) + 1};
}

// A frame's own header agrees with the data set's, and the frame has an end: decoders fill what a
// cut frame lacks with gray.
void check_frame(Object& object, const Geometry& g, const std::vector<uint8_t>& bytes, int frame) {
  const E_TransferSyntax syntax = object.syntax();
  const bool wavelet = is_jpeg_2000(syntax);
  const std::string what = fmt::format("frame {} of its pixel data", frame + 1);
  THORAX_CHECK(bytes.size() > 4 && bytes[0] == 0xFF && bytes[1] == (wavelet ? 0x4F : 0xD8),
               "[decode] {}: {} is no {} stream", object.name(), what,
               wavelet ? "JPEG 2000" : "JPEG");
  const CodedSize size = wavelet ? jpeg_2000_size(bytes) : jpeg_size(bytes);
  THORAX_CHECK(
      size.rows == g.rows && size.columns == g.columns && size.channels == g.channels &&
          size.bits <= g.allocated,
      "[decode] {}: DICOM header says {}x{}, {} channels of {} bits, {} is {}x{}, {} of {}",
      object.name(), g.columns, g.rows, g.channels, g.allocated, what, size.columns, size.rows,
      size.channels, size.bits);
  auto last = bytes.end();
  while (last != bytes.begin() && last[-1] == 0) --last;
  THORAX_CHECK(last - bytes.begin() > 2 && last[-1] == 0xD9 && last[-2] == 0xFF,
               "[decode] {}: truncated: {} has no end marker", object.name(), what);
  // Baseline: walked to its last block.
  if (syntax == EXS_JPEGProcess1)
    check_jpeg({bytes.data(), static_cast<size_t>(last - bytes.begin())},
               object.name() + ": " + what, {});
}

std::vector<uint8_t> native_frame(Object& object, DcmPixelData& pixels, Geometry& g, int frame) {
  const DcmXfer syntax(object.syntax());
  std::vector<uint8_t> out(g.frame_bytes());
  if (syntax.isEncapsulated()) {
    const std::vector<uint8_t> packed = fragments_of(object, pixels, g.frames, frame);
    if (object.syntax() == EXS_RLELossless) {
      const size_t bytes = static_cast<size_t>(g.allocated) / 8, places = g.samples() / g.channels;
      const std::vector<uint8_t> planes =
          decode_rle(packed, g.channels * static_cast<int>(bytes), places,
                     fmt::format("{}: frame {}", object.name(), frame + 1));
      // Segments: by channel, of each the upper byte first. Here: channels beside each other, the
      // lower byte first.
      for (size_t c = 0; c < static_cast<size_t>(g.channels); ++c)
        for (size_t b = 0; b < bytes; ++b)
          for (size_t i = 0; i < places; ++i)
            out[(i * g.channels + c) * bytes + bytes - 1 - b] =
                planes[(c * bytes + b) * places + i];
      g.planar = false;
      return out;
    }
    check_frame(object, g, packed, frame);
    if (is_jpeg_2000(object.syntax())) {
      const std::string problem =
          decode_jpeg2000({packed, g.rows, g.columns, g.channels, g.allocated, g.stored, g.high,
                           g.is_signed, g.photometric, object.syntax_uid()},
                          out);
      THORAX_CHECK(problem.empty(), "[decode] {}: JPEG 2000: {}", object.name(), problem);
      if (g.channels == 3) g.photometric = "RGB";
      g.planar = false;
      return out;
    }
  }
  Uint32 fragment = 0;
  OFString colours;
  // DCMTK wants an even length.
  out.resize(out.size() + out.size() % 2);
  const OFCondition done =
      pixels.getUncompressedFrame(&object.dataset(), static_cast<Uint32>(frame), fragment,
                                  out.data(), static_cast<Uint32>(out.size()), colours);
  THORAX_CHECK(done.good(), "[decode] {}: frame {} cannot be decoded from transfer syntax {}: {}",
               object.name(), frame + 1, object.syntax_uid(), done.text());
  out.resize(g.frame_bytes());
  if (g.channels == 3 && !colours.empty()) g.photometric = colours.c_str();
  if (is_jpeg(object.syntax()) || is_jpeg_ls(object.syntax())) g.planar = false;
  return out;
}

void check_native_length(Object& object, DcmPixelData& pixels, const Geometry& g) {
  const uint64_t wanted = static_cast<uint64_t>(g.frame_bytes()) * static_cast<uint64_t>(g.frames);
  const uint64_t there = pixels.getLength(object.syntax());
  THORAX_CHECK(
      there >= wanted,
      "[decode] {}: truncated DICOM: {} bytes of pixel data, {} frames of {}x{}x{} with {} "
      "bits need {}",
      object.name(), there, g.frames, g.columns, g.rows, g.channels, g.allocated, wanted);
  // A file that has more than it says is of another shape than it says.
  THORAX_CHECK(there <= wanted + 1 + wanted % 2,
               "[decode] {}: corrupt DICOM: {} bytes of pixel data, {} frames of {}x{}x{} with {} "
               "bits need {}",
               object.name(), there, g.frames, g.columns, g.rows, g.channels, g.allocated, wanted);
}

}  // namespace

std::string jpeg2000_reader() {
  return jpeg2000_version();
}

Geometry read_geometry(Object& object, const DecodeLimits& limits) {
  const std::string& name = object.name();
  DcmPixelData& pixels = pixel_data(object);
  Geometry g;
  g.rows = object.integer(DCM_Rows, 0, 65535);
  g.columns = object.integer(DCM_Columns, 0, 65535);
  ImageInfo size;
  size.format = "dicom";
  size.height = g.rows;
  size.width = g.columns;
  check_size(size, name, limits);
  g.frames = object.integer(DCM_NumberOfFrames, 1, std::numeric_limits<int>::max(), 1);
  g.channels = object.integer(DCM_SamplesPerPixel, 1, 4, 1);
  g.allocated = object.integer(DCM_BitsAllocated, 1, 64);
  g.stored = object.integer(DCM_BitsStored, 1, 64, g.allocated);
  g.high = object.integer(DCM_HighBit, 0, 63, g.stored - 1);
  g.is_signed = object.integer(DCM_PixelRepresentation, 0, 1, 0) == 1;
  g.photometric = object.text(DCM_PhotometricInterpretation);
  g.planar = g.channels == 3 && object.integer(DCM_PlanarConfiguration, 0, 1, 0) == 1;
  THORAX_CHECK(
      g.allocated == 8 || g.allocated == 16,
      "[decode] {}: DICOM pixels of {} bits are not read, only 8 and 16; {}", name, g.allocated,
      g.allocated == 1 ? "a Segmentation or an overlay is no radiograph" : "convert the file");
  THORAX_CHECK(g.stored <= g.allocated && g.high >= g.stored - 1 && g.high < g.allocated,
               "[decode] {}: corrupt DICOM: {} bits stored up to bit {} of {} allocated", name,
               g.stored, g.high, g.allocated);
  THORAX_CHECK(g.stored >= 2, "[decode] {}: DICOM pixels of one bit are no radiograph", name);
  const bool gray = g.photometric == "MONOCHROME1" || g.photometric == "MONOCHROME2";
  const bool palette = g.photometric == "PALETTE COLOR";
  THORAX_CHECK(gray || palette || g.photometric == "RGB" || g.photometric.starts_with("YBR_"),
               "[decode] {}: DICOM photometric interpretation '{}' is not read; MONOCHROME1, "
               "MONOCHROME2, PALETTE COLOR, RGB and YBR are",
               name, g.photometric);
  THORAX_CHECK(g.channels == (gray || palette ? 1 : 3),
               "[decode] {}: corrupt DICOM: {} with {} samples a pixel", name, g.photometric,
               g.channels);
  THORAX_CHECK(gray || (g.allocated == 8 && g.stored == 8 && !g.is_signed),
               "[decode] {}: DICOM {} of {} bits is not read, only of 8", name, g.photometric,
               g.stored);
  const E_TransferSyntax syntax = object.syntax();
  const bool packed = DcmXfer(syntax).isEncapsulated();
  THORAX_CHECK(packed || !g.photometric.starts_with("YBR_") || g.photometric == "YBR_FULL",
               "[decode] {}: DICOM {} that is not compressed is not read", name, g.photometric);
  THORAX_CHECK(!packed || syntax == EXS_RLELossless || is_jpeg(syntax) || is_jpeg_ls(syntax) ||
                   is_jpeg_2000(syntax),
               "[decode] {}: DICOM transfer syntax {} ({}) is not read; convert the file, for "
               "example with gdcmconv --raw",
               name, object.syntax_uid(), DcmXfer(syntax).getXferName());
  THORAX_CHECK(!is_jpeg_2000(syntax) || !jpeg2000_version().empty(),
               "[decode] {}: DICOM with JPEG 2000, which this build does not read; install "
               "libgdcm-dev and build thorax anew, or convert the file with gdcmconv --raw",
               name);
  g.lossy = syntax == EXS_JPEGProcess1 || syntax == EXS_JPEGProcess2_4 ||
            syntax == EXS_JPEGLSLossy || object.text(DCM_LossyImageCompression) == "01";
  if (!packed) check_native_length(object, pixels, g);
  if (packed)
    THORAX_CHECK(static_cast<int64_t>(g.frames) <= limits.max_file_bytes / 8,
                 "[decode] {}: {} frames, more than its file can hold", name, g.frames);
  return g;
}

std::vector<uint16_t> read_frame(Object& object, Geometry& g, int frame) {
  THORAX_CHECK(frame >= 0 && frame < g.frames, "[decode] {}: has no frame {}; it has {}",
               object.name(), frame + 1, g.frames);
  const std::vector<uint8_t> bytes = native_frame(object, pixel_data(object), g, frame);
  const int shift = g.high + 1 - g.stored;
  const uint32_t mask = (uint32_t{1} << g.stored) - 1,
                 flip = g.is_signed ? uint32_t{1} << (g.stored - 1) : 0;
  std::vector<uint16_t> out(g.samples());
  for (size_t i = 0; i < out.size(); ++i) {
    const uint32_t word =
        g.allocated == 8 ? bytes[i] : static_cast<uint32_t>(bytes[2 * i] | bytes[2 * i + 1] << 8);
    // Two's complement minus the lowest value: the sign bit turned over.
    out[i] = static_cast<uint16_t>((word >> shift & mask) ^ flip);
  }
  if (g.planar) {
    std::vector<uint16_t> pixels(out.size());
    const size_t n = out.size() / 3;
    for (size_t i = 0; i < n; ++i)
      for (size_t c = 0; c < 3; ++c) pixels[3 * i + c] = out[c * n + i];
    out = std::move(pixels);
  }
  if (g.channels == 3 && g.photometric == "YBR_FULL")
    for (size_t i = 0; i + 2 < out.size(); i += 3) {  // PS3.3, C.7.6.3.1.2
      const float y = out[i], cb = static_cast<float>(out[i + 1]) - 128,
                  cr = static_cast<float>(out[i + 2]) - 128;
      const auto level = [](float v) {
        return static_cast<uint16_t>(std::clamp(v + 0.5f, 0.f, 255.f));
      };
      out[i] = level(y + 1.402f * cr);
      out[i + 1] = level(y - 0.344136f * cb - 0.714136f * cr);
      out[i + 2] = level(y + 1.772f * cb);
    }
  return out;
}

}  // namespace thorax::dicom
#endif
