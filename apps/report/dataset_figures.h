// Figures and tables of a data set: the study's Table 2 and Figures 2 and 7.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "apps/report/plot.h"
#include "apps/report/table.h"
#include "data/augment.h"
#include "data/dataset.h"
#include "data/image.h"

namespace thorax::app {

// Table 2 of the study, by rule: per source how many entries were read, what each rule removed and
// what was left, then the rules over all sources. `specs` are the --data arguments that `dataset`
// was read from; they are read again, one by one.
Table exclusion_table(const std::vector<std::string>& specs, const Dataset& dataset);

// What a source holds before the rules on finding, view and age: images by finding (the study's
// Fig. 2, which shows the whole repository). `spec` is a --data argument.
std::map<std::string, std::int64_t> findings_before_rules(const std::string& spec);

// Bars, the largest first; beyond `most` of them the rest are summed in one.
BarChart count_chart(const std::string& title, const std::string& value_label,
                     const std::map<std::string, std::int64_t>& counts, int most = 20);

// Images that were kept, by class (bars) and source (series).
BarChart class_chart(const Dataset& dataset);

// "Class and source coincide ..." when no source has images of two classes although there are two
// of each: a classifier can then learn the source. Empty otherwise.
std::string confounding_warning(const Dataset& dataset);

// One configuration per process that `all` has, with that process alone and certain, and `all`
// itself last. Names say the range: "rotate -45 to 45 degrees".
struct AugmentProcess {
  std::string name;
  AugmentConfig config;
};
std::vector<AugmentProcess> augment_processes(const AugmentConfig& all);

// Figure 7: one row per process, the image as it was and `draws` draws of it, `tile` pixels a side;
// the outline of the mask, if there is one, in green. `image` is gray, `mask` empty or of its size.
ImageU8 augmentation_sheet(const Image& image, const ImageU8& mask,
                           const std::vector<AugmentProcess>& processes, int draws = 5,
                           int tile = 192, std::uint64_t seed = 0);

}  // namespace thorax::app
