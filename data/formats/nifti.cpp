#include "data/formats/nifti.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "data/formats/gzip.h"
#include "data/formats/numbers.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kSize1 = 348, kSize2 = 540;

// A header's fields at their places, in the file's byte order.
class Fields {
 public:
  Fields(Bytes bytes, bool big) : bytes_(bytes), big_(big) {}
  template <class T>
  T at(size_t place) const {
    uint8_t raw[sizeof(T)];
    std::memcpy(raw, bytes_.data() + place, sizeof(T));
    if (big_ != (std::endian::native == std::endian::big)) std::reverse(raw, raw + sizeof(T));
    T value;
    std::memcpy(&value, raw, sizeof(T));
    return value;
  }

 private:
  Bytes bytes_;
  bool big_;
};

// 1 or 2 and the byte order, or 0. `pair`: the header of a file in two parts.
struct Form {
  int version = 0;
  bool big = false, pair = false;
};

Form form_of(Bytes b) {
  if (b.size() < kSize1) return {};
  const auto text = [&](size_t at, const char* wanted) {
    return std::memcmp(b.data() + at, wanted, 4) == 0;  // with its final zero
  };
  for (const bool big : {false, true}) {
    const auto size = Fields(b, big).at<int32_t>(0);
    if (size == kSize1 && (text(344, "n+1") || text(344, "ni1"))) return {1, big, text(344, "ni1")};
    if (size == kSize2 && (text(4, "n+2") || text(4, "ni2"))) return {2, big, text(4, "ni2")};
  }
  return {};
}

struct Header {
  std::vector<int64_t> dims;
  int type = 0;
  int64_t offset = 0;
  double slope = 0, intercept = 0;
  // How the first two axes run in the patient (x to the left, y to the back are ITK's), where
  // known.
  bool turned = false;
};

Header read_header(Bytes b, const Form& form, const std::string& name) {
  const Fields f(b, form.big);
  const bool two = form.version == 2;
  THORAX_CHECK(b.size() >= (two ? kSize2 : kSize1), "[decode] {}: truncated nifti: only {} bytes",
               name, b.size());
  Header h;
  const int64_t count = two ? f.at<int64_t>(16) : f.at<int16_t>(40);
  THORAX_CHECK(count >= 1 && count <= 7, "[decode] {}: corrupt nifti: {} dimensions", name, count);
  for (size_t i = 1; i <= static_cast<size_t>(count); ++i)
    h.dims.push_back(two ? f.at<int64_t>(16 + 8 * i) : f.at<int16_t>(40 + 2 * i));
  h.type = two ? f.at<int16_t>(12) : f.at<int16_t>(70);
  const double offset =
      two ? static_cast<double>(f.at<int64_t>(168)) : static_cast<double>(f.at<float>(108));
  THORAX_CHECK(offset >= static_cast<double>(two ? kSize2 : kSize1) &&
                   offset <= static_cast<double>(b.size()) && offset == std::floor(offset),
               "[decode] {}: corrupt or truncated nifti: its data begin at byte {}, it has {}",
               name, offset, b.size());
  h.offset = static_cast<int64_t>(offset);
  h.slope = two ? f.at<double>(176) : f.at<float>(112);
  h.intercept = two ? f.at<double>(184) : f.at<float>(116);
  // Without a slope nothing is scaled.
  if (h.slope == 0 || !std::isfinite(h.slope) || !std::isfinite(h.intercept))
    h.slope = 1, h.intercept = 0;
  const int qform = two ? f.at<int32_t>(344) : f.at<int16_t>(252),
            sform = two ? f.at<int32_t>(348) : f.at<int16_t>(254);
  if (sform > 0) {
    const size_t row = two ? 400 : 280, step = two ? 32 : 16;
    const auto entry = [&](size_t r, size_t c) {
      return two ? f.at<double>(row + step * r + 8 * c) : f.at<float>(row + step * r + 4 * c);
    };
    h.turned = entry(0, 0) > 0 || entry(1, 1) > 0;
  } else if (qform > 0) {
    // Of the quaternion b, c, d: the signs of the rotation's first two diagonal entries.
    const size_t at = two ? 352 : 256, step = two ? 8 : 4;
    const auto part = [&](size_t i) {
      return two ? f.at<double>(at + step * i) : f.at<float>(at + step * i);
    };
    const double qb = part(0), qc = part(1), qd = part(2);
    const double qa2 = std::max(0., 1 - qb * qb - qc * qc - qd * qd);
    h.turned = qa2 + qb * qb - qc * qc - qd * qd > 0 || qa2 + qc * qc - qb * qb - qd * qd > 0;
  }
  return h;
}

NumberType type_of(int code, bool big, const std::string& name) {
  using Kind = NumberType::Kind;
  switch (code) {
    case 2:
    case 128:  // RGB24
      return {Kind::whole, false, 1, big};
    case 4:
      return {Kind::whole, true, 2, big};
    case 8:
      return {Kind::whole, true, 4, big};
    case 16:
      return {Kind::real, true, 4, big};
    case 64:
      return {Kind::real, true, 8, big};
    case 256:
      return {Kind::whole, true, 1, big};
    case 512:
      return {Kind::whole, false, 2, big};
    case 768:
      return {Kind::whole, false, 4, big};
    case 1024:
      return {Kind::whole, true, 8, big};
    case 1280:
      return {Kind::whole, false, 8, big};
    default:
      fail(
          "[decode] {}: nifti of data type {}; read are whole numbers of 8 to 64 bits, float32, "
          "float64 and RGB24",
          name, code);
  }
}

// `b`: not compressed; it must outlive the array.
NumberArray read_array(Bytes b, const std::string& name, const DecodeLimits& limits,
                       ImageInfo& info) {
  const Form form = form_of(b);
  THORAX_CHECK(form.version > 0, "[decode] {}: corrupt nifti: no header at its begin", name);
  THORAX_CHECK(!form.pair,
               "[decode] {}: the header of a nifti file in two parts (.hdr and .img), which is not "
               "read: save it as one .nii",
               name);
  const Header h = read_header(b, form, name);
  info.format = "nifti";
  THORAX_CHECK(h.dims.size() >= 2 &&
                   std::all_of(h.dims.begin() + 2, h.dims.end(), [](int64_t d) { return d == 1; }),
               "[decode] {}: nifti of {} voxels; a radiograph or its mask has two dimensions: save "
               "one slice, with the others 1",
               name, fmt::join(h.dims, "x"));
  const auto side = [](int64_t d) {
    return static_cast<int>(std::clamp<int64_t>(d, 0, 0x7fffffff));
  };
  info.width = side(h.dims[0]);
  info.height = side(h.dims[1]);
  check_size(info, name, limits);
  NumberArray a;
  a.type = type_of(h.type, form.big, name);
  a.width = info.width;
  a.height = info.height;
  a.channels = h.type == 128 ? 3 : 1;
  a.channel_step = a.type.bytes;
  a.column_step = int64_t{a.type.bytes} * a.channels;
  a.row_step = a.column_step * a.width;
  if (a.channels == 1) a.slope = h.slope, a.intercept = h.intercept;
  const uint64_t wanted = static_cast<uint64_t>(a.row_step) * static_cast<uint64_t>(a.height),
                 left = b.size() - static_cast<uint64_t>(h.offset);
  THORAX_CHECK(left >= wanted,
               "[decode] {}: truncated nifti: {}x{} numbers want {} bytes, {} are left", name,
               a.width, a.height, wanted, left);
  a.data = b.data() + h.offset;
  if (h.turned)
    info.notes.emplace_back(
        "read as stored, first axis left to right, second top to bottom; its affine, which would "
        "mirror it or turn it upside down, is not applied");
  return a;
}

// The file without gzip, in `buffer` where that was needed.
Bytes unpacked(Bytes bytes, const std::string& name, const DecodeLimits& limits,
               std::vector<uint8_t>& buffer) {
  if (!is_gzip(bytes)) return bytes;
  buffer = gunzip(bytes, name, static_cast<uint64_t>(limits.max_file_bytes));
  return buffer;
}

}  // namespace

bool is_nifti(Bytes head) {
  if (!is_gzip(head)) return form_of(head).version > 0;
  constexpr size_t kEnough = 4096;
  return form_of(gunzip_head(head.first(std::min(head.size(), kEnough)), kSize1)).version > 0;
}

ImageInfo check_nifti(Bytes bytes, const std::string& name, const DecodeLimits& limits) {
  ImageInfo info;
  std::vector<uint8_t> buffer;
  const NumberArray array = read_array(unpacked(bytes, name, limits, buffer), name, limits, info);
  describe_numbers(array, info);
  info.file_bytes = static_cast<int64_t>(bytes.size());
  return info;
}

Samples decode_nifti(Bytes bytes, const std::string& name, const DecodeLimits& limits, Use use) {
  ImageInfo info;
  std::vector<uint8_t> buffer;
  const NumberArray array = read_array(unpacked(bytes, name, limits, buffer), name, limits, info);
  info.file_bytes = static_cast<int64_t>(bytes.size());
  return samples_of(array, std::move(info), name, use);
}

std::vector<uint8_t> encode_nifti(const ImageU8& labels) {
  constexpr int kMost = 32767;
  THORAX_CHECK(labels.channels == 1 && labels.height > 0 && labels.width > 0 &&
                   labels.height <= kMost && labels.width <= kMost,
               "[encode] NIfTI of {}x{}x{}: one channel, sides from 1 to {}", labels.height,
               labels.width, labels.channels, kMost);
  constexpr size_t kData = 352;  // behind four bytes that say that there are no extensions
  std::vector<uint8_t> out(kData + labels.pixels.size());
  const auto put = [&](size_t at, auto value) {
    std::memcpy(out.data() + at, &value, sizeof value);
    if constexpr (std::endian::native == std::endian::big)
      std::reverse(out.data() + at, out.data() + at + sizeof value);
  };
  put(0, static_cast<int32_t>(kSize1));
  const int dims[8] = {3, labels.width, labels.height, 1, 1, 1, 1, 1};
  for (size_t i = 0; i < 8; ++i) put(40 + 2 * i, static_cast<int16_t>(dims[i]));
  put(70, int16_t{2});  // uint8
  put(72, int16_t{8});
  // qfac and the sizes of a voxel, in units that nothing says.
  for (size_t i = 0; i < 4; ++i) put(76 + 4 * i, 1.f);
  put(108, static_cast<float>(kData));
  put(112, 1.f);         // slope
  put(252, int16_t{1});  // qform and sform: scanner
  put(254, int16_t{1});
  put(264, 1.f);  // quaternion of a half turn around z
  put(280, -1.f);
  put(300, -1.f);
  put(320, 1.f);
  std::memcpy(out.data() + 344, "n+1", 4);
  std::copy(labels.pixels.begin(), labels.pixels.end(), out.begin() + kData);
  return gzip(out);
}

}  // namespace thorax
