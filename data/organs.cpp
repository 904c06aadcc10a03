#include "data/organs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <new>
#include <set>

#include "data/loader.h"
#include "data/mask_size.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLabel = 32;  // larger values are labels only where they are named

std::vector<std::string> names_of(const OrganMasks& organs) {
  std::vector<std::string> names;
  for (const OrganMask& organ : organs.organs) names.push_back(organ.name);
  return names;
}

const OrganMask& organ_called(const OrganMasks& organs, const std::string& name) {
  const auto found = std::find_if(organs.organs.begin(), organs.organs.end(),
                                  [&](const OrganMask& organ) { return organ.name == name; });
  THORAX_CHECK(found != organs.organs.end(), "[organs] no '{}' among {}", name,
               fmt::join(names_of(organs), ", "));
  return *found;
}

void check_size(const ImageU8& mask, const fs::path& file, const Sample& sample, int height,
                int width) {
  check_mask_size(mask.height, mask.width, file, height, width, sample.image);
}

// The values of all label maps that are to name organs themselves.
std::set<int> values_of(const Dataset& dataset) {
  std::set<int> values;
  for (const Sample& sample : dataset.samples) {
    if (!sample.organs.by_values || sample.masks.empty()) continue;
    const std::string file = sample.masks.front().string();
    MaskPixels pixels;
    try {
      pixels = load_mask_pixels(sample.masks.front());
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception&) {
      continue;  // named by whoever opens the images
    }
    require_labels(pixels, file);
    for (const auto& [value, count] : mask_values(pixels, file).pixels) {
      THORAX_CHECK(value <= kMaxLabel,
                   "[organs] {}: has the value {}, and organs=auto takes values from 1 to {} for "
                   "organs; name them by organs=NAME:VALUE,...",
                   file, value, kMaxLabel);
      if (value != 0) values.insert(value);
    }
  }
  return values;
}

void name_by_values(Dataset& dataset) {
  const bool wanted =
      std::any_of(dataset.samples.begin(), dataset.samples.end(),
                  [](const Sample& s) { return s.organs.by_values && s.organs.organs.empty(); });
  if (!wanted) return;
  const std::set<int> values = values_of(dataset);
  THORAX_CHECK(!values.empty(),
               "[organs] organs=auto: no mask has a value but 0, so that no organ is known");
  for (Sample& sample : dataset.samples)
    if (sample.organs.by_values)
      for (const int value : values)
        sample.organs.organs.push_back({fmt::format("label {}", value), {value}, {}, {}});
  dataset.report.notes.push_back(
      fmt::format("organs=auto: the values of the masks are taken for organs: {}; name them by "
                  "organs=NAME:VALUE,...",
                  fmt::join(values, ", ")));
}

std::string lower_letters(const std::string& name) {
  std::string out;
  for (const unsigned char c : name)
    if (std::isalnum(c)) out += static_cast<char>(std::tolower(c));
  return out;
}

}  // namespace

void require_labels(const MaskPixels& pixels, const std::string& file) {
  THORAX_CHECK(!pixels.colour,
               "[organs] {}: is coloured, and colours have no order that would say which label is "
               "which; save the label map as gray or with a palette",
               file);
  THORAX_CHECK(!pixels.lossy,
               "[organs] {}: is a JPEG, which does not keep the values of a label map; save it as "
               "PNG",
               file);
}

std::vector<std::string> organ_names(const Dataset& dataset) {
  for (const Sample& sample : dataset.samples)
    if (!sample.organs.empty()) return names_of(sample.organs);
  return {};
}

bool organs_are_labels(const Dataset& dataset) {
  return std::all_of(dataset.samples.begin(), dataset.samples.end(), [](const Sample& sample) {
    return sample.organs.empty() || sample.organs.label_map;
  });
}

void unify_organs(Dataset& dataset) {
  name_by_values(dataset);
  const Sample* first = nullptr;
  for (const Sample& sample : dataset.samples)
    if (!first && !sample.organs.empty()) first = &sample;
  if (!first) return;
  const std::vector<std::string> names = names_of(first->organs);
  for (Sample& sample : dataset.samples) {
    if (sample.masks.empty()) continue;
    THORAX_CHECK(!sample.organs.empty(),
                 "[organs] {} has masks of {}, and {} one mask without a name; say organs=... for "
                 "every source with masks, or leave masks out by mask=none",
                 first->image.string(), fmt::join(names, ", "), sample.image.string());
    std::vector<std::string> own = names_of(sample.organs), wanted = names;
    std::sort(own.begin(), own.end());
    std::sort(wanted.begin(), wanted.end());
    THORAX_CHECK(own == wanted,
                 "[organs] {} has masks of {}, {} of {}: all images need the same organs (one that "
                 "an image does not show has a mask of zeros, or a value that no pixel has); "
                 "organs=A,B says which are used",
                 first->image.string(), fmt::join(names, ", "), sample.image.string(),
                 fmt::join(names_of(sample.organs), ", "));
    std::vector<OrganMask> ordered;
    for (const std::string& name : names) ordered.push_back(organ_called(sample.organs, name));
    sample.organs.organs = std::move(ordered);
  }
}

OrganMap organs_of_labels(const ImageU16& labels, const OrganMasks& organs,
                          const std::vector<std::string>& names, const std::string& file) {
  constexpr int kUnnamed = -1;
  std::vector<int> index_of(65536, kUnnamed);
  index_of[0] = 0;
  for (const int value : organs.outside) index_of[static_cast<std::size_t>(value)] = 0;
  // Organs that are not asked for are background here.
  for (const OrganMask& organ : organs.organs) {
    const auto found = std::find(names.begin(), names.end(), organ.name);
    const int index = found == names.end() ? 0 : static_cast<int>(found - names.begin()) + 1;
    for (const int value : organ.values) index_of[static_cast<std::size_t>(value)] = index;
  }
  OrganMap out{ImageU8(labels.height, labels.width), {0}};
  for (std::size_t k = 0; k < names.size(); ++k) out.organs_of.push_back(std::uint64_t{1} << k);
  for (std::size_t i = 0; i < labels.pixels.size(); ++i) {
    const int index = index_of[labels.pixels[i]];
    if (index == kUnnamed) fail_unnamed(file, labels.pixels[i], organs);
    out.map.pixels[i] = static_cast<std::uint8_t>(index);
  }
  return out;
}

void fail_unnamed(const std::string& file, int value, const OrganMasks& organs) {
  fail(
      "[organs] {}: has the value {}, which organs={} does not name; name it (NAME:{}), or write "
      "background:{} where it is no organ",
      file, value, to_string(organs), value, value);
}

OrganMap sample_organs(const Sample& sample, const std::vector<std::string>& names, int height,
                       int width) {
  THORAX_CHECK(!sample.masks.empty(), "[data] {}: has no mask", sample.image.string());
  THORAX_CHECK(names.size() <= kMaxOrgans, "[organs] {} organs; {} at most", names.size(),
               kMaxOrgans);
  if (sample.organs.empty()) {
    THORAX_CHECK(names.size() == 1, "[organs] {}: has a mask of one organ, and {} are wanted",
                 sample.image.string(), fmt::join(names, ", "));
    OrganMap out{sample_mask(sample, height, width), {0, 1}};
    for (std::uint8_t& v : out.map.pixels) v = v ? 1 : 0;
    return out;
  }
  if (sample.organs.label_map) {
    const std::string file = sample.masks.front().string();
    const MaskPixels pixels = load_mask_pixels(sample.masks.front());
    require_labels(pixels, file);
    OrganMap out = organs_of_labels(pixels.values, sample.organs, names, file);
    check_size(out.map, sample.masks.front(), sample, height, width);
    return out;
  }
  std::vector<std::uint64_t> sets(static_cast<std::size_t>(height) * width, 0);
  for (std::size_t k = 0; k < names.size(); ++k) {
    const OrganMask& organ = organ_called(sample.organs, names[k]);
    for (const std::size_t f : organ.files) {
      const ImageU8 mask = load_mask(sample.masks[f], organ.rule);
      check_size(mask, sample.masks[f], sample, height, width);
      for (std::size_t i = 0; i < sets.size(); ++i)
        if (mask.pixels[i]) sets[i] |= std::uint64_t{1} << k;
    }
  }
  OrganMap out{ImageU8(height, width), {0}};
  std::map<std::uint64_t, std::uint8_t> index{{0, 0}};
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const auto [found, fresh] =
        index.emplace(sets[i], static_cast<std::uint8_t>(out.organs_of.size()));
    if (fresh) {
      THORAX_CHECK(out.organs_of.size() < 256,
                   "[organs] {}: its {} organs overlap in more than 255 combinations; train fewer "
                   "organs at once (organs=A,B)",
                   sample.image.string(), names.size());
      out.organs_of.push_back(sets[i]);
    }
    out.map.pixels[i] = found->second;
  }
  return out;
}

ImageU8 organ_plane(const OrganMap& map, std::size_t organ) {
  ImageU8 plane(map.map.height, map.map.width);
  for (std::size_t i = 0; i < plane.pixels.size(); ++i)
    plane.pixels[i] = map.organs_of[map.map.pixels[i]] >> organ & 1 ? 255 : 0;
  return plane;
}

void require_no_overlap(const OrganMap& map, const std::vector<std::string>& names,
                        const std::string& file) {
  std::array<std::int64_t, 256> count{};
  for (const std::uint8_t v : map.map.pixels) ++count[v];
  for (std::size_t i = 0; i < map.organs_of.size(); ++i) {
    const std::uint64_t set = map.organs_of[i];
    if (count[i] == 0 || (set & (set - 1)) == 0) continue;
    std::vector<std::string> shared;
    for (std::size_t k = 0; k < names.size(); ++k)
      if (set >> k & 1) shared.push_back(names[k]);
    fail(
        "[organs] {}: {} share {} pixels, and softmax gives every pixel to one organ; use "
        "--activation sigmoid",
        file, fmt::join(shared, " and "), count[i]);
  }
}

bool is_lung(const std::string& name) {
  const std::string text = lower_letters(name);
  return text == "lung" || text == "lungs" || text == "leftlung" || text == "lungleft" ||
         text == "rightlung" || text == "lungright" || text == "llung" || text == "rlung" ||
         text == "lungl" || text == "lungr";
}

namespace {

// Words of a name in lower case; a lung's side may be joined to it ("leftlung", "llung").
std::vector<std::string> words_of(const std::string& name) {
  std::vector<std::string> words(1);
  for (const char c : name) {
    const std::string letter = lower_letters(std::string(1, c));
    if (!letter.empty())
      words.back() += letter;
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  const std::string text = lower_letters(name);
  if (words.size() == 1 && is_lung(name) && text != "lung" && text != "lungs")
    words = {"lung", text.find("left") != std::string::npos || text == "llung" || text == "lungl"
                         ? "left"
                         : "right"};
  return words;
}

// The name without its side, "left", "right" or none.
struct Sided {
  std::set<std::string> rest;
  std::string side;
  bool operator==(const Sided&) const = default;
};

Sided sided(const std::string& name) {
  Sided out;
  for (const std::string& word : words_of(name)) {
    if (word == "left" || word == "l")
      out.side += "left";
    else if (word == "right" || word == "r")
      out.side += "right";
    else
      out.rest.insert(word);
  }
  if (out.side != "left" && out.side != "right") out.side.clear();
  return out;
}

}  // namespace

std::vector<std::size_t> mirrored_organs(const std::vector<std::string>& names) {
  std::vector<std::size_t> result;
  for (std::size_t k = 0; k < names.size(); ++k) {
    Sided other = sided(names[k]);
    result.push_back(k);
    if (other.side.empty()) continue;
    other.side = other.side == "left" ? "right" : "left";
    for (std::size_t i = 0; i < names.size(); ++i)
      if (sided(names[i]) == other) result.back() = i;
    THORAX_CHECK(result.back() != k,
                 "[organs] {}: in a mirror image the {} one lies in its place, which is not among "
                 "{}; leave out what mirrors images (--tta flip, flip_x_probability)",
                 names[k], other.side, fmt::join(names, ", "));
  }
  return result;
}

std::vector<std::size_t> lungs_among(const std::vector<std::string>& names) {
  std::vector<std::size_t> left, right;
  for (std::size_t k = 0; k < names.size(); ++k) {
    const std::string text = lower_letters(names[k]);
    if (text == "lungs" || text == "lung") return {k};
    if (!is_lung(names[k])) continue;
    const bool is_left =
        text.find("left") != std::string::npos || text == "llung" || text == "lungl";
    (is_left ? left : right).push_back(k);
  }
  if (left.size() != 1 || right.size() != 1) return {};
  return {std::min(left[0], right[0]), std::max(left[0], right[0])};
}

}  // namespace thorax
