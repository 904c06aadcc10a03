// Segmenting many images into a folder: the study's second step, between the two networks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/inference/lung_segmenter.h"
#include "apps/mask_files.h"
#include "data/dataset.h"

namespace thorax::app {

struct CutItem {
  std::filesystem::path image;
  std::string source;   // becomes a subfolder (engine/io/file_name.h); may be empty
  std::string id = {};  // Sample::id
};

struct CutRow {
  std::filesystem::path image;  // what was read
  std::string id;
  std::string name;  // relative path, without extension, of what was written in each folder
  int height = 0, width = 0;
  double area = 0;  // pixels of 512 x 512
  int regions = 0;
  bool kept = false;
  std::string reason;  // why it was not kept
};

struct CutReport {
  std::vector<CutRow> rows;             // in the order of the items
  std::vector<std::string> unreadable;  // error messages of skipped files
};

struct CutOptions {
  int batch = 4;
  bool skip_unreadable = false;
  bool overlays = true;
  MaskFormat masks = MaskFormat::png;
  bool dicom_seg = false;  // also a DICOM Segmentation of every image that is kept
};

// Of each item the path, without extension, of what is written for it: source/stem, with a number
// where two items would have one name.
std::vector<std::string> output_names(const std::vector<CutItem>& items);
// out/unreadable.csv, or none when there is nothing to list.
void write_unreadable(const std::vector<std::string>& reasons, const std::filesystem::path& out);

// Writes out/lungs/NAME.png (the lung pixels, black elsewhere; kept images only),
// out/masks/NAME (save_mask), out/overlays/NAME.png, out/segmentation.csv and, with skipped files,
// out/unreadable.csv; with dicom_seg out/segmentations/NAME.dcm
// (data/formats/dicom/segmentation.h). NAME is source/stem; two items of the same name get a
// number, so no picture overwrites another. An image that shows nothing (data/image_check.h) is not
// kept and gets an empty mask. What was done to files on the way in is said on stderr. Clears what
// a killed process has left there. Throws Error "[name] ..." for a source that is no name of a
// folder.
CutReport cut_lungs(const LungSegmenter& segmenter, const std::vector<CutItem>& items,
                    const std::filesystem::path& out, const CutOptions& options);

// The dataset with the segmenter's masks: every sample gets out/masks/NAME.png for its mask;
// rejected and unreadable ones are dropped and counted as rules in the report. A folder that the
// same segmenter has filled from the same images (`checksum`, see data_checksum.h), wherever they
// lay, is read, not made again, unless a mask has changed since.
Dataset cut_dataset(const LungSegmenter& segmenter, const Dataset& dataset,
                    const std::string& checksum, const std::filesystem::path& out,
                    const CutOptions& options);

}  // namespace thorax::app
