// What the header of a DICOM file says about patient, study and exposure.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/container_check.h"

namespace thorax {

struct DicomHeader {
  std::string sop_class, sop_instance, study, series;  // UIDs
  std::string patient_id, issuer;                      // never shown to people: see patient_key
  std::string modality, body_part, view, laterality, study_date, sex;
  std::string patient_orientation;  // "L\\F"
  std::optional<double> age;        // years, by PatientAge or the dates of birth and study
  bool burned_in = false;           // BurnedInAnnotation is YES
  bool for_processing = false;      // detector values, not made for viewing
  bool has_image = false;           // pixel data are there
  int frames = 1;

  // 16 hex digits of XXH3 over issuer and patient id: the same patient, without a readable id. ""
  // without a patient id. A pseudonym, no anonymisation: who knows an id can find its key.
  std::string patient_key() const;
  // "WARNING: ..." for annotation in the pixels, a modality that is no radiography, a body part
  // that is not the chest, detector values.
  std::vector<std::string> warnings() const;
  // EXIF orientation that shows the patient's left on the right and the feet below; 1 for anything
  // else than a frontal view.
  int orientation() const;
};

// Throws Error "[decode] NAME: ...", also in a build without DCMTK.
DicomHeader read_dicom_header(const std::filesystem::path& path, const DecodeLimits& limits = {});

}  // namespace thorax
