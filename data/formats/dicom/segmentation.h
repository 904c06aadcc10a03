// Masks of one radiograph as a DICOM Segmentation (PS3.3, A.51): binary, one segment for each
// organ, on the pixels of the source image, to which it refers.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/image.h"

namespace thorax {

struct DicomSegment {
  std::string organ;  // "lungs", "heart"; its code where SNOMED CT is known for it
  ImageU8 mask;       // as the image is shown (decode.h); not 0: inside
};

struct DicomSegmentation {
  std::string sop_instance, source_instance;  // UIDs
  std::vector<DicomSegment> segments;         // as stored, not turned
};

// Writes `path` atomically. `image` is the source, or one frame of it (FILE#N). Patient, study and
// frame of reference are the source's. Every new UID is 2.25 and a hash of the source's UID, the
// masks and `algorithm` (the checkpoint's checksum), dates are the source's: the same input gives
// the same bytes. Throws Error "[dicom-seg] IMAGE: ..." for a source that is no DICOM image, masks
// of another size, two segments of one name, and where DCMTK's data dictionary was not found.
void write_dicom_segmentation(const std::filesystem::path& image,
                              const std::vector<DicomSegment>& segments,
                              const std::string& algorithm, const std::filesystem::path& path);

// A binary segmentation of one image, as above. Throws Error "[dicom-seg] PATH: ...".
DicomSegmentation read_dicom_segmentation(const std::filesystem::path& path);

// Throws Error "[dicom-seg] IMAGE: ..." unless a segmentation can refer to the file.
void require_dicom_source(const std::filesystem::path& image);

}  // namespace thorax
