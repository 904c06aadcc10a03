#include "data/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <new>
#include <numeric>
#include <thread>

#include "data/decode_mask.h"
#include "data/formats/format.h"
#include "data/image_check.h"
#include "data/mask_size.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr const char* kReversedNote =
    "WARNING: perhaps an inverted mask (all four corners are inside); mend or exclude it";

namespace fs = std::filesystem;

struct Opened {
  ImageFacts facts;
  std::string problem, blank;
  bool inverted = false;
  std::vector<MaskValues> masks;
  std::vector<std::pair<std::string, fs::path>> mask_notes;
};

Opened open_sample(const Sample& sample, const InspectOptions& options) {
  Opened out;
  try {
    const Image image = load_gray(sample.image, {.intensity = options.intensity}, &out.facts);
    if (const std::string reason = blank_reason(out.facts); !reason.empty())
      out.blank = fmt::format("[image] {}: shows nothing: {}", sample.image.string(), reason);
    out.inverted = out.blank.empty() && looks_inverted(image);
    for (const fs::path& path : sample.masks) {
      if (!options.masks) break;
      MaskValues values = mask_values(load_mask_pixels(path), path.string());
      check_mask_size(values.height, values.width, path, image.height, image.width, sample.image,
                      out.facts.info.orientation > 1 ? " after its EXIF orientation" : "");
      // What there is to say of how PNG and JPEG masks are read, their values say.
      const std::string ending = format_ending(path);
      if (ending != ".png" && !ending.starts_with(".jp"))
        for (const std::string& note : read_image_info(path).notes)
          out.mask_notes.emplace_back(note, path);
      out.masks.push_back(std::move(values));
    }
  } catch (const std::bad_alloc&) {
    throw;  // no fault of this file
  } catch (const std::exception& e) {
    out.problem = e.what();
    out.masks.clear();
  }
  return out;
}

// "0/1", "0 to 255", "0, 1, 2".
std::string range_of(const std::vector<MaskValues>& files) {
  std::map<int, int64_t> seen;
  for (const MaskValues& file : files)
    for (const auto& [value, count] : file.pixels) ++seen[value];
  if (seen.size() > 8) return fmt::format("{} to {}", seen.begin()->first, seen.rbegin()->first);
  std::vector<int> values;
  for (const auto& [value, count] : seen) values.push_back(value);
  return fmt::format("{}", fmt::join(values, ", "));
}

// Groups of samples whose masks follow one rule: a source, and what its option said.
std::map<std::pair<std::string, std::string>, std::vector<size_t>> mask_groups(
    const Dataset& dataset, const std::vector<Opened>& opened) {
  std::map<std::pair<std::string, std::string>, std::vector<size_t>> groups;
  for (size_t i = 0; i < opened.size(); ++i)
    if (!opened[i].masks.empty() && dataset.samples[i].organs.empty())
      groups[{dataset.samples[i].source, to_string(dataset.samples[i].mask_rule)}].push_back(i);
  return groups;
}

MaskSet decide(Dataset& dataset, const std::vector<Opened>& opened, const std::string& source,
               const std::vector<size_t>& group) {
  MaskSet set;
  set.source = source;
  set.images = static_cast<int64_t>(group.size());
  std::vector<MaskValues> files;
  for (const size_t i : group)
    files.insert(files.end(), opened[i].masks.begin(), opened[i].masks.end());
  MaskRule rule = dataset.samples[group.front()].mask_rule;
  try {
    if (rule.kind == MaskRule::Kind::automatic) rule = decide_mask_rule(files);
  } catch (const Error& e) {
    set.doubt = e.what();
    return set;
  }
  set.rule = rule_in_words(rule, files);
  int64_t inside = 0, all = 0;
  for (const size_t i : group) {
    dataset.samples[i].mask_rule = rule;
    int64_t area = 0, most = 0;
    for (const MaskValues& file : opened[i].masks) {
      area += pixels_inside(file, rule);
      most = std::max(most, pixels_inside(file, rule));
    }
    if (std::any_of(opened[i].masks.begin(), opened[i].masks.end(),
                    [&](const MaskValues& file) { return corners_inside(file, rule); }))
      set.reversed.push_back(dataset.samples[i].image.string());
    const MaskValues& first = opened[i].masks.front();
    inside += area;
    all += int64_t{first.height} * first.width;
    if (area == 0) set.empty.push_back(dataset.samples[i].image.string());
    if (most == int64_t{first.height} * first.width)
      set.full.push_back(dataset.samples[i].image.string());
  }
  set.share = static_cast<double>(inside) / static_cast<double>(all);
  return set;
}

std::vector<std::string> without_empty(const std::vector<std::string>& texts) {
  std::vector<std::string> out;
  std::copy_if(texts.begin(), texts.end(), std::back_inserter(out),
               [](const std::string& text) { return !text.empty(); });
  return out;
}

}  // namespace

std::string rule_in_words(const MaskRule& rule, const std::vector<MaskValues>& files) {
  const auto coloured =
      std::count_if(files.begin(), files.end(), [](const MaskValues& f) { return f.colour; });
  const std::string values = fmt::format("{} files with values {}", files.size(), range_of(files));
  switch (rule.kind) {
    case MaskRule::Kind::half:
      return fmt::format("{}: inside is at least half of {}", values,
                         rule.top ? fmt::format("{}", rule.top) : "the largest possible value");
    case MaskRule::Kind::values:
      return fmt::format("{}: inside is {}", values, to_string(rule));
    default:
      return coloured ? fmt::format("{} files, {} in colour: inside is all but the background",
                                    files.size(), coloured)
                      : fmt::format("{}: inside is all but 0", values);
  }
}

std::vector<std::string> Inspection::problems() const {
  return without_empty(problem);
}
std::vector<std::string> Inspection::blanks() const {
  return without_empty(blank);
}

Inspection inspect_dataset(Dataset& dataset, const InspectOptions& options) {
  std::vector<Opened> opened(dataset.samples.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < opened.size(); i = next++)
      opened[i] = open_sample(dataset.samples[i], options);
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < options.threads; ++t) pool.emplace_back(work);
  work();
  for (std::thread& t : pool) t.join();

  Inspection out;
  for (size_t i = 0; i < opened.size(); ++i) {
    out.facts.push_back(opened[i].facts);
    out.problem.push_back(opened[i].problem);
    out.blank.push_back(opened[i].problem.empty() ? opened[i].blank : "");
    if (opened[i].problem.empty() && opened[i].inverted)
      out.inverted.push_back(dataset.samples[i].image.string());
  }
  for (const auto& [key, group] : mask_groups(dataset, opened))
    out.masks.push_back(decide(dataset, opened, key.first, group));
  if (std::any_of(dataset.samples.begin(), dataset.samples.end(),
                  [](const Sample& s) { return !s.organs.empty(); })) {
    std::vector<std::vector<MaskValues>> values;
    for (Opened& one : opened) values.push_back(std::move(one.masks));
    for (MaskSet& set : organ_mask_sets(dataset, values)) out.masks.push_back(std::move(set));
  }
  ReadingNotes notes;
  for (size_t i = 0; i < opened.size(); ++i) {
    if (!opened[i].problem.empty()) continue;
    for (const std::string& note : reading_notes(opened[i].facts, options.intensity))
      notes.add(note, dataset.samples[i].image);
    for (const auto& [note, mask] : opened[i].mask_notes) notes.add("mask: " + note, mask);
    if (opened[i].inverted) notes.add(kInvertedNote, dataset.samples[i].image);
  }
  out.notes = notes.lines();
  return out;
}

std::vector<std::string> inspection_lines(const Inspection& inspection) {
  std::vector<std::string> lines;
  for (const MaskSet& set : inspection.masks) {
    if (!set.doubt.empty()) {
      lines.push_back("WARNING: " + set.doubt);
      continue;
    }
    const auto images = static_cast<size_t>(set.images);
    if (set.organ.empty())
      lines.push_back(fmt::format("masks of {}: {}", set.source, set.rule));
    else
      lines.push_back(fmt::format(
          "organ {} of {}: {}; {} images, {} with it, {} without; {:.2f} % of their pixels",
          set.organ, set.source, set.rule, images, images - set.empty.size(), set.empty.size(),
          100 * set.share));
    ReadingNotes odd;
    // A lesion, or an organ out of the picture, may well be absent.
    if (set.organ.empty())
      for (const std::string& file : set.empty) odd.add("WARNING: empty mask", file);
    for (const std::string& file : set.full) odd.add("WARNING: mask without an outside", file);
    for (const std::string& file : set.reversed) odd.add(kReversedNote, file);
    for (std::string& line : odd.lines()) lines.push_back(std::move(line));
  }
  for (const std::string& text : inspection.blanks()) lines.push_back("WARNING: " + text);
  lines.insert(lines.end(), inspection.notes.begin(), inspection.notes.end());
  return lines;
}

void remove_unusable(Dataset& dataset, const Inspection& inspection, bool fail_on_error) {
  for (const MaskSet& set : inspection.masks) THORAX_CHECK(set.doubt.empty(), "{}", set.doubt);
  FilterRule readable{"all", "readable file", 0, {}},
      showing{"all", "image shows something", 0, {}};
  std::vector<Sample> kept;
  for (size_t i = 0; i < dataset.samples.size(); ++i) {
    const std::string& problem = inspection.problem[i];
    const std::string& error = problem.empty() ? inspection.blank[i] : problem;
    if (error.empty()) {
      kept.push_back(std::move(dataset.samples[i]));
      continue;
    }
    THORAX_CHECK(!fail_on_error, "{}", error);
    FilterRule& rule = problem.empty() ? showing : readable;
    ++rule.removed;
    rule.files.push_back(error);
  }
  dataset.samples = std::move(kept);
  dataset.report.rules.push_back(std::move(readable));
  dataset.report.rules.push_back(std::move(showing));
}

void require_varied_masks(const Inspection& inspection) {
  std::map<std::string, std::vector<const MaskSet*>> of_organ;
  for (const MaskSet& set : inspection.masks) of_organ[set.organ].push_back(&set);
  for (const auto& [organ, sets] : of_organ) {
    int64_t images = 0;
    size_t empty = 0, full = 0;
    std::string rules;
    for (const MaskSet* set : sets) {
      images += set->images;
      empty += set->empty.size();
      full += set->full.size();
      rules += fmt::format("; {}: {}", set->source, set->rule);
    }
    THORAX_CHECK(
        images == 0 || empty + full < static_cast<size_t>(images),
        "[mask] no mask{} has an inside and an outside, so that nothing can be learned: of "
        "{} masks {} are empty and {} full{}; {}",
        organ.empty() ? "" : " of " + organ, images, empty, full, rules,
        organ.empty() ? "mask_values=... in --data says which values are inside"
                      : "organs=... in --data says which organs there are, and which values");
  }
}

}  // namespace thorax
