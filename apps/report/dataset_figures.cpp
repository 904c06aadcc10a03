#include "apps/report/dataset_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "data/draw.h"
#include "data/multilabel.h"
#include "data/overlay.h"
#include "data/resize.h"
#include "engine/tensor/error.h"

namespace thorax::app {

Table exclusion_table(const std::vector<std::string>& specs, const Dataset& dataset) {
  Table table;
  table.title = "What each rule removed";
  table.columns = {{"source"},
                   {"rule"},
                   {"images removed", CellKind::integer},
                   {"images left", CellKind::integer}};
  std::int64_t sum = 0;
  for (const std::string& spec : specs) {
    const FilterReport report = load_dataset(parse_source_spec(spec)).report;
    for (const SourceCount& source : report.sources) {
      std::int64_t left = source.rows;
      table.rows.push_back({source.source, std::string("entries read"), {}, left});
      for (const FilterRule& rule : report.rules) {
        left -= rule.removed;
        table.rows.push_back({source.source, rule.name, rule.removed, left});
      }
      sum += source.kept;
    }
  }
  // Rules that act on all sources together come last in the joint report.
  for (const FilterRule& rule : dataset.report.rules) {
    if (rule.source != "all") continue;
    sum -= rule.removed;
    table.rows.push_back({rule.source, rule.name, rule.removed, sum});
  }
  table.rows.push_back({std::string("all"),
                        std::string("kept"),
                        {},
                        static_cast<std::int64_t>(dataset.samples.size())});
  table.summary_rows = 1;
  table.notes = {"Each image is counted by the first rule that removes it."};
  return table;
}

std::map<std::string, std::int64_t> findings_before_rules(const std::string& text) {
  SourceSpec spec = parse_source_spec(text);
  std::map<std::string, std::string> wide;
  for (const char* key : {"table", "source", "class"})
    if (const auto found = spec.options.find(key); found != spec.options.end()) wide.insert(*found);
  if (spec.kind == "covid") wide.insert({{"finding", "all"}, {"view", "all"}});
  if (spec.kind == "nih" || spec.kind == "chexpert")
    wide.insert({{"finding", "all"}, {"min_age", "0"}});
  spec.options = wide;
  std::map<std::string, std::int64_t> counts;
  for (const Sample& sample : load_dataset(spec).samples) ++counts[sample.finding];
  return counts;
}

BarChart count_chart(const std::string& title, const std::string& value_label,
                     const std::map<std::string, std::int64_t>& counts, int most) {
  THORAX_CHECK(!counts.empty() && most > 0, "[figures] '{}': nothing to count", title);
  std::vector<std::pair<std::int64_t, std::string>> order;
  for (const auto& [name, count] : counts) order.emplace_back(-count, name);
  std::sort(order.begin(), order.end());
  BarChart chart;
  chart.title = title;
  chart.value_label = value_label;
  chart.series.resize(1);
  const auto add = [&](const std::string& name, std::int64_t count) {
    chart.groups.push_back(name);
    chart.series[0].values.push_back(static_cast<double>(count));
  };
  // One name more is shown rather than called "1 other".
  const std::size_t shown = order.size() <= static_cast<std::size_t>(most) + 1
                                ? order.size()
                                : static_cast<std::size_t>(most);
  std::int64_t rest = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i < shown)
      add(order[i].second, -order[i].first);
    else
      rest -= order[i].first;
  }
  if (shown < order.size()) add(fmt::format("{} others", order.size() - shown), rest);
  return chart;
}

BarChart class_chart(const Dataset& dataset) {
  std::vector<std::string> names = dataset.classes;
  std::vector<std::string> sources;
  for (const Sample& sample : dataset.samples) {
    if (std::find(sources.begin(), sources.end(), sample.source) == sources.end())
      sources.push_back(sample.source);
    if (!dataset.multilabel && sample.class_name.empty() &&
        (names.empty() || !names.back().empty()))
      names.push_back("");
  }
  BarChart chart;
  chart.title = dataset.multilabel ? "Images kept that have a finding, by source"
                                   : "Images kept, by class and source";
  chart.value_label = "images";
  for (const std::string& name : names) chart.groups.push_back(name.empty() ? "(no class)" : name);
  for (const std::string& source : sources) {
    BarSeries series{source, std::vector<double>(names.size(), 0)};
    for (const Sample& sample : dataset.samples) {
      if (sample.source != source) continue;
      if (dataset.multilabel) {
        for (std::size_t f = 0; f < names.size(); ++f)
          series.values[f] += sample.labels[f] == kPositiveLabel;
        continue;
      }
      const auto found = std::find(names.begin(), names.end(), sample.class_name);
      series.values[static_cast<std::size_t>(found - names.begin())] += 1;
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

std::string confounding_warning(const Dataset& dataset) {
  std::map<std::string, std::set<std::string>> classes_of;
  std::set<std::string> classes;
  for (const Sample& sample : dataset.samples) {
    if (sample.class_name.empty()) continue;
    classes_of[sample.source].insert(sample.class_name);
    classes.insert(sample.class_name);
  }
  if (classes_of.size() < 2 || classes.size() < 2) return {};
  std::vector<std::string> parts;
  for (const auto& [source, names] : classes_of) {
    if (names.size() > 1) return {};
    parts.push_back(fmt::format("{} only {}", source, *names.begin()));
  }
  return fmt::format(
      "Class and source coincide ({}): a classifier can learn to tell the sources apart, by size, "
      "borders, text or compression, and still score well. Cross-validation does not show that.",
      fmt::join(parts, ", "));
}

std::vector<AugmentProcess> augment_processes(const AugmentConfig& all) {
  std::vector<AugmentProcess> processes;
  // A configuration in which nothing happens, but what a process needs to know of `all` is kept.
  AugmentConfig none = all;
  none.scale_x_probability = none.rotate_probability = none.shear_x_probability = 0;
  none.flip_x_probability = none.gamma_probability = none.salt_pepper_probability = 0;
  none.blur_probability = none.noise_probability = 0;
  const auto add = [&](const std::string& name, double AugmentConfig::*probability) {
    if (all.*probability <= 0) return;
    AugmentConfig one = none;
    one.*probability = 1;
    processes.push_back({name, one});
  };
  using C = AugmentConfig;
  add(fmt::format("scale x {} to {}", all.scale_x_min, all.scale_x_max), &C::scale_x_probability);
  add(fmt::format("rotate {} to {} degrees", all.rotate_min, all.rotate_max),
      &C::rotate_probability);
  add(fmt::format("shear x {} to {}", all.shear_x_min, all.shear_x_max), &C::shear_x_probability);
  add("flip x", &C::flip_x_probability);
  add(fmt::format("gamma {} to {}", all.gamma_min, all.gamma_max), &C::gamma_probability);
  add(fmt::format("salt and pepper {}", all.salt_pepper_amount), &C::salt_pepper_probability);
  add(fmt::format("blur sigma {} kernel {}", all.blur_sigma, all.blur_kernel),
      &C::blur_probability);
  add(fmt::format("noise {} percent", all.noise_percent), &C::noise_probability);
  processes.push_back({"all together", all});
  return processes;
}

ImageU8 augmentation_sheet(const Image& image, const ImageU8& mask,
                           const std::vector<AugmentProcess>& processes, int draws, int tile,
                           std::uint64_t seed) {
  THORAX_CHECK(image.channels == 1 && !image.empty() && draws > 0 && tile >= 32,
               "[figures] augmentation of a {}x{}x{} image in {} draws of {} pixels", image.height,
               image.width, image.channels, draws, tile);
  THORAX_CHECK(mask.empty() || (mask.height == image.height && mask.width == image.width),
               "[figures] the mask is {}x{}, its image {}x{}", mask.height, mask.width,
               image.height, image.width);
  const Image small = resize(image, tile, tile);
  const ImageU8 small_mask = mask.empty() ? ImageU8() : resize_nearest(mask, tile, tile);
  constexpr int kGap = 6, kLabel = 2 * kGlyphHeight + 10;
  const int rows = static_cast<int>(processes.size());
  ImageU8 sheet(rows * (tile + kLabel + kGap) + kGap, (draws + 1) * (tile + kGap) + kGap, 3);
  fill_rectangle(sheet, 0, 0, sheet.height, sheet.width, {250, 250, 250});
  for (int r = 0; r < rows; ++r) {
    const AugmentProcess& process = processes[static_cast<std::size_t>(r)];
    const int top = kGap + r * (tile + kLabel + kGap);
    draw_text(sheet, process.name, top + 4, kGap, {40, 40, 40}, 2);
    for (int c = 0; c <= draws; ++c) {
      Image one = small;
      ImageU8 outline = small_mask;
      if (c > 0)  // the column stands for the epoch: a new draw each time
        augment(process.config, seed, c, r, one, outline.empty() ? nullptr : &outline);
      ImageU8 picture = to_rgb(to_u8(one));
      if (!outline.empty()) draw_outline(picture, outline, kGreen, 1);
      paste(sheet, picture, top + kLabel, kGap + c * (tile + kGap));
    }
  }
  return sheet;
}

}  // namespace thorax::app
