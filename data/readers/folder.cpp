// A folder of class folders: PATH/<class>/<image>. Images of one class may lie in deeper folders.
// A folder masks/ is no class: it holds the lung masks of the images beside it or in images/, under
// the same names, as some collections are published; so does "x_mask.png" beside "x.png". Folders
// masks/NAME/ that are no class hold the masks of an organ each.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "data/formats/format.h"
#include "data/readers/readers.h"
#include "engine/tensor/error.h"

namespace thorax::readers {
namespace fs = std::filesystem;
namespace {

using Parts = std::vector<std::string>;

bool is_one_of(const std::string& name, std::initializer_list<const char*> words) {
  std::string lower;
  for (const unsigned char c : name)
    if (std::isalnum(c)) lower += static_cast<char>(std::tolower(c));
  return std::find(words.begin(), words.end(), lower) != words.end();
}

bool holds_masks(const std::string& folder) {
  return is_one_of(folder, {"mask", "masks", "lungmask", "lungmasks"});
}

bool holds_images(const std::string& folder) {
  return is_one_of(folder, {"image", "images"});
}

bool is_part_of_a_set(const std::string& folder) {
  return is_one_of(folder, {"train", "training", "val", "valid", "validation", "test", "testing"});
}

Parts parts_below(const fs::path& root, const fs::path& file) {
  Parts parts;
  for (const fs::path& part : file.lexically_relative(root)) parts.push_back(part.string());
  return parts;
}

// "x_mask" -> "x"; "" for a stem without such an end.
std::string named_by_mask(const std::string& stem) {
  for (const std::string suffix : {"_mask", "-mask"})
    if (stem.ends_with(suffix)) return stem.substr(0, stem.size() - suffix.size());
  return {};
}

// The folders but for the one at `without`, and the name without its ending.
Parts key_of(Parts parts, size_t without) {
  parts.back() = image_stem(parts.back());
  if (without + 1 < parts.size()) parts.erase(parts.begin() + static_cast<ptrdiff_t>(without));
  return parts;
}

struct Sorted {
  struct Image {
    fs::path path;
    Parts key;  // the class folder first, where there is one
  };
  std::vector<Image> images;
  std::map<Parts, fs::path> masks;
  std::map<Parts, std::map<std::string, fs::path>> organs;  // masks/NAME/..., by the image's key
  std::set<Parts> parents;                                  // folders that hold a folder of masks
};

// Below masks/ a folder that no class or other folder of images is called by is an organ.
void tell_organs_apart(Sorted& sorted, const std::map<Parts, size_t>& depth) {
  std::set<Parts> images;
  for (const auto& [path, key] : sorted.images) images.insert(key);
  for (auto mask = sorted.masks.begin(); mask != sorted.masks.end();) {
    const auto found = depth.find(mask->first);
    const bool below = found != depth.end() && found->second + 1 < mask->first.size();
    if (images.contains(mask->first) || !below) {
      ++mask;
      continue;
    }
    Parts key = mask->first;
    const std::string organ = key[found->second];
    key.erase(key.begin() + static_cast<ptrdiff_t>(found->second));
    if (!images.contains(key)) {
      ++mask;
      continue;
    }
    const auto [place, fresh] = sorted.organs[key].emplace(organ, mask->second);
    THORAX_CHECK(fresh, "[data] folder: {} and {} are masks of one organ; one is wanted",
                 place->second.string(), mask->second.string());
    mask = sorted.masks.erase(mask);
  }
}

// Masks are what lies below a folder of masks, and "x_mask.png" beside "x.png".
Sorted tell_masks_apart(const fs::path& root, const std::vector<fs::path>& files) {
  Sorted out;
  std::map<Parts, size_t> depth;  // of a mask's key: where its folder of masks was
  const auto add_mask = [&](Parts key, const fs::path& file, size_t place_of_masks) {
    if (const std::string name = named_by_mask(key.back()); !name.empty()) key.back() = name;
    depth[key] = place_of_masks;
    const auto [place, fresh] = out.masks.emplace(std::move(key), file);
    THORAX_CHECK(fresh, "[data] folder: {} and {} are masks of one image; one is wanted",
                 place->second.string(), file.string());
  };
  std::vector<std::pair<fs::path, Parts>> images;
  std::set<Parts> names;
  for (const fs::path& file : files) {
    Parts parts = parts_below(root, file);
    const auto mask = std::find_if(parts.begin(), parts.end() - 1, holds_masks);
    if (mask == parts.end() - 1) {
      names.insert(key_of(parts, parts.size()));
      images.emplace_back(file, std::move(parts));
    } else {
      out.parents.insert(Parts(parts.begin(), mask));
      const auto at = static_cast<size_t>(mask - parts.begin());
      add_mask(key_of(parts, at), file, at);
    }
  }
  for (auto& [file, parts] : images) {
    Parts own = key_of(parts, parts.size());
    own.back() = named_by_mask(own.back());
    const bool is_mask = names.contains(own);
    size_t without = parts.size();
    for (size_t i = parts.size() - 1; i-- > 0;)
      if (holds_images(parts[i]) &&
          out.parents.contains(Parts(parts.begin(), parts.begin() + static_cast<ptrdiff_t>(i))))
        without = i;
    Parts key = key_of(parts, without);
    if (is_mask)
      add_mask(std::move(key), file, parts.size());
    else
      out.images.push_back({file, std::move(key)});
  }
  tell_organs_apart(out, depth);
  return out;
}

void check_no_parts(const fs::path& root, const std::vector<fs::path>& folders) {
  std::string names, remedy;
  for (const fs::path& folder : folders) {
    const std::string name = folder.filename().string();
    if (!is_part_of_a_set(name)) return;
    names += (names.empty() ? "" : ", ") + name;
    remedy += fmt::format(" --data folder:{}", (root / name).string());
  }
  THORAX_CHECK(
      folders.empty(),
      "[data] folder: {}: {}: parts of a set, not classes; PATH is a folder of class folders; "
      "read them as sources of their own:{}",
      root.string(), names, remedy);
}

}  // namespace

std::vector<fs::path> radiographs_of(const fs::path& root, const std::vector<fs::path>& files) {
  std::vector<fs::path> images;
  for (const auto& [path, key] : tell_masks_apart(root, files).images) images.push_back(path);
  std::sort(images.begin(), images.end());
  return images;
}

Dataset read_folder(const SourceSpec& spec) {
  Options options(spec);
  SampleCollector collect(spec, options, "optional");
  options.finish();
  require_folder(spec.kind, spec.path);
  const FolderFiles files = files_in(spec.path, Depth::all);
  check_no_parts(spec.path, files.folders);
  collect.left_out(files);
  const Sorted sorted = tell_masks_apart(spec.path, files.images);
  std::set<std::string> classes;
  for (const auto& [path, key] : sorted.images)
    if (key.size() > 1) classes.insert(key.front());
  const std::string rule = "image in a class folder";
  std::set<Parts> used;
  std::map<std::string, size_t> organ_counts;
  for (const auto& [key, organs] : sorted.organs)
    for (const auto& [name, file] : organs) ++organ_counts[name];
  for (const auto& [path, key] : sorted.images) {
    collect.count_row();
    if (!classes.empty() && !collect.passes(rule, key.size() > 1, path.string())) continue;
    Sample s;
    s.image = path;
    // The relative path, because two class folders may use the same file names.
    s.patient = collect.source() + "/file " + path.lexically_relative(spec.path).string();
    // Without blanks around it, as a table would give the name back.
    if (!classes.empty()) s.finding = s.class_name = trimmed(key.front());
    THORAX_CHECK(classes.empty() || !s.class_name.empty(),
                 "[data] folder: {}: the name of its class folder '{}' is blank; rename the folder",
                 path.string(), key.front());
    if (const auto mask = sorted.masks.find(key); mask != sorted.masks.end()) {
      s.masks.push_back(mask->second);
      used.insert(key);
    }
    if (const auto organs = sorted.organs.find(key); organs != sorted.organs.end()) {
      THORAX_CHECK(s.masks.empty(), "[data] folder: {} has the mask {} and masks of organs ({})",
                   path.string(), s.masks.front().string(),
                   organs->second.begin()->second.string());
      for (const auto& [name, file] : organs->second) {
        parse_organs(name);  // names of organs obey its rules
        add_organ(s, name, {file});
      }
      for (const auto& [name, count] : organ_counts)
        THORAX_CHECK(organs->second.contains(name),
                     "[data] folder: {} has no mask of {}, which {} images have; an organ that is "
                     "not in an image has a mask of zeros",
                     path.string(), name, count);
    }
    collect.add(std::move(s));
  }
  for (const fs::path& folder : files.folders) {
    const std::string name = folder.filename().string();
    if (!classes.contains(name) && !holds_masks(name) && !holds_images(name))
      collect.note(fmt::format("{}: {}: no image that is read below this folder, so no class '{}'",
                               collect.source(), folder.string(), name));
  }
  if (!sorted.masks.empty())
    collect.note(
        fmt::format("{}: {} files are taken for lung masks (below masks/, or x_mask.png beside "
                    "x.png); {} of them belong to an image",
                    collect.source(), sorted.masks.size(), used.size()));
  if (!organ_counts.empty()) {
    std::vector<std::string> found;
    for (const auto& [name, count] : organ_counts)
      found.push_back(fmt::format("{} ({})", name, count));
    collect.note(fmt::format("{}: folders below masks/ are taken for organs: {}", collect.source(),
                             fmt::join(found, ", ")));
  }
  collect.note(collect.source() + ": a folder names no patients, so every image counts as its own");
  return collect.finish();
}

}  // namespace thorax::readers
