// `thorax segment` with a segmenter of several organs: files of masks, overlays and areas.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/cut_lungs.h"
#include "apps/inference/organ_segmenter.h"

namespace thorax::app {

struct OrganRow {
  std::filesystem::path image;
  std::string name;  // relative path, without extension, of what was written in each folder
  int height = 0, width = 0;
  std::vector<OrganFound> organs;  // without their masks, which are on disk
  std::string reason;              // why the image shows nothing, or ""
};

struct OrgansReport {
  std::vector<OrganRow> rows;           // in the order of the items
  std::vector<std::string> unreadable;  // error messages of skipped files
};

// Writes out/labels/NAME.png (softmax: the organs' values, 0 elsewhere) or out/masks/ORGAN/NAME.png
// (sigmoid: 0 and 255), both in options.masks' format (mask_files.h), out/overlays/NAME.png with a
// legend, out/segmentation.csv and out/segmentation.json (organs, values, colours; areas), and,
// with skipped files, out/unreadable.csv; with options.dicom_seg out/segmentations/NAME.dcm, a
// segment for each organ. An image that shows nothing (data/image_check.h) has no
// organ. Clears what a killed process has left there.
OrgansReport segment_organs(const OrganSegmenter& segmenter, const std::vector<CutItem>& items,
                            const std::filesystem::path& out, const CutOptions& options);

}  // namespace thorax::app
