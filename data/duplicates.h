// Near-duplicate radiographs: the same exposure under two names, cropped, rescaled, recompressed,
// brightened, written on, mirrored or with inverted gray.
//
// Public collections hold such pairs, under two patient ids, too; a split by patient does not keep
// them together. The search has two parts. Hashes of 361 windows of every image are compared with
// hashes of three windows of every other one; what differs in few bits is a candidate. Candidates
// are registered (shift, scale, proportions, a little rotation and skew) and claimed when the local
// contrast of what both show correlates. Local contrast leaves out what all radiographs of a chest
// share. README.md says what was measured.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/decode.h"
#include "data/image.h"
#include "engine/train/splits.h"

namespace thorax {

// Where image a lies in image b. Both are unit squares, x to the right, y down; a is mirrored first
// when `mirrored`. 0, 0, 1, 1: both show the same; left < 0: a shows more at its left. Point (x, y)
// of a is (left + (right - left) x + skew_x (y - 1/2), top + (bottom - top) y + skew_y (x - 1/2))
// of b; a small rotation has two skews of opposite sign.
struct Registration {
  double left = 0, top = 0, right = 1, bottom = 1;
  double skew_x = 0, skew_y = 0;
  bool mirrored = false;
  bool inverted = false;  // dark in a is bright in b

  // Where b lies in a.
  Registration inverse() const;
  // The part of a's area that lies in b, without regard to the skews.
  double overlap() const;
};

struct DuplicatePair {
  std::size_t a = 0, b = 0;  // positions in the samples, a < b
  double correlation = 0;    // median over blocks where both overlap, 0..1
  Registration registration;
  bool same_patient = false, same_class = false;
};

struct DuplicateOptions {
  double min_correlation = 0.94;
  int max_distance = 66;    // of 256 bits, for a candidate
  int max_candidates = 60;  // of an image, the nearest ones
  bool skip_unreadable = false;
  int threads = 2;  // does not change the result
  Intensity intensity = Intensity::depth;
};

struct DuplicateReport {
  std::vector<DuplicatePair> pairs;  // the highest correlation first
  std::int64_t images = 0, candidates = 0;
  std::vector<std::string> unreadable;  // error messages of skipped files
};

// `load(i)`: the i-th of `count` gray images, of any size; called once each, by several threads.
// same_patient and same_class are not set.
DuplicateReport find_duplicates(std::size_t count, const std::function<Image(std::size_t)>& load,
                                const DuplicateOptions& options = {});
// Every pair of the dataset's samples. Throws Error naming the file that cannot be read.
DuplicateReport find_duplicates(const Dataset& dataset, const DuplicateOptions& options = {});

// What image a shows, taken from b: height x width pixels, black where b shows nothing; mirrored
// and inverted back.
Image seen_as(const Image& b, const Registration& registration, int height, int width);

// How well two images agree where `registration` lays them over each other, as `correlation` above.
double registered_correlation(const Image& a, const Image& b, const Registration& registration);

// Patients who share a radiograph, directly or through others: groups of two or more ids, each
// sorted, the groups by their first id.
std::vector<std::vector<std::string>> patients_sharing_images(
    const Dataset& dataset, const std::vector<DuplicatePair>& pairs);

// Gives all samples of a group's patients the group's first id, so that splits treat them as one,
// and notes it in the report. Returns how many samples changed. A patient of two classes may arise:
// check_patients() finds it.
std::int64_t join_patients(Dataset& dataset, const std::vector<std::vector<std::string>>& groups);

// For each sample the first fold that holds it out, -1 for none.
std::vector<int> held_out_folds(const Dataset& dataset, const Splits& splits);

}  // namespace thorax
