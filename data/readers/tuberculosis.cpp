// Jaeger S et al.: Two public chest X-ray datasets for computer-aided screening of pulmonary
// diseases, 2014. Montgomery keeps left and right lung in two masks, Shenzhen's masks (added later
// by others) hold both. The digit that ends a stem is the diagnosis: 1 tuberculosis, 0 normal.
#include "data/readers/readers.h"
#include "engine/tensor/error.h"

namespace thorax::readers {
namespace fs = std::filesystem;
namespace {

Dataset read_pairs(const SourceSpec& spec,
                   const std::function<std::vector<fs::path>(const fs::path&)>& masks_of) {
  Options options(spec);
  SampleCollector collect(spec, options, "required");
  options.finish();
  require_folder(spec.kind, spec.path / "CXR_png");
  collect.declare("named once");
  collect.declare("file present");
  collect.declare("lung mask present");
  const FolderFiles files = files_in(spec.path / "CXR_png", Depth::one);
  collect.left_out(files);
  for (const fs::path& image : files.images) {
    collect.count_row();
    const std::string stem = image.stem().string();
    Sample s;
    s.image = image;
    s.masks = masks_of(image);
    s.patient = collect.patient(stem, image);
    const bool ill = stem.size() > 2 && stem.substr(stem.size() - 2) == "_1";
    const bool well = stem.size() > 2 && stem.substr(stem.size() - 2) == "_0";
    THORAX_CHECK(ill || well, "[data] {}: {}: name does not end in _0 or _1", spec.kind,
                 image.string());
    s.finding = s.class_name = ill ? "tuberculosis" : "normal";
    collect.add(std::move(s));
  }
  return collect.finish();
}

}  // namespace

Dataset read_montgomery(const SourceSpec& spec) {
  const fs::path masks = spec.path / "ManualMask";
  return read_pairs(spec, [&](const fs::path& image) {
    return std::vector<fs::path>{masks / "leftMask" / image.filename(),
                                 masks / "rightMask" / image.filename()};
  });
}

Dataset read_shenzhen(const SourceSpec& spec) {
  return read_pairs(spec, [&](const fs::path& image) {
    return std::vector<fs::path>{spec.path / "mask" / (image.stem().string() + "_mask.png")};
  });
}

}  // namespace thorax::readers
