#ifdef THORAX_DCMTK
#include "data/formats/dicom/object.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <mutex>

#include "engine/tensor/error.h"

#include <dcmtk/dcmdata/dcdicent.h>
#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/oflog/oflog.h>

namespace thorax::dicom {
namespace {

// The elements that are read here: files in implicit coding do not say their types.
void enter_types() {
  struct Entry {
    DcmTagKey tag;
    DcmEVR type;
    const char* name;
  };
  const Entry entries[] = {
      {DCM_SpecificCharacterSet, EVR_CS, "SpecificCharacterSet"},
      {DCM_SOPClassUID, EVR_UI, "SOPClassUID"},
      {DCM_SOPInstanceUID, EVR_UI, "SOPInstanceUID"},
      {DCM_StudyDate, EVR_DA, "StudyDate"},
      {DCM_StudyTime, EVR_TM, "StudyTime"},
      {DCM_AccessionNumber, EVR_SH, "AccessionNumber"},
      {DCM_Modality, EVR_CS, "Modality"},
      {DCM_PresentationIntentType, EVR_CS, "PresentationIntentType"},
      {DCM_ReferringPhysicianName, EVR_PN, "ReferringPhysicianName"},
      {DCM_PatientName, EVR_PN, "PatientName"},
      {DCM_PatientID, EVR_LO, "PatientID"},
      {DCM_IssuerOfPatientID, EVR_LO, "IssuerOfPatientID"},
      {DCM_PatientBirthDate, EVR_DA, "PatientBirthDate"},
      {DCM_PatientSex, EVR_CS, "PatientSex"},
      {DCM_PatientAge, EVR_AS, "PatientAge"},
      {DCM_BodyPartExamined, EVR_CS, "BodyPartExamined"},
      {DCM_ViewPosition, EVR_CS, "ViewPosition"},
      {DCM_StudyInstanceUID, EVR_UI, "StudyInstanceUID"},
      {DCM_SeriesInstanceUID, EVR_UI, "SeriesInstanceUID"},
      {DCM_StudyID, EVR_SH, "StudyID"},
      {DCM_PatientOrientation, EVR_CS, "PatientOrientation"},
      {DCM_FrameOfReferenceUID, EVR_UI, "FrameOfReferenceUID"},
      {DCM_Laterality, EVR_CS, "Laterality"},
      {DCM_ImageLaterality, EVR_CS, "ImageLaterality"},
      {DCM_SamplesPerPixel, EVR_US, "SamplesPerPixel"},
      {DCM_PhotometricInterpretation, EVR_CS, "PhotometricInterpretation"},
      {DCM_PlanarConfiguration, EVR_US, "PlanarConfiguration"},
      {DCM_NumberOfFrames, EVR_IS, "NumberOfFrames"},
      {DCM_Rows, EVR_US, "Rows"},
      {DCM_Columns, EVR_US, "Columns"},
      {DCM_BitsAllocated, EVR_US, "BitsAllocated"},
      {DCM_BitsStored, EVR_US, "BitsStored"},
      {DCM_HighBit, EVR_US, "HighBit"},
      {DCM_PixelRepresentation, EVR_US, "PixelRepresentation"},
      {DCM_PixelPaddingValue, EVR_xs, "PixelPaddingValue"},
      {DCM_PixelPaddingRangeLimit, EVR_xs, "PixelPaddingRangeLimit"},
      {DCM_BurnedInAnnotation, EVR_CS, "BurnedInAnnotation"},
      {DCM_WindowCenter, EVR_DS, "WindowCenter"},
      {DCM_WindowWidth, EVR_DS, "WindowWidth"},
      {DCM_RescaleIntercept, EVR_DS, "RescaleIntercept"},
      {DCM_RescaleSlope, EVR_DS, "RescaleSlope"},
      {DCM_VOILUTFunction, EVR_CS, "VOILUTFunction"},
      {DCM_RedPaletteColorLookupTableDescriptor, EVR_xs, "RedPaletteColorLookupTableDescriptor"},
      {DCM_GreenPaletteColorLookupTableDescriptor, EVR_xs,
       "GreenPaletteColorLookupTableDescriptor"},
      {DCM_BluePaletteColorLookupTableDescriptor, EVR_xs, "BluePaletteColorLookupTableDescriptor"},
      {DCM_RedPaletteColorLookupTableData, EVR_OW, "RedPaletteColorLookupTableData"},
      {DCM_GreenPaletteColorLookupTableData, EVR_OW, "GreenPaletteColorLookupTableData"},
      {DCM_BluePaletteColorLookupTableData, EVR_OW, "BluePaletteColorLookupTableData"},
      {DCM_LossyImageCompression, EVR_CS, "LossyImageCompression"},
      {DCM_ModalityLUTSequence, EVR_SQ, "ModalityLUTSequence"},
      {DCM_VOILUTSequence, EVR_SQ, "VOILUTSequence"},
      {DCM_LUTDescriptor, EVR_xs, "LUTDescriptor"},
      {DCM_LUTData, EVR_lt, "LUTData"},
      {DCM_SharedFunctionalGroupsSequence, EVR_SQ, "SharedFunctionalGroupsSequence"},
      {DCM_PerFrameFunctionalGroupsSequence, EVR_SQ, "PerFrameFunctionalGroupsSequence"},
      {DCM_FrameVOILUTSequence, EVR_SQ, "FrameVOILUTSequence"},
      {DCM_PixelValueTransformationSequence, EVR_SQ, "PixelValueTransformationSequence"},
      {DCM_PresentationLUTShape, EVR_CS, "PresentationLUTShape"},
      {DCM_PixelData, EVR_px, "PixelData"},
  };
  DcmDataDictionary& dictionary = dcmDataDict.wrlock();
  for (const Entry& e : entries)
    dictionary.addEntry(new DcmDictEntry(e.tag.getGroup(), e.tag.getElement(), DcmVR(e.type),
                                         e.name, 1, DcmVariableVM, "DICOM", OFTrue, nullptr));
  dcmDataDict.wrunlock();
}

bool found_dictionary = false;

}  // namespace

bool has_dictionary() {
  prepare_dcmtk();
  return found_dictionary;
}

void prepare_dcmtk() {
  static std::once_flag once;
  std::call_once(once, [] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    found_dictionary = dcmDataDict.isDictionaryLoaded();
    if (!found_dictionary) enter_types();
    DJDecoderRegistration::registerCodecs(EDC_photometricInterpretation, EUC_default,
                                          EPC_colorByPixel);
    DJLSDecoderRegistration::registerCodecs(EJLSUC_default, EJLSPC_colorByPixel);
  });
}

Object::Object(std::span<const uint8_t> bytes, const std::string& name, const DecodeLimits& limits)
    : name_(name) {
  prepare_dcmtk();
  const Layout layout = walk(bytes, name, limits);
  header_ = layout.preamble && !layout.transfer_syntax.empty();
  syntax_uid_ = layout.transfer_syntax;
  std::span<const uint8_t> data = bytes.subspan(layout.dataset);
  if (!layout.unpacked.empty()) {
    data = layout.unpacked;
    syntax_ = EXS_LittleEndianExplicit;
  } else if (!syntax_uid_.empty()) {
    syntax_ = DcmXfer(syntax_uid_.c_str()).getXfer();
    THORAX_CHECK(
        syntax_ != EXS_Unknown,
        "[decode] {}: DICOM transfer syntax '{}' is unknown; convert the file, for example "
        "with gdcmconv --raw",
        name, syntax_uid_);
  }
  dataset_ = std::make_unique<DcmDataset>();
  DcmInputBufferStream stream;
  stream.setBuffer(data.data(), static_cast<offile_off_t>(data.size()));
  stream.setEos();
  dataset_->transferInit();
  const OFCondition read = dataset_->read(stream, syntax_);
  dataset_->transferEnd();
  THORAX_CHECK(read.good(), "[decode] {}: corrupt DICOM: {}", name, read.text());
  if (syntax_ == EXS_Unknown) syntax_ = dataset_->getOriginalXfer();
}

std::string Object::text_of(DcmItem& item, const DcmTagKey& tag, unsigned long position) {
  OFString value;
  if (item.findAndGetOFString(tag, value, position).bad()) return {};
  // Padding to an even length: a blank, or NUL of writers that take every value for a UID.
  constexpr const char kPadding[] = {' ', '\0'};
  const size_t begin = value.find_first_not_of(kPadding, 0, sizeof kPadding),
               end = value.find_last_not_of(kPadding, OFString_npos, sizeof kPadding);
  if (begin == OFString_npos) return {};
  return std::string(value.c_str() + begin, end - begin + 1);
}

std::optional<double> Object::number_of(DcmItem& item, const DcmTagKey& tag,
                                        unsigned long position) {
  std::string value = text_of(item, tag, position);
  if (value.empty()) return std::nullopt;
  if (value.front() == '+') value.erase(0, 1);
  double out = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  THORAX_CHECK(error == std::errc() && end == value.data() + value.size() && std::isfinite(out),
               "[decode] {}: DICOM element ({:04X},{:04X}) is no number", name_, tag.getGroup(),
               tag.getElement());
  return out;
}

int Object::integer(const DcmTagKey& tag, int low, int high, std::optional<int> fallback) {
  const std::optional<double> value = number(tag);
  const std::string what = fmt::format("({:04X},{:04X})", tag.getGroup(), tag.getElement());
  if (!value) {
    THORAX_CHECK(fallback, "[decode] {}: DICOM element {} is missing, which an image needs", name_,
                 what);
    return *fallback;
  }
  THORAX_CHECK(*value == std::floor(*value) && *value >= low && *value <= high,
               "[decode] {}: DICOM element {} is {}, must be a whole number in {}..{}", name_, what,
               *value, low, high);
  return static_cast<int>(*value);
}

DcmItem* Object::item_of(DcmItem& item, const DcmTagKey& sequence, long position) {
  DcmItem* found = nullptr;
  return item.findAndGetSequenceItem(sequence, found, position).good() ? found : nullptr;
}

}  // namespace thorax::dicom
#endif
