// What reading an image file costs, step by step: bytes in memory to floats. CPU time of one
// thread, the least of several repeats of each file, mean over the files.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <time.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "data/decode.h"
#include "data/decode_samples.h"
#include "data/formats/format.h"
#include "engine/tensor/error.h"

namespace {

using namespace thorax;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double least(int repeats, const std::function<void()>& work) {
  double best = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const double start = cpu_seconds();
    work();
    best = std::min(best, cpu_seconds() - start);
  }
  return best;
}

struct Row {
  std::string format;
  int files = 0;
  double megapixels = 0, bytes = 0, check = 0, samples = 0, gray = 0;
};

void add(Row& row, const std::string& file, int repeats) {
  const DecodeLimits limits;
  const std::vector<std::byte> stored = read_image_file(file, limits);
  const std::span<const uint8_t> bytes = as_u8(stored);
  ImageFacts facts;
  const Image image = decode_gray(bytes, file, {}, &facts);
  const ImageInfo info = check_container(bytes, file, limits);
  THORAX_CHECK(info.height == facts.info.height && info.width == facts.info.width,
               "[bench] {}: its sizes differ", file);
  row.format = info.format;
  ++row.files;
  row.megapixels += static_cast<double>(image.pixels.size()) / 1e6;
  row.bytes += static_cast<double>(bytes.size());
  row.check += least(repeats, [&] { (void)check_container(bytes, file, limits); });
  row.samples += least(repeats, [&] { (void)decode_samples(bytes, file, limits, Use::gray); });
  row.gray += least(repeats, [&] { (void)decode_gray(bytes, file, {}, &facts); });
}

int run(int argc, char** argv) {
  std::vector<std::string> files;
  int repeats = 8;
  CLI::App app("Cost of reading image files: the check of the container, samples, floats");
  app.add_option("files", files, "Images")->required()->check(CLI::ExistingFile);
  app.add_option("--repeats", repeats, "Of each step; the least counts")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  std::vector<Row> rows;
  for (const std::string& file : files) {
    Row one;
    add(one, file, repeats);
    auto row = std::find_if(rows.begin(), rows.end(),
                            [&](const Row& r) { return r.format == one.format; });
    if (row == rows.end()) {
      rows.push_back(one);
      continue;
    }
    ++row->files;
    row->megapixels += one.megapixels;
    row->bytes += one.bytes;
    row->check += one.check;
    row->samples += one.samples;
    row->gray += one.gray;
  }
  fmt::print("format,reader,files,megapixels,kilobytes,check_ms,check_and_samples_ms,gray_ms\n");
  for (const Row& row : rows) {
    const double n = row.files;
    fmt::print("{},{},{},{:.3f},{:.1f},{:.3f},{:.3f},{:.3f}\n", row.format, reader_of(row.format),
               row.files, row.megapixels / n, row.bytes / 1e3 / n, 1e3 * row.check / n,
               1e3 * row.samples / n, 1e3 * row.gray / n);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
