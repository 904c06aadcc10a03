#include "data/formats/dicom/jpeg2000.h"

#ifdef THORAX_GDCM
#include <gdcmImage.h>
#include <gdcmSequenceOfFragments.h>
#include <gdcmTrace.h>
#include <gdcmVersion.h>

#include <exception>
#include <mutex>
#endif

namespace thorax::dicom {

#ifdef THORAX_GDCM

std::string jpeg2000_version() {
  return std::string("GDCM ") + gdcm::Version::GetVersion();
}

std::string decode_jpeg2000(const Jpeg2000Frame& f, std::vector<uint8_t>& out) {
  static std::once_flag once;
  std::call_once(once, [] {
    gdcm::Trace::DebugOff();
    gdcm::Trace::WarningOff();
    gdcm::Trace::ErrorOff();
  });
  try {
    // Only the frame's bytes: GDCM does not see the rest of the file.
    const gdcm::SmartPointer<gdcm::SequenceOfFragments> fragments = new gdcm::SequenceOfFragments;
    gdcm::Fragment fragment;
    fragment.SetByteValue(reinterpret_cast<const char*>(f.codestream.data()),
                          static_cast<uint32_t>(f.codestream.size()));
    fragments->AddFragment(fragment);
    gdcm::DataElement pixels(gdcm::Tag(0x7FE0, 0x0010));
    pixels.SetVR(gdcm::VR::OB);
    pixels.SetValue(*fragments);
    gdcm::Image image;
    image.SetNumberOfDimensions(2);
    image.SetDimension(0, static_cast<unsigned>(f.columns));
    image.SetDimension(1, static_cast<unsigned>(f.rows));
    image.SetPixelFormat(gdcm::PixelFormat(
        static_cast<unsigned short>(f.channels), static_cast<unsigned short>(f.allocated),
        static_cast<unsigned short>(f.stored), static_cast<unsigned short>(f.high),
        static_cast<unsigned short>(f.is_signed)));
    image.SetPhotometricInterpretation(
        gdcm::PhotometricInterpretation::GetPIType(f.photometric.c_str()));
    image.SetTransferSyntax(gdcm::TransferSyntax::GetTSType(f.transfer_syntax.c_str()));
    image.SetDataElement(pixels);
    if (image.GetBufferLength() != out.size()) return "GDCM counts another number of bytes";
    if (!image.GetBuffer(reinterpret_cast<char*>(out.data()))) return "GDCM cannot decode it";
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    return e.what();
  }
  return {};
}

#else

std::string jpeg2000_version() {
  return {};
}
std::string decode_jpeg2000(const Jpeg2000Frame&, std::vector<uint8_t>&) {
  return "not in this build";
}

#endif

}  // namespace thorax::dicom
