// `thorax bench data`: decoding, resizing and augmentation of images.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/bench/commands.h"
#include "apps/bench/data_stages.h"
#include "apps/image_list.h"
#include "apps/number_checks.h"
#include "data/csv.h"
#include "data/decode_samples.h"
#include "data/encode.h"
#include "data/phantom.h"
#include "engine/io/atomic_file.h"
#include "engine/io/json_text.h"
#include "engine/io/output_folder.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

struct Options {
  std::vector<std::string> images;
  std::string augment = "study", csv;
  int phantoms = 0, size = 256, repeats = 11;
  bool json = false;
};

constexpr int kPhantomSize = 512;

std::vector<DataSource> sources(const Options& o) {
  std::vector<DataSource> all;
  for (const std::filesystem::path& file :
       o.images.empty() ? std::vector<std::filesystem::path>{} : list_images(o.images))
    all.push_back({file.string(), [file] { return read_image_file(file, {}); }});
  for (int i = 0; i < o.phantoms; ++i)
    all.push_back({fmt::format("phantom {}", i), [i] {
                     PhantomConfig config;
                     config.size = kPhantomSize;
                     config.patients = i + 1;
                     const std::vector<std::uint8_t> png =
                         encode_png(to_u8(make_phantom(config, i, 0).image));
                     const auto* const first = reinterpret_cast<const std::byte*>(png.data());
                     return std::vector<std::byte>(first, first + png.size());
                   }});
  return all;
}

std::string as_csv(const std::vector<DataRow>& rows) {
  std::string text = csv_line({"stage", "format", "reader", "images", "megapixels", "median_ms",
                               "spread_ms", "images_per_second"});
  for (const DataRow& r : rows)
    text += csv_line({r.stage, r.format, r.reader, std::to_string(r.images),
                      fmt::format("{:.6g}", r.megapixels), fmt::format("{:.6g}", r.median * 1e3),
                      fmt::format("{:.6g}", r.spread * 1e3),
                      fmt::format("{:.6g}", r.images_per_second())});
  return text;
}

nlohmann::ordered_json as_json(const std::vector<DataRow>& rows) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const DataRow& r : rows)
    all.push_back({{"stage", r.stage},
                   {"format", r.format},
                   {"reader", r.reader},
                   {"images", r.images},
                   {"megapixels", r.megapixels},
                   {"median_ms", r.median * 1e3},
                   {"spread_ms", r.spread * 1e3},
                   {"images_per_second", r.images_per_second()}});
  return all;
}

void print(const std::vector<DataRow>& rows) {
  fmt::print("{:<8} {:<8} {:<18} {:>6} {:>10} {:>10} {:>10} {:>10}\n", "stage", "format", "reader",
             "images", "megapixels", "median ms", "spread ms", "images/s");
  for (const DataRow& r : rows)
    fmt::print("{:<8} {:<8} {:<18} {:>6} {:>10.3f} {:>10.3f} {:>10.3f} {:>10.1f}\n", r.stage,
               r.format, r.reader, r.images, r.megapixels, r.median * 1e3, r.spread * 1e3,
               r.images_per_second());
}

void run(const Options& o) {
  THORAX_CHECK(o.images.empty() != (o.phantoms == 0),
               "[bench data] {}; name image files or folders, or give --phantoms N",
               o.images.empty() ? "no images" : "both images and --phantoms, where one is wanted");
  DataWork work;
  work.images = sources(o);
  work.size = o.size;
  work.augment = augment_preset(o.augment);
  work.repeats = o.repeats;
  if (!o.csv.empty()) check_output_file(o.csv);
  const std::vector<DataRow> rows = measure_data(work);
  if (!o.csv.empty()) atomic_write(o.csv, as_csv(rows));
  if (o.json)
    fmt::print("{}\n", dump_json(as_json(rows), 2));
  else
    print(rows);
}

}  // namespace

void add_bench_data(CLI::App& bench) {
  static Options o;
  CLI::App* c = bench.add_subcommand(
      "data", "Decoding, resizing and augmentation on one thread: images a second, by format");
  c->add_option("images", o.images, "Image files and folders");
  c->add_option("--phantoms", o.phantoms, "So many drawn radiographs of 512 x 512 in their place")
      ->check(in_range<int>(1, 100000));
  c->add_option("--size", o.size, "Side of the square that images are resized to")
      ->capture_default_str()
      ->check(in_range<int>(1, 8192));
  c->add_option("--augment", o.augment, "Preset of the augmentation")
      ->capture_default_str()
      ->check(CLI::IsMember({"study", "light", "none"}));
  c->add_option("--repeats", o.repeats, "Timed passes over the images")
      ->capture_default_str()
      ->check(in_range<int>(1, 10000));
  c->add_option("--csv", o.csv, "Write the rows here");
  c->add_flag("--json", o.json, "Print JSON");
  c->footer("Example:\n  thorax bench data --phantoms 8 --size 224");
  c->callback([] { run(o); });
}

}  // namespace thorax::app
