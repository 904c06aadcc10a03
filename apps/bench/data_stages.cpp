#include "apps/bench/data_stages.h"

#include <array>
#include <map>
#include <span>

#include "apps/bench/step_timing.h"
#include "data/decode.h"
#include "data/decode_samples.h"
#include "data/formats/format.h"
#include "data/resize.h"

namespace thorax::app {
namespace {

constexpr std::array<const char*, 5> kStages = {"check", "samples", "decode", "resize", "augment"};

// Of the images of one format.
struct Sums {
  std::int64_t images = 0;
  double pixels = 0;
  std::array<std::vector<double>, kStages.size()> seconds;  // [stage][repeat], of all images
};

template <class Work>
double on_the_cpu(const Work& work) {
  return seconds_of(Device{}, work);
}

void add(Sums& sums, const DataWork& work, std::int64_t index, const std::string& name,
         std::span<const std::uint8_t> bytes, const Image& gray) {
  const DecodeLimits limits;
  const Image resized = resize(gray, work.size, work.size);
  ++sums.images;
  sums.pixels += static_cast<double>(gray.pixels.size());
  for (int r = 0; r < work.repeats; ++r) {
    Image augmented = resized;  // the copy is not the augmentation's
    const std::array<double, kStages.size()> seconds = {
        on_the_cpu([&] { (void)check_container(bytes, name, limits); }),
        on_the_cpu([&] { (void)decode_samples(bytes, name, limits, Use::gray); }),
        on_the_cpu([&] { (void)decode_gray(bytes, name); }),
        on_the_cpu([&] { (void)resize(gray, work.size, work.size); }),
        // Another epoch each time: a draw decides which of the processes an image gets.
        on_the_cpu([&] { augment(work.augment, work.seed, r, index, augmented, nullptr); })};
    for (std::size_t s = 0; s < kStages.size(); ++s)
      sums.seconds[s][static_cast<std::size_t>(r)] += seconds[s];
  }
}

}  // namespace

std::vector<DataRow> measure_data(const DataWork& work) {
  std::map<std::string, Sums> formats;
  for (std::size_t i = 0; i < work.images.size(); ++i) {
    const DataSource& source = work.images[i];
    const std::vector<std::byte> stored = source.bytes();
    const std::span<const std::uint8_t> bytes = as_u8(stored);
    ImageFacts facts;
    const Image gray = decode_gray(bytes, source.name, {}, &facts);  // warms up, too
    Sums& sums = formats[facts.info.format];
    for (std::vector<double>& one : sums.seconds)
      one.resize(static_cast<std::size_t>(work.repeats));
    add(sums, work, static_cast<std::int64_t>(i), source.name, bytes, gray);
  }
  std::vector<DataRow> rows;
  for (auto& [format, sums] : formats) {
    const auto images = static_cast<double>(sums.images);
    for (std::size_t s = 0; s < kStages.size(); ++s) {
      const auto [median, spread] = quartiles(sums.seconds[s]);
      DataRow row{kStages[s], format, reader_of(format), sums.images};
      const bool resized = row.stage == "augment";
      row.megapixels =
          1e-6 * (resized ? static_cast<double>(work.size) * work.size : sums.pixels / images);
      row.median = median / images;
      row.spread = spread / images;
      rows.push_back(row);
    }
  }
  return rows;
}

}  // namespace thorax::app
