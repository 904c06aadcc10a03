// The pictures of data/describe.h.
#include <algorithm>

#include "data/decode.h"
#include "data/describe.h"
#include "data/draw.h"
#include "data/loader.h"
#include "data/organ_pictures.h"
#include "data/organs.h"
#include "data/resize.h"
#include "engine/tensor/error.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace thorax {
namespace {

constexpr Color kPaper = {250, 250, 250}, kInk = {40, 40, 40}, kFrame = {20, 20, 20};
constexpr Color kBars[] = {{31, 119, 180}, {214, 96, 77}, {77, 146, 33}, {128, 90, 160}};

std::string shortened(const std::string& text, int width) {
  const size_t fits = static_cast<size_t>(std::max(1, width / kGlyphAdvance));
  return text.size() <= fits ? text : text.substr(0, fits - 1) + ".";
}

// With several findings an image those that are there.
const std::string& shown_class(const Sample& s) {
  return s.labels.empty() ? s.class_name : s.finding;
}

// Pixels of the mask that touch the outside.
void thin_outline(ImageU8& tile, const ImageU8& mask, Color colour = {60, 220, 90}) {
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x) {
      if (!mask.at(y, x)) continue;
      const bool edge = x == 0 || y == 0 || x + 1 == mask.width || y + 1 == mask.height ||
                        !mask.at(y, x - 1) || !mask.at(y, x + 1) || !mask.at(y - 1, x) ||
                        !mask.at(y + 1, x);
      if (edge) fill_rectangle(tile, y, x, 1, 1, colour);
    }
}

ImageU8 tile_of(const Sample& sample, int side, Intensity intensity) {
  ImageU8 tile(side, side, 3);
  LoaderConfig config;
  config.height = config.width = side;
  config.fit = Fit::letterbox;
  config.intensity = intensity;
  config.with_mask = !sample.masks.empty();
  for (const OrganMask& organ : sample.organs.organs) config.organs.push_back(organ.name);
  try {
    const PreparedSample p = prepare_sample(sample, config);
    paste(tile, to_u8(to_float(p.image)), 0, 0);
    if (config.with_mask && config.organs.empty()) thin_outline(tile, p.mask);
    for (size_t k = 0; config.with_mask && k < config.organs.size(); ++k)
      thin_outline(tile, organ_plane({p.mask, p.organs_of}, k), organ_colour(k));
  } catch (const Error&) {
    fill_rectangle(tile, 0, 0, side, side, {90, 30, 30});
    draw_text(tile, "UNREADABLE", side / 2, 8, {255, 255, 255});
  }
  return tile;
}

}  // namespace

ImageU8 sample_sheet(const Dataset& dataset, const SheetOptions& options) {
  const auto [per_class, columns, tile, seed, intensity] = options;
  THORAX_CHECK(per_class > 0 && columns > 0 && tile >= 32,
               "[data] sample sheet of {} x {} tiles of {} pixels", per_class, columns, tile);
  std::vector<std::string> names = dataset.classes;
  names.push_back("");
  std::vector<std::vector<const Sample*>> rows;
  for (const std::string& name : names) {
    std::vector<std::pair<uint64_t, const Sample*>> order;
    for (const Sample& s : dataset.samples)
      if (s.class_name == name) {
        const std::string key = s.patient + s.image.filename().string();
        order.emplace_back(XXH64(key.data(), key.size(), seed), &s);
      }
    std::sort(order.begin(), order.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    order.resize(std::min(order.size(), static_cast<size_t>(per_class)));
    for (size_t i = 0; i < order.size(); ++i) {
      if (i % static_cast<size_t>(columns) == 0) rows.emplace_back();
      rows.back().push_back(order[i].second);
    }
  }
  const int gap = 6, caption = 2 * (kGlyphHeight + 3);
  ImageU8 sheet(static_cast<int>(rows.size()) * (tile + caption + gap) + gap,
                columns * (tile + gap) + gap, 3);
  fill_rectangle(sheet, 0, 0, sheet.height, sheet.width, kPaper);
  for (size_t r = 0; r < rows.size(); ++r)
    for (size_t c = 0; c < rows[r].size(); ++c) {
      const Sample& s = *rows[r][c];
      const int top = gap + static_cast<int>(r) * (tile + caption + gap),
                left = gap + static_cast<int>(c) * (tile + gap);
      fill_rectangle(sheet, top - 1, left - 1, tile + 2, tile + 2, kFrame);
      paste(sheet, tile_of(s, tile, intensity), top, left);
      const std::string what =
          (shown_class(s).empty() ? s.source : shown_class(s) + " | " + s.source) +
          (s.view.empty() ? "" : " " + s.view);
      draw_text(sheet, shortened(what, tile), top + tile + 3, left, kInk);
      draw_text(sheet, shortened(s.image.filename().string(), tile),
                top + tile + 3 + kGlyphHeight + 3, left, {110, 110, 110});
    }
  return sheet;
}

ImageU8 bar_chart(const std::string& title, const std::map<std::string, int64_t>& counts) {
  std::vector<std::pair<int64_t, std::string>> order;
  int64_t most = 1;
  int label = 0;
  for (const auto& [name, count] : counts) {
    order.emplace_back(-count, name.empty() ? "(none)" : name);
    most = std::max(most, count);
    label = std::max(label, text_width(order.back().second, 2));
  }
  std::sort(order.begin(), order.end());
  label = std::min(label, 420);
  const int row = 30, bar = 560, number = 110, top = 54;
  ImageU8 chart(top + row * static_cast<int>(order.size()) + 16, label + bar + number + 48, 3);
  fill_rectangle(chart, 0, 0, chart.height, chart.width, kPaper);
  draw_text(chart, title, 16, 16, kInk, 2);
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t count = -order[i].first;
    const int y = top + row * static_cast<int>(i);
    const int length = std::max<int>(count > 0, static_cast<int>(count * bar / most));
    const std::string name =
        order[i].second.substr(0, static_cast<size_t>(label / (2 * kGlyphAdvance)));
    draw_text(chart, name, y + 4, 16 + label - text_width(name, 2), kInk, 2);
    fill_rectangle(chart, y, 28 + label, row - 8, length, kBars[i % std::size(kBars)]);
    draw_text(chart, std::to_string(count), y + 4, 36 + label + length, kInk, 2);
  }
  return chart;
}

}  // namespace thorax
