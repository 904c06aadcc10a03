#include "data/formats/dicom/dicom.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/formats/dicom/header.h"
#include "data/image_place.h"
#include "engine/tensor/error.h"

#ifdef THORAX_DCMTK
#include "data/formats/dicom/gray.h"
#include "data/formats/dicom/object.h"
#include "data/formats/dicom/pixels.h"
#endif

namespace thorax {
#ifndef THORAX_DCMTK

std::string dicom_reader() {
  return {};
}
ImageInfo check_dicom(std::span<const uint8_t>, const std::string& name, const DecodeLimits&) {
  fail(
      "[decode] {}: is a DICOM file, which this build does not read; install libdcmtk-dev and "
      "build thorax anew, or convert the file to PNG",
      name);
}
Samples decode_dicom(std::span<const uint8_t> bytes, const std::string& name,
                     const DecodeLimits& limits, Use) {
  check_dicom(bytes, name, limits);
  return {};
}
DicomHeader read_dicom_header(const std::filesystem::path& path, const DecodeLimits& limits) {
  check_dicom({}, path.string(), limits);
  return {};
}

#else

namespace dicom {
namespace {

// YYYYMMDD as years.
std::optional<double> years(const std::string& date) {
  if (date.size() != 8 ||
      !std::all_of(date.begin(), date.end(), [](unsigned char c) { return std::isdigit(c) != 0; }))
    return std::nullopt;
  const int y = std::stoi(date.substr(0, 4)), m = std::stoi(date.substr(4, 2)),
            d = std::stoi(date.substr(6, 2));
  return y + (m - 1) / 12. + (d - 1) / 365.25;
}

// "058Y", "011M", "003W", "007D".
std::optional<double> age_of(const std::string& text) {
  if (text.size() < 2) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size() - 1, value);
  if (error != std::errc() || end != text.data() + text.size() - 1 || value < 0)
    return std::nullopt;
  switch (text.back()) {
    case 'Y':
      return value;
    case 'M':
      return value / 12.;
    case 'W':
      return value * 7 / 365.25;
    case 'D':
      return value / 365.25;
    default:
      return std::nullopt;
  }
}

DicomHeader header_of(Object& object) {
  DicomHeader h;
  h.sop_class = object.text(DCM_SOPClassUID);
  h.sop_instance = object.text(DCM_SOPInstanceUID);
  h.study = object.text(DCM_StudyInstanceUID);
  h.series = object.text(DCM_SeriesInstanceUID);
  h.patient_id = object.text(DCM_PatientID);
  h.issuer = object.text(DCM_IssuerOfPatientID);
  h.modality = object.text(DCM_Modality);
  h.body_part = object.text(DCM_BodyPartExamined);
  h.view = object.text(DCM_ViewPosition);
  h.laterality = object.text(DCM_ImageLaterality);
  if (h.laterality.empty()) h.laterality = object.text(DCM_Laterality);
  h.study_date = object.text(DCM_StudyDate);
  h.sex = object.text(DCM_PatientSex);
  const std::string along = Object::text_of(object.dataset(), DCM_PatientOrientation, 0),
                    down = Object::text_of(object.dataset(), DCM_PatientOrientation, 1);
  if (!along.empty() && !down.empty()) h.patient_orientation = along + "\\" + down;
  h.age = age_of(object.text(DCM_PatientAge));
  if (!h.age) {
    const auto birth = years(object.text(DCM_PatientBirthDate)), study = years(h.study_date);
    if (birth && study && *study >= *birth) h.age = *study - *birth;
  }
  h.burned_in = object.text(DCM_BurnedInAnnotation) == "YES";
  h.for_processing = object.text(DCM_PresentationIntentType) == "FOR PROCESSING";
  h.has_image = object.dataset().tagExistsWithValue(DCM_PixelData);
  if (const std::string frames = object.text(DCM_NumberOfFrames); !frames.empty())
    std::from_chars(frames.data(), frames.data() + frames.size(), h.frames);
  return h;
}

// The item of a functional group that holds `sequence`, of one frame or of all, else the data set.
DcmItem& group_of(Object& object, const DcmTagKey& sequence, int frame) {
  for (const auto& [groups, place] :
       {std::pair<DcmTagKey, long>{DCM_PerFrameFunctionalGroupsSequence, frame},
        std::pair<DcmTagKey, long>{DCM_SharedFunctionalGroupsSequence, 0}})
    if (DcmItem* group = Object::item_of(object.dataset(), groups, place))
      if (DcmItem* item = Object::item_of(*group, sequence)) return *item;
  return object.dataset();
}

std::vector<uint16_t> words_of(DcmItem& item, const DcmTagKey& tag) {
  unsigned long count = 0;
  const Uint16* words = nullptr;
  if (item.findAndGetUint16Array(tag, words, &count).good() && words) return {words, words + count};
  const Sint16* signed_words = nullptr;
  if (item.findAndGetSint16Array(tag, signed_words, &count).good() && signed_words)
    return {signed_words, signed_words + count};
  return {};
}

// `signed_input`: a first input above 32767 is a negative one that was written as unsigned.
Lut read_lut(Object& object, DcmItem& item, const DcmTagKey& descriptor, const DcmTagKey& data,
             bool signed_input, const std::string& what) {
  Lut lut;
  const auto count = object.number_of(item, descriptor, 0),
             first = object.number_of(item, descriptor, 1),
             bits = object.number_of(item, descriptor, 2);
  THORAX_CHECK(count && first && bits && *bits >= 8 && *bits <= 16,
               "[decode] {}: DICOM {}: its descriptor is no three numbers with 8 to 16 bits",
               object.name(), what);
  int64_t wanted = static_cast<int64_t>(*count) & 0xFFFF;  // SS where values are signed
  if (wanted == 0) wanted = 65536;
  lut.first = static_cast<int>(*first);
  if (signed_input && lut.first > 32767) lut.first -= 65536;
  lut.bits = static_cast<int>(*bits);
  lut.entries = words_of(item, data);
  const auto there = static_cast<int64_t>(lut.entries.size());
  if (lut.bits == 8 && there < wanted && there == (wanted + 1) / 2) {  // two entries a word
    std::vector<uint16_t> bytes;
    for (const uint16_t word : lut.entries) {
      bytes.push_back(word & 0xFF);
      bytes.push_back(word >> 8);
    }
    lut.entries = std::move(bytes);
  }
  THORAX_CHECK(static_cast<int64_t>(lut.entries.size()) >= wanted,
               "[decode] {}: DICOM {} has {} entries, its descriptor says {}", object.name(), what,
               lut.entries.size(), wanted);
  lut.entries.resize(static_cast<size_t>(wanted));
  return lut;
}

Modality read_modality(Object& object, const Geometry& g, int frame) {
  Modality m;
  if (DcmItem* item = Object::item_of(object.dataset(), DCM_ModalityLUTSequence)) {
    m.lut = read_lut(object, *item, DCM_LUTDescriptor, DCM_LUTData, g.is_signed, "modality LUT");
    return m;
  }
  DcmItem& item = group_of(object, DCM_PixelValueTransformationSequence, frame);
  const auto slope = object.number_of(item, DCM_RescaleSlope),
             intercept = object.number_of(item, DCM_RescaleIntercept);
  m.slope = slope.value_or(1);
  m.intercept = intercept.value_or(0);
  THORAX_CHECK(m.slope != 0, "[decode] {}: DICOM RescaleSlope is 0, which maps every value to one",
               object.name());
  return m;
}

Function function_of(Object& object, DcmItem& item) {
  const std::string text = Object::text_of(item, DCM_VOILUTFunction);
  if (text.empty() || text == "LINEAR") return Function::linear;
  if (text == "LINEAR_EXACT") return Function::linear_exact;
  THORAX_CHECK(text == "SIGMOID",
               "[decode] {}: DICOM VOILUTFunction '{}' is none of LINEAR, LINEAR_EXACT, SIGMOID; "
               "--intensity stored reads without it",
               object.name(), text);
  return Function::sigmoid;
}

std::vector<Voi> read_vois(Object& object, bool signed_values, int frame,
                           std::vector<std::string>& notes) {
  std::vector<Voi> vois;
  DcmItem& item = group_of(object, DCM_FrameVOILUTSequence, frame);
  for (long i = 0;; ++i) {
    DcmItem* lut = Object::item_of(object.dataset(), DCM_VOILUTSequence, i);
    if (!lut) break;
    vois.push_back(
        {.lut = read_lut(object, *lut, DCM_LUTDescriptor, DCM_LUTData, signed_values, "VOI LUT")});
  }
  for (unsigned long i = 0;; ++i) {
    const auto centre = object.number_of(item, DCM_WindowCenter, i),
               width = object.number_of(item, DCM_WindowWidth, i);
    if (!centre && !width) break;
    Voi voi{.lut = {}, .centre = centre.value_or(0), .width = width.value_or(0)};
    voi.function = function_of(object, item);
    if (!centre || !width || (voi.function == Function::linear ? voi.width < 1 : voi.width <= 0)) {
      notes.emplace_back("WARNING: a window without a centre or with no width is passed over");
      continue;
    }
    vois.push_back(voi);
  }
  return vois;
}

// Gives the pixels that are padding the darkest value of all others.
void replace_padding(Object& object, const Stored& stored, std::vector<uint16_t>& samples,
                     const std::vector<float>& dark_first, std::vector<std::string>& notes) {
  const auto value = object.number(DCM_PixelPaddingValue);
  if (!value) return;
  const auto sample_of = [&](double v) {
    // An unsigned text of a signed value, or the other way round, has the same bits.
    const auto bits = static_cast<int64_t>(v) & (stored.count() - 1);
    return stored.is_signed ? static_cast<int>(bits) ^ (1 << (stored.bits - 1))
                            : static_cast<int>(bits);
  };
  int low = sample_of(*value),
      high = sample_of(object.number(DCM_PixelPaddingRangeLimit).value_or(*value));
  if (low > high) std::swap(low, high);
  std::vector<char> seen(static_cast<size_t>(stored.count()), 0);
  size_t padding = 0;
  for (const uint16_t s : samples) {
    if (s >= low && s <= high)
      ++padding;
    else
      seen[s] = 1;
  }
  if (padding == 0 || padding == samples.size()) return;
  int darkest = -1;
  for (int s = 0; s < stored.count(); ++s)
    if (seen[static_cast<size_t>(s)] &&
        (darkest < 0 ||
         dark_first[static_cast<size_t>(s)] < dark_first[static_cast<size_t>(darkest)]))
      darkest = s;
  for (uint16_t& s : samples)
    if (s >= low && s <= high) s = static_cast<uint16_t>(darkest);
  notes.emplace_back("padding (PixelPaddingValue) is read as the darkest value of the rest");
}

void read_palette(Object& object, ImageInfo& info) {
  THORAX_CHECK(!object.dataset().tagExists(DCM_SegmentedRedPaletteColorLookupTableData),
               "[decode] {}: DICOM with a segmented palette is not read; convert the file",
               object.name());
  const Lut luts[] = {read_lut(object, object.dataset(), DCM_RedPaletteColorLookupTableDescriptor,
                               DCM_RedPaletteColorLookupTableData, false, "red palette"),
                      read_lut(object, object.dataset(), DCM_GreenPaletteColorLookupTableDescriptor,
                               DCM_GreenPaletteColorLookupTableData, false, "green palette"),
                      read_lut(object, object.dataset(), DCM_BluePaletteColorLookupTableDescriptor,
                               DCM_BluePaletteColorLookupTableData, false, "blue palette")};
  for (int index = 0; index < 256; ++index)
    for (const Lut& lut : luts)
      info.palette.push_back(
          static_cast<uint8_t>(static_cast<int>(lut.at(index)) >> (lut.bits - 8)));
}

// What the header says, before any pixel is decoded.
ImageInfo info_of(Object& object, const Geometry& g, int64_t file_bytes, int frame) {
  const DicomHeader header = header_of(object);
  ImageInfo info;
  info.format = "dicom";
  info.height = g.rows;
  info.width = g.columns;
  info.file_bytes = file_bytes;
  info.lossy = g.lossy;
  info.orientation = header.orientation();
  const bool gray = g.photometric.starts_with("MONOCHROME");
  info.channels = gray ? 1 : 3;
  info.bits = gray ? 16 : 8;
  info.sample_bits = g.stored;
  info.notes = header.warnings();
  if (!object.has_file_header())
    info.notes.emplace_back(
        "DICOM without a file header; the transfer syntax was told from the data");
  if (g.frames > 1)
    info.notes.push_back(frame > 0 ? fmt::format("one frame of {} is read, as named", g.frames)
                                   : fmt::format("the first of {} frames is read (FILE#N reads "
                                                 "frame N, dicom:DIR,frames=all reads all)",
                                                 g.frames));
  if (!gray) info.notes.push_back(fmt::format("DICOM in colour ({})", g.photometric));
  const std::string shape = object.text(DCM_PresentationLUTShape);
  if (gray && !shape.empty() && (shape == "INVERSE") != (g.photometric == "MONOCHROME1"))
    info.notes.push_back(fmt::format(
        "WARNING: PresentationLUTShape {} contradicts {}, which is gone by", shape, g.photometric));
  return info;
}

}  // namespace
}  // namespace dicom

std::string dicom_reader() {
  const std::string jpeg2000 = dicom::jpeg2000_reader();
  return fmt::format("DCMTK {}{}", PACKAGE_VERSION, jpeg2000.empty() ? "" : ", " + jpeg2000);
}

DicomHeader read_dicom_header(const std::filesystem::path& path, const DecodeLimits& limits) {
  const std::vector<std::byte> bytes = read_image_file(path, limits);
  dicom::Object object(as_u8(bytes), path.string(), limits);
  return dicom::header_of(object);
}

ImageInfo check_dicom(std::span<const uint8_t> bytes, const std::string& name,
                      const DecodeLimits& limits) {
  dicom::Object object(bytes, name, limits);
  const dicom::Geometry g = dicom::read_geometry(object, limits);
  const int frame = image_place(name).frame;
  THORAX_CHECK(frame <= g.frames, "[decode] {}: has no frame {}; it has {}", name, frame, g.frames);
  return dicom::info_of(object, g, static_cast<int64_t>(bytes.size()), frame);
}

Samples decode_dicom(std::span<const uint8_t> bytes, const std::string& name,
                     const DecodeLimits& limits, Use use) {
  using namespace dicom;
  Object object(bytes, name, limits);
  Geometry g = read_geometry(object, limits);
  const int named = image_place(name).frame, frame = std::max(0, named - 1);
  THORAX_CHECK(named <= g.frames, "[decode] {}: has no frame {}; it has {}", name, named, g.frames);
  Samples s;
  s.info = info_of(object, g, static_cast<int64_t>(bytes.size()), named);
  std::vector<uint16_t> samples = read_frame(object, g, frame);
  if (s.info.bits == 8) {
    s.channels = g.channels;
    if (g.channels == 1) read_palette(object, s.info);
    s.pixels = allocate_pixels(samples.size());
    std::transform(samples.begin(), samples.end(), s.u8(),
                   [](uint16_t v) { return static_cast<uint8_t>(v); });
    return s;
  }
  s.channels = 1;
  Stored stored{g.stored, g.is_signed};
  if (use != Use::mask) {
    Modality modality = read_modality(object, g, frame);
    const bool monochrome1 = g.photometric == "MONOCHROME1";
    s.inverted = monochrome1 != (modality.lut.entries.empty() && modality.slope < 0);
    const bool signed_values = g.is_signed || modality.intercept < 0 || modality.slope < 0;
    const std::vector<Voi> vois = read_vois(object, signed_values, frame, s.info.notes);
    // Of the stored values, so that padding is known before a LUT joins it with others.
    std::vector<std::vector<float> > tables;
    for (const Voi& voi : vois) tables.push_back(brightness(stored, modality, voi, monochrome1));
    std::vector<float> order = tables.empty() ? std::vector<float>() : tables.front();
    for (int v = 0; tables.empty() && v < stored.count(); ++v) {
      const auto value = static_cast<float>(modality.at(v + stored.lowest()));
      order.push_back(monochrome1 ? -value : value);
    }
    replace_padding(object, stored, samples, order, s.info.notes);
    if (!modality.lut.entries.empty()) {
      for (uint16_t& v : samples)
        v = static_cast<uint16_t>(std::min<int>(static_cast<int>(modality.at(v + stored.lowest())),
                                                (1 << modality.lut.bits) - 1));
      stored = {modality.lut.bits, false};
      for (size_t i = 0; i < vois.size(); ++i)
        tables[i] = brightness(stored, {}, vois[i], monochrome1);
    }
    for (size_t i = 0; i < vois.size(); ++i)
      s.windows.push_back({vois[i].name(), std::move(tables[i])});
    s.info.sample_bits = stored.bits;
    if (stored.bits < 8) s.top = (1 << stored.bits) - 1;
    if (stored.is_signed && stored.bits == 16) {
      s.info.significant_bits = 16;  // values that are small do not lie at the lower end
      if (vois.empty())
        s.info.notes.emplace_back(
            "signed values of 16 bits without a window, read over their full range; --intensity "
            "percentiles stretches them");
    }
  }
  s.pixels = allocate_pixels(samples.size() * 2);
  std::copy(samples.begin(), samples.end(), s.u16());
  return s;
}

#endif
}  // namespace thorax
