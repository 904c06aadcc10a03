#include "data/formats/dicom/header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace thorax {

std::string DicomHeader::patient_key() const {
  if (patient_id.empty()) return {};
  const std::string text = issuer + "\n" + patient_id;
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

std::vector<std::string> DicomHeader::warnings() const {
  std::vector<std::string> out;
  if (burned_in)
    out.emplace_back(
        "WARNING: BurnedInAnnotation is YES: writing in the pixels can name the patient, and a "
        "network can learn it");
  constexpr const char* kRadiography[] = {"CR", "DX", "DR", "RG"};
  if (!modality.empty() && std::none_of(std::begin(kRadiography), std::end(kRadiography),
                                        [&](const char* known) { return modality == known; }))
    out.push_back(fmt::format("WARNING: modality {}, not radiography (CR, DX, DR, RG)", modality));
  std::string part;
  for (const char c : body_part)
    part += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  constexpr const char* kChest[] = {"CHEST", "THORAX", "LUNG", "RIB"};
  if (!part.empty() && std::none_of(std::begin(kChest), std::end(kChest), [&](const char* known) {
        return part.find(known) != std::string::npos;
      }))
    out.push_back(fmt::format("WARNING: body part {}, not the chest", body_part));
  if (for_processing)
    out.emplace_back(
        "WARNING: FOR PROCESSING: values of the detector, not an image for viewing; export the "
        "images FOR PRESENTATION");
  return out;
}

int DicomHeader::orientation() const {
  // What increasing columns and increasing rows run towards.
  const size_t cut = patient_orientation.find('\\');
  if (cut == std::string::npos) return 1;
  const std::string along =
      patient_orientation.substr(0, cut) + patient_orientation.substr(cut + 1);
  // EXIF names the side of the first row and of the first column.
  constexpr std::pair<const char*, int> kTurns[] = {{"LF", 1}, {"RF", 2}, {"RH", 3}, {"LH", 4},
                                                    {"FL", 5}, {"FR", 6}, {"HR", 7}, {"HL", 8}};
  for (const auto& [sides, turn] : kTurns)
    if (along == sides) return turn;
  return 1;
}

}  // namespace thorax
