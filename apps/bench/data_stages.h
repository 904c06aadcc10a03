// What it costs to turn image files into a network's input, stage by stage, on one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/augment.h"

namespace thorax::app {

// One image: its name in errors and a function that gives the bytes of its file.
struct DataSource {
  std::string name;
  std::function<std::vector<std::byte>()> bytes;
};

struct DataWork {
  std::vector<DataSource> images;
  int size = 0;  // side of the square that images are resized to and augmented at
  AugmentConfig augment;
  std::uint64_t seed = 0;  // of the augmentation
  int repeats = 0;
};

// One stage for the images of one format.
struct DataRow {
  std::string stage, format, reader;
  std::int64_t images = 0;
  double megapixels = 0;          // mean of the files; of resized images where those went in
  double median = 0, spread = 0;  // seconds an image; the spread is the distance of quartiles
  double images_per_second() const { return median > 0 ? 1 / median : 0; }
};

// "check": the container is walked to its end. "samples": check and the stored samples. "decode":
// samples to gray pixels 0..1, everything before included. "resize" and "augment" go on from the
// stage before. A sample of a time is one pass over all images of the format, divided by their
// number; files are in memory, and one image is at a time. Formats in order of their names. Throws
// Error "[decode] NAME: ..." for a file that cannot be read.
std::vector<DataRow> measure_data(const DataWork& work);

}  // namespace thorax::app
