// `thorax segment`: cut the lungs out of a folder of radiographs.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "apps/command.h"
#include "apps/console.h"
#include "apps/cut_lungs.h"
#include "apps/image_list.h"
#include "apps/inference/segmenter.h"
#include "apps/intensity.h"
#include "apps/number_checks.h"
#include "apps/report/text.h"
#include "apps/segment_organs.h"
#include "apps/views.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

constexpr const char* kDicomSeg = "dicom-seg";

std::vector<std::string> format_names() {
  std::vector<std::string> names = mask_format_names();
  names.emplace_back(kDicomSeg);
  return names;
}

struct Options {
  std::vector<std::string> inputs;
  std::vector<std::string> data;
  std::vector<std::string> models;
  std::string out, tta = "none";
  double min_area = 50000;
  int batch = 4;
  std::string on_error = "fail", precision = "float32", intensity, format = "png",
              postprocess = "auto";
  ComputeOptions compute;
};

CutOptions cut_options(const Options& o) {
  const bool seg = o.format == kDicomSeg;
  return {.batch = o.batch,
          .skip_unreadable = o.on_error == "skip",
          .masks = seg ? MaskFormat::png : parse_mask_format(o.format),
          .dicom_seg = seg};
}

// Of a network with several organs, or of any other without Algorithm 1.
void run_organs(const Options& o, const std::vector<CutItem>& items,
                const OrganSegmenter& segmenter) {
  const OrgansReport report = segment_organs(segmenter, items, o.out, cut_options(o));
  const OrganOutputs& organs = segmenter.organs();
  for (std::size_t k = 0; k < organs.organs.size(); ++k) {
    std::int64_t images = 0;
    for (const OrganRow& row : report.rows) images += row.organs[k].pixels > 0;
    fmt::print("{}: found in {} of {} images{}\n", clean_text(organs.organs[k]), images,
               report.rows.size(),
               organs.softmax ? fmt::format(", value {}", organs.values[k]) : std::string());
  }
  if (!report.unreadable.empty()) fmt::print("{} unreadable\n", report.unreadable.size());
  fmt::print("{}/{}  overlays  {}segmentation.csv  segmentation.json\n", o.out,
             organs.softmax ? "labels" : "masks", o.format == kDicomSeg ? "segmentations  " : "");
}

void run(const Options& o, bool min_area_given) {
  const Device device = apply(o.compute);
  THORAX_CHECK(o.inputs.empty() != o.data.empty(),
               "[segment] give images or folders, or --data, and not both");
  std::vector<CutItem> items;
  if (!o.data.empty()) {
    for (const Sample& sample : load_datasets(o.data).samples)
      items.push_back({sample.image, sample.source});
  } else {
    for (const std::filesystem::path& path : list_images(o.inputs)) items.push_back({path, {}});
  }
  const Segmenter segmenter({.checkpoints = o.models,
                             .tta = o.tta,
                             .intensity = o.intensity,
                             .min_area = min_area_given ? std::optional(o.min_area) : std::nullopt,
                             .postprocess = parse_postprocess(o.postprocess),
                             .compute = {device, parse_precision(o.precision, device)}});
  print_notes(segmenter.notes());
  if (segmenter.several() != nullptr) return run_organs(o, items, *segmenter.several());
  const CutReport report = cut_lungs(*segmenter.lungs(), items, o.out, cut_options(o));
  std::int64_t kept = 0, blank = 0;
  for (const CutRow& row : report.rows) {
    kept += row.kept;
    blank += row.reason.rfind("shows nothing", 0) == 0;
  }
  fmt::print(
      "{} images: {} kept, {} rejected (lung area under {:.0f} of 512 x 512 pixels), {} rejected "
      "(show nothing), {} unreadable\n",
      report.rows.size() + report.unreadable.size(), kept,
      static_cast<std::int64_t>(report.rows.size()) - kept - blank, o.min_area, blank,
      report.unreadable.size());
  fmt::print("{}/lungs  masks  overlays  {}segmentation.csv\n", o.out,
             o.format == kDicomSeg ? "segmentations  " : "");
}

void add(CLI::App& root) {
  static Options o;
  CLI::App* c =
      root.add_subcommand("segment",
                          "Cut the lungs out of radiographs, or find several organs in them, with "
                          "a trained UNet");
  c->add_option("inputs", o.inputs, "Images and folders of images (formats: thorax info)");
  c->add_option("--data", o.data,
                "Dataset instead of files, kind:PATH[,key=value] (see thorax data)");
  c->add_option("--model", o.models,
                "Checkpoint of a trained segmenter; given several times: the mean of their "
                "probabilities decides")
      ->required()
      ->allow_extra_args(false);
  add_tta_option(*c, o.tta);
  c->add_option(
       "--out", o.out,
       "Folder for lungs/, masks/, overlays/ and segmentation.csv; with several organs labels/ "
       "(softmax) or masks/ORGAN/, overlays/, segmentation.csv and .json")
      ->required();
  CLI::Option* min_area = c->add_option("--min-area", o.min_area,
                                        "Reject images whose lungs cover fewer pixels of 512 x 512")
                              ->capture_default_str()
                              ->check(kArea);
  c->add_option("--batch", o.batch, "Images computed at once")
      ->capture_default_str()
      ->check(kBatch);
  c->add_option("--on-error", o.on_error, "What an unreadable image does: fail or skip")
      ->capture_default_str()
      ->check(CLI::IsMember({"fail", "skip"}));
  c->add_option(
       "--format", o.format,
       "Format of the masks: png (0 and 255), nifti (.nii.gz, 0 and 1) or dicom-seg (png, and "
       "DICOM Segmentations of the DICOM images that they are of, in segmentations/)")
      ->capture_default_str()
      ->check(CLI::IsMember(format_names()));
  c->add_option("--postprocess", o.postprocess,
                "Algorithm 1 of the study (dilation, closing): auto for organs that are lungs, "
                "lungs (an error without any), none")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "lungs", "none"}));
  add_intensity_override(*c, o.intensity);
  add_precision_option(*c, o.precision);
  add_compute_options(*c, o.compute);
  c->footer("Example:\n  thorax segment images/ --model runs/lungs/best.safetensors --out cut");
  c->callback([min_area] { run(o, min_area->count() > 0); });
}

}  // namespace
THORAX_COMMAND(40, add)
}  // namespace thorax::app
