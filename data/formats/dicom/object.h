// A DICOM data set in memory, parsed by DCMTK. Only the files of this folder include DCMTK.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/formats/dicom/structure.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

namespace thorax::dicom {

// Once in a process, from any thread: DCMTK's messages are turned off (what goes wrong is an Error
// of ours), its decoders registered, and the types of the elements that are read here entered where
// no data dictionary was found (DCMDICTPATH).
void prepare_dcmtk();
// Whether a data dictionary was found.
bool has_dictionary();

class Object {
 public:
  // Throws Error "[decode] NAME: ..." for what the walk (structure.h) refuses, an unknown transfer
  // syntax, and what DCMTK cannot parse.
  Object(std::span<const uint8_t> bytes, const std::string& name, const DecodeLimits& limits);

  const std::string& name() const { return name_; }
  DcmDataset& dataset() { return *dataset_; }
  E_TransferSyntax syntax() const { return syntax_; }
  const std::string& syntax_uid() const { return syntax_uid_; }
  bool has_file_header() const { return header_; }

  // The first value of an element as text without blanks around it; "" where it is missing.
  std::string text(const DcmTagKey& tag) { return text_of(*dataset_, tag); }
  static std::string text_of(DcmItem& item, const DcmTagKey& tag, unsigned long position = 0);
  // A number, whatever its type; throws for a value that is none.
  std::optional<double> number(const DcmTagKey& tag) { return number_of(*dataset_, tag); }
  std::optional<double> number_of(DcmItem& item, const DcmTagKey& tag, unsigned long position = 0);
  // A whole number in low..high, or `fallback`; throws otherwise.
  int integer(const DcmTagKey& tag, int low, int high, std::optional<int> fallback = std::nullopt);
  // An item of a sequence, or null.
  static DcmItem* item_of(DcmItem& item, const DcmTagKey& sequence, long position = 0);

 private:
  std::string name_, syntax_uid_;
  E_TransferSyntax syntax_ = EXS_Unknown;
  bool header_ = true;
  std::unique_ptr<DcmDataset> dataset_;
};

}  // namespace thorax::dicom
