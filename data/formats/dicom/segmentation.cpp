#include "data/formats/dicom/segmentation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <set>

#include "data/decode_samples.h"
#include "data/formats/dicom/dicom.h"
#include "data/formats/dicom/header.h"
#include "data/formats/format.h"
#include "data/image_orientation.h"
#include "data/image_place.h"
#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

#ifdef THORAX_DCMTK
#include "data/formats/dicom/object.h"
#include "data/formats/dicom/pixels.h"

#include <dcmtk/dcmdata/dcostrmb.h>

#define XXH_INLINE_ALL
#include <xxhash.h>
#endif

namespace thorax {
namespace fs = std::filesystem;

void require_dicom_source(const fs::path& image) {
  std::array<uint8_t, 512> head{};
  std::ifstream file(image_file(image), std::ios::binary);
  file.read(reinterpret_cast<char*>(head.data()), head.size());
  const ImageFormat* format =
      recognise_format(std::span(head).first(static_cast<size_t>(file.gcount())));
  THORAX_CHECK(format && format->id == "dicom",
               "[dicom-seg] {}: a DICOM Segmentation refers to a DICOM image, and this is {}; give "
               "DICOM files, or --format png",
               image.string(), format ? "a " + format->name + " file" : "no image that is known");
  THORAX_CHECK(format->available(),
               "[dicom-seg] {}: this build does not read DICOM; install {} and build thorax anew",
               image.string(), format->package);
}

#ifndef THORAX_DCMTK

void write_dicom_segmentation(const fs::path& image, const std::vector<DicomSegment>&,
                              const std::string&, const fs::path&) {
  require_dicom_source(image);
}
DicomSegmentation read_dicom_segmentation(const fs::path& path) {
  require_dicom_source(path);
  return {};
}

#else

namespace dicom {
namespace {

struct Code {
  const char* value;
  const char* scheme;
  const char* meaning;
};

// Of CID 7151 and its like, by the names that data sets use.
Code code_of(const std::string& organ) {
  std::string name;
  for (const unsigned char c : organ)
    if (std::isalnum(c)) name += static_cast<char>(std::tolower(c));
  constexpr std::pair<const char*, Code> kKnown[] = {
      {"lung", {"39607008", "SCT", "Lung"}},
      {"lungs", {"39607008", "SCT", "Lung"}},
      {"leftlung", {"44029006", "SCT", "Left lung"}},
      {"rightlung", {"3341006", "SCT", "Right lung"}},
      {"heart", {"80891009", "SCT", "Heart"}},
      {"mediastinum", {"72410000", "SCT", "Mediastinum"}},
      {"trachea", {"44567001", "SCT", "Trachea"}},
      {"clavicle", {"51299004", "SCT", "Clavicle"}},
      {"clavicles", {"51299004", "SCT", "Clavicle"}},
      {"diaphragm", {"5798000", "SCT", "Diaphragm"}}};
  for (const auto& [known, code] : kKnown)
    if (name == known) return code;
  return {"91723000", "SCT", "Anatomical structure"};
}

class Uids {
 public:
  void add(const void* bytes, size_t size) {
    const XXH128_hash_t h = XXH3_128bits_withSeed(bytes, size, state_.low64);
    state_ = {h.low64 ^ state_.high64, h.high64};
  }
  void add(const std::string& text) { add(text.data(), text.size()); }
  // 2.25 and the hash as one decimal number (PS3.5, B.2), other for every `role`.
  std::string uid(const std::string& role) const {
    Uids other = *this;
    other.add(role);
    unsigned __int128 number =
        static_cast<unsigned __int128>(other.state_.high64) << 64 | other.state_.low64;
    std::string digits;
    do {
      digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(number % 10)));
      number /= 10;
    } while (number > 0);
    return "2.25." + digits;
  }

 private:
  XXH128_hash_t state_{};
};

void check(const OFCondition& done, const std::string& what) {
  THORAX_CHECK(done.good(), "[dicom-seg] {}: {}", what, done.text());
}

// With the type beside the tag, so that no dictionary decides it.
void put(DcmItem& item, const DcmTagKey& tag, DcmEVR type, const std::string& text) {
  check(item.putAndInsertString(DcmTag(tag, type), text.c_str()), "an element cannot be set");
}
void put(DcmItem& item, const DcmTagKey& tag, int value) {
  check(item.putAndInsertUint16(DcmTag(tag, EVR_US), static_cast<Uint16>(value)),
        "an element cannot be set");
}
DcmItem& add_item(DcmItem& item, const DcmTagKey& sequence) {
  auto* added = new DcmItem;
  const OFCondition done = item.insertSequenceItem(DcmTag(sequence, EVR_SQ), added);
  if (done.bad()) delete added;
  check(done, "a sequence cannot be made");
  return *added;
}
void put_code(DcmItem& item, const DcmTagKey& sequence, const Code& code) {
  DcmItem& c = add_item(item, sequence);
  put(c, DCM_CodeValue, EVR_SH, code.value);
  put(c, DCM_CodingSchemeDesignator, EVR_SH, code.scheme);
  put(c, DCM_CodeMeaning, EVR_LO, code.meaning);
}

// EXIF orientation that undoes another.
int undone(int orientation) {
  return orientation == 6 ? 8 : orientation == 8 ? 6 : orientation;
}

void copy_patient_and_study(Object& source, DcmItem& out, const Uids& uids) {
  const std::pair<DcmTagKey, DcmEVR> elements[] = {{DCM_SpecificCharacterSet, EVR_CS},
                                                   {DCM_StudyDate, EVR_DA},
                                                   {DCM_StudyTime, EVR_TM},
                                                   {DCM_AccessionNumber, EVR_SH},
                                                   {DCM_ReferringPhysicianName, EVR_PN},
                                                   {DCM_PatientName, EVR_PN},
                                                   {DCM_PatientID, EVR_LO},
                                                   {DCM_IssuerOfPatientID, EVR_LO},
                                                   {DCM_PatientBirthDate, EVR_DA},
                                                   {DCM_PatientSex, EVR_CS},
                                                   {DCM_PatientAge, EVR_AS},
                                                   {DCM_StudyInstanceUID, EVR_UI},
                                                   {DCM_StudyID, EVR_SH}};
  for (const auto& [tag, type] : elements) {
    const bool there = source.dataset().tagExistsWithValue(tag);
    // The rest is required to be there, if empty.
    const bool optional =
        tag == DCM_SpecificCharacterSet || tag == DCM_IssuerOfPatientID || tag == DCM_PatientAge;
    if (there)
      check(source.dataset().findAndInsertCopyOfElement(tag, &out), "an element cannot be copied");
    else if (!optional)
      put(out, tag, type, "");
  }
  if (!source.dataset().tagExistsWithValue(DCM_StudyInstanceUID))
    put(out, DCM_StudyInstanceUID, EVR_UI, uids.uid("study"));
}

void describe_segments(DcmItem& out, const std::vector<DicomSegment>& segments,
                       const std::string& algorithm) {
  for (size_t i = 0; i < segments.size(); ++i) {
    DcmItem& segment = add_item(out, DCM_SegmentSequence);
    put(segment, DCM_SegmentNumber, static_cast<int>(i + 1));
    put(segment, DCM_SegmentLabel, EVR_LO, segments[i].organ);
    put(segment, DCM_SegmentAlgorithmType, EVR_CS, "AUTOMATIC");
    put(segment, DCM_SegmentAlgorithmName, EVR_LO, "thorax " + algorithm);
    put_code(segment, DCM_SegmentedPropertyCategoryCodeSequence,
             {"91723000", "SCT", "Anatomical structure"});
    put_code(segment, DCM_SegmentedPropertyTypeCodeSequence, code_of(segments[i].organ));
  }
}

// One frame for each segment.
void describe_frames(DcmItem& out, size_t segments, const DicomHeader& header, int frame,
                     const Uids& uids) {
  const std::string dimension = uids.uid("dimension");
  put(add_item(out, DCM_DimensionOrganizationSequence), DCM_DimensionOrganizationUID, EVR_UI,
      dimension);
  DcmItem& index = add_item(out, DCM_DimensionIndexSequence);
  put(index, DCM_DimensionOrganizationUID, EVR_UI, dimension);
  check(index.putAndInsertTagKey(DcmTag(DCM_DimensionIndexPointer, EVR_AT),
                                 DCM_ReferencedSegmentNumber),
        "an element cannot be set");
  check(index.putAndInsertTagKey(DcmTag(DCM_FunctionalGroupPointer, EVR_AT),
                                 DCM_SegmentIdentificationSequence),
        "an element cannot be set");
  put(index, DCM_DimensionDescriptionLabel, EVR_LO, "Segment");
  add_item(out, DCM_SharedFunctionalGroupsSequence);  // what all frames share: nothing
  for (size_t i = 0; i < segments; ++i) {
    DcmItem& group = add_item(out, DCM_PerFrameFunctionalGroupsSequence);
    check(add_item(group, DCM_FrameContentSequence)
              .putAndInsertUint32(DcmTag(DCM_DimensionIndexValues, EVR_UL),
                                  static_cast<Uint32>(i + 1)),
          "an element cannot be set");
    // In every frame, although all have the same: readers look for it here.
    DcmItem& derivation = add_item(group, DCM_DerivationImageSequence);
    put_code(derivation, DCM_DerivationCodeSequence, {"113076", "DCM", "Segmentation"});
    DcmItem& source = add_item(derivation, DCM_SourceImageSequence);
    put(source, DCM_ReferencedSOPClassUID, EVR_UI, header.sop_class);
    put(source, DCM_ReferencedSOPInstanceUID, EVR_UI, header.sop_instance);
    if (header.frames > 1)
      put(source, DCM_ReferencedFrameNumber, EVR_IS, fmt::format("{}", std::max(1, frame)));
    put(source, DCM_SpatialLocationsPreserved, EVR_CS, "YES");
    put_code(source, DCM_PurposeOfReferenceCodeSequence,
             {"121322", "DCM", "Source image for image processing operation"});
    put(add_item(group, DCM_SegmentIdentificationSequence), DCM_ReferencedSegmentNumber,
        static_cast<int>(i + 1));
  }
}

// One bit a pixel, the first the lowest, frames without a gap, padded to an even length.
std::vector<uint8_t> packed(const std::vector<ImageU8>& masks) {
  std::vector<uint8_t> out;
  size_t at = 0;
  for (const ImageU8& mask : masks) {
    out.resize((at + mask.pixels.size() + 7) / 8);
    for (const uint8_t pixel : mask.pixels) {
      if (pixel != 0) out[at / 8] = static_cast<uint8_t>(out[at / 8] | 1 << at % 8);
      ++at;
    }
  }
  out.resize(out.size() + out.size() % 2);
  return out;
}

std::vector<std::byte> bytes_of(DcmFileFormat& file) {
  check(file.validateMetaInfo(EXS_LittleEndianExplicit), "the file header cannot be made");
  std::vector<std::byte> out(file.calcElementLength(EXS_LittleEndianExplicit, EET_ExplicitLength) +
                             (1u << 16));
  DcmOutputBufferStream stream(out.data(), static_cast<offile_off_t>(out.size()));
  file.transferInit();
  const OFCondition done =
      file.write(stream, EXS_LittleEndianExplicit, EET_ExplicitLength, nullptr);
  file.transferEnd();
  check(done, "the file cannot be written");
  stream.flush();
  void* first = nullptr;
  offile_off_t length = 0;
  stream.flushBuffer(first, length);
  out.resize(static_cast<size_t>(length));
  return out;
}

}  // namespace
}  // namespace dicom

void write_dicom_segmentation(const fs::path& image, const std::vector<DicomSegment>& segments,
                              const std::string& algorithm, const fs::path& path) {
  using namespace dicom;
  require_dicom_source(image);
  const std::string name = image.string();
  const ImagePlace place = image_place(image);
  const DecodeLimits limits;
  const std::vector<std::byte> bytes = read_image_file(image, limits);
  Object source(as_u8(bytes), name, limits);
  const Geometry g = read_geometry(source, limits);
  const DicomHeader header = read_dicom_header(place.file);
  THORAX_CHECK(has_dictionary(),
               "[dicom-seg] {}: DCMTK's data dictionary was not found, which writing needs; unset "
               "DCMDICTPATH, or install libdcmtk17",
               name);
  THORAX_CHECK(
      !header.sop_class.empty() && !header.sop_instance.empty(),
      "[dicom-seg] {}: has no SOP class or instance UID that a segmentation could refer to", name);
  THORAX_CHECK(!segments.empty(), "[dicom-seg] {}: no segment", name);
  Uids uids;
  uids.add(header.sop_instance);
  uids.add(algorithm);
  uids.add(fmt::format("frame {}", std::max(1, place.frame)));
  std::vector<ImageU8> masks;
  std::set<std::string> names;
  for (const DicomSegment& segment : segments) {
    THORAX_CHECK(
        !segment.organ.empty() && segment.organ.size() <= 64 && names.insert(segment.organ).second,
        "[dicom-seg] {}: segment '{}': names have 1 to 64 bytes and differ", name, segment.organ);
    masks.push_back(turned(segment.mask, undone(header.orientation())));
    THORAX_CHECK(masks.back().height == g.rows && masks.back().width == g.columns,
                 "[dicom-seg] {}: the mask of {} is {}x{}, the image {}x{} as stored", name,
                 segment.organ, masks.back().width, masks.back().height, g.columns, g.rows);
    uids.add(segment.organ);
    uids.add(masks.back().pixels.data(), masks.back().pixels.size());
  }
  DcmFileFormat file;
  DcmDataset& out = *file.getDataset();
  const auto text = [&](const DcmTagKey& tag, DcmEVR type, const std::string& value) {
    put(out, tag, type, value);
  };
  copy_patient_and_study(source, out, uids);
  text(DCM_SOPClassUID, EVR_UI, UID_SegmentationStorage);
  text(DCM_SOPInstanceUID, EVR_UI, uids.uid("instance"));
  text(DCM_Modality, EVR_CS, "SEG");
  text(DCM_SeriesInstanceUID, EVR_UI, uids.uid("series"));
  text(DCM_SeriesNumber, EVR_IS, "1");
  text(DCM_SeriesDescription, EVR_LO, "Segmentation by thorax, not for diagnostic use");
  text(DCM_Manufacturer, EVR_LO, "thorax");
  text(DCM_ManufacturerModelName, EVR_LO, "thorax");
  text(DCM_DeviceSerialNumber, EVR_LO, algorithm);
  text(DCM_SoftwareVersions, EVR_LO, "thorax " + algorithm);
  if (const std::string frame = source.text(DCM_FrameOfReferenceUID); !frame.empty()) {
    text(DCM_FrameOfReferenceUID, EVR_UI, frame);
    text(DCM_PositionReferenceIndicator, EVR_LO, "");
  }
  text(DCM_InstanceNumber, EVR_IS, "1");
  text(DCM_ImageType, EVR_CS, "DERIVED\\PRIMARY");
  // Of the study, so that the same work gives the same file.
  const std::string date = header.study_date.size() == 8 ? header.study_date : "19700101";
  text(DCM_ContentDate, EVR_DA, date);
  text(DCM_ContentTime, EVR_TM, "000000");
  text(DCM_ContentLabel, EVR_CS, "SEGMENTATION");
  text(DCM_ContentDescription, EVR_LO, "");
  text(DCM_ContentCreatorName, EVR_PN, "");
  put(out, DCM_SamplesPerPixel, 1);
  text(DCM_PhotometricInterpretation, EVR_CS, "MONOCHROME2");
  text(DCM_NumberOfFrames, EVR_IS, fmt::format("{}", segments.size()));
  put(out, DCM_Rows, g.rows);
  put(out, DCM_Columns, g.columns);
  put(out, DCM_BitsAllocated, 1);
  put(out, DCM_BitsStored, 1);
  put(out, DCM_HighBit, 0);
  put(out, DCM_PixelRepresentation, 0);
  text(DCM_LossyImageCompression, EVR_CS, "00");
  text(DCM_SegmentationType, EVR_CS, "BINARY");
  describe_segments(out, segments, algorithm);
  describe_frames(out, segments.size(), header, place.frame, uids);
  if (!header.series.empty()) {
    DcmItem& series = add_item(out, DCM_ReferencedSeriesSequence);
    put(series, DCM_SeriesInstanceUID, EVR_UI, header.series);
    DcmItem& instance = add_item(series, DCM_ReferencedInstanceSequence);
    put(instance, DCM_ReferencedSOPClassUID, EVR_UI, header.sop_class);
    put(instance, DCM_ReferencedSOPInstanceUID, EVR_UI, header.sop_instance);
  }
  const std::vector<uint8_t> bits = packed(masks);
  check(out.putAndInsertUint8Array(DcmTag(DCM_PixelData, EVR_OB), bits.data(),
                                   static_cast<unsigned long>(bits.size())),
        name + ": the pixels cannot be set");
  atomic_write(path, std::span<const std::byte>(bytes_of(file)));
}

DicomSegmentation read_dicom_segmentation(const fs::path& path) {
  using namespace dicom;
  const DecodeLimits limits;
  const std::string name = path.string();
  const std::vector<std::byte> bytes = read_image_file(path, limits);
  Object object(as_u8(bytes), name, limits);
  THORAX_CHECK(object.text(DCM_SOPClassUID) == UID_SegmentationStorage &&
                   object.text(DCM_SegmentationType) == "BINARY",
               "[dicom-seg] {}: is no binary DICOM Segmentation", name);
  DicomSegmentation out;
  out.sop_instance = object.text(DCM_SOPInstanceUID);
  if (DcmItem* first = Object::item_of(object.dataset(), DCM_PerFrameFunctionalGroupsSequence))
    if (DcmItem* derivation = Object::item_of(*first, DCM_DerivationImageSequence))
      if (DcmItem* source = Object::item_of(*derivation, DCM_SourceImageSequence))
        out.source_instance = Object::text_of(*source, DCM_ReferencedSOPInstanceUID);
  ImageInfo size;
  size.format = "dicom";
  size.height = object.integer(DCM_Rows, 0, 65535);
  size.width = object.integer(DCM_Columns, 0, 65535);
  check_size(size, name, limits);
  const int frames = object.integer(DCM_NumberOfFrames, 1, 1 << 20, 1);
  const Uint8* bits = nullptr;
  unsigned long count = 0;
  const size_t pixels = static_cast<size_t>(size.height) * static_cast<size_t>(size.width);
  THORAX_CHECK(object.dataset().findAndGetUint8Array(DCM_PixelData, bits, &count).good() && bits &&
                   count >= (pixels * static_cast<size_t>(frames) + 7) / 8,
               "[dicom-seg] {}: {} bytes of pixel data, {} frames of {}x{} bits need more", name,
               count, frames, size.width, size.height);
  for (int f = 0; f < frames; ++f) {
    DcmItem* group = Object::item_of(object.dataset(), DCM_PerFrameFunctionalGroupsSequence, f);
    DcmItem* which = group ? Object::item_of(*group, DCM_SegmentIdentificationSequence) : nullptr;
    const double number =
        which ? object.number_of(*which, DCM_ReferencedSegmentNumber).value_or(0) : 0;
    DicomSegment segment;
    for (long i = 0;; ++i) {
      DcmItem* item = Object::item_of(object.dataset(), DCM_SegmentSequence, i);
      THORAX_CHECK(item, "[dicom-seg] {}: frame {} is of segment {}, which is not described", name,
                   f + 1, number);
      if (object.number_of(*item, DCM_SegmentNumber) != number) continue;
      segment.organ = Object::text_of(*item, DCM_SegmentLabel);
      break;
    }
    segment.mask = ImageU8(size.height, size.width);
    for (size_t i = 0, at = pixels * static_cast<size_t>(f); i < pixels; ++i, ++at)
      segment.mask.pixels[i] = (bits[at / 8] >> at % 8 & 1) != 0 ? 255 : 0;
    out.segments.push_back(std::move(segment));
  }
  return out;
}

#endif
}  // namespace thorax
