// A folder of class folders: PATH/<class>/<image>. Images of one class may lie in deeper folders.
#include <algorithm>

#include "data/readers/readers.h"
#include "engine/tensor/error.h"

namespace thorax::readers {
namespace fs = std::filesystem;

Dataset read_folder(const SourceSpec& spec) {
  Options options(spec);
  SampleCollector collect(spec, options, "optional");
  options.finish();
  require_folder(spec.kind, spec.path);
  std::vector<fs::path> classes;
  for (const auto& entry : fs::directory_iterator(spec.path))
    if (entry.is_directory() && entry.path().filename().string()[0] != '.')
      classes.push_back(entry.path());
  std::sort(classes.begin(), classes.end());
  const bool flat = classes.empty();
  if (flat) classes.push_back(spec.path);
  for (const fs::path& folder : classes) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.is_regular_file() && has_image_extension(entry.path()))
        files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const fs::path& image : files) {
      collect.count_row();
      Sample s;
      s.image = image;
      // The relative path, because two class folders may use the same file names.
      s.patient = collect.source() + "/file " + image.lexically_relative(spec.path).string();
      if (!flat) s.finding = s.class_name = folder.filename().string();
      collect.add(std::move(s));
    }
  }
  collect.note(collect.source() + ": a folder names no patients, so every image counts as its own");
  return collect.finish();
}

}  // namespace thorax::readers
