// What a person wants to know about a data set before trusting it: counts, classes, sizes,
// patients, what every rule removed, and pictures.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "data/image.h"
#include "data/inspect.h"
#include "data/multilabel.h"

namespace thorax {

struct Spread {
  double least = 0, median = 0, mean = 0, most = 0;
};

struct ClassSummary {
  std::string name;
  int64_t images = 0, patients = 0, with_mask = 0;
  std::map<std::string, int64_t> sources;
};

struct DatasetSummary {
  int64_t images = 0, patients = 0, with_mask = 0;
  std::vector<ClassSummary> classes;  // in label order; none with several findings an image
  std::vector<FindingCount> labels;   // of several findings an image
  std::string labels_table;           // the same as text
  std::string positive;               // Dataset::positive
  std::string classifier_problem;     // why `train classifier` would refuse the data, or empty
  std::map<std::string, int64_t> findings, views;
  std::map<int64_t, int64_t> patients_by_images;  // images a patient has -> how many such patients
  Spread width, height;                           // pixels; zero without inspection
  std::map<std::string, int64_t> kinds;           // "png gray 8 bit" -> files
  Spread age;
  int64_t age_known = 0;
  std::vector<std::string> unreadable;              // errors
  std::vector<std::string> organs;                  // several; empty: one, the lungs
  std::vector<MaskSet> masks;                       // by source and organ
  std::vector<std::string> inspection;              // lines on masks and images (data/inspect.h)
  std::vector<std::vector<std::string>> identical;  // files with the same bytes
  std::string names_checksum;  // dataset_checksum(): of names and sizes, not of contents
  FilterReport report;
};

// With `inspected`, of this data set: also sizes, kinds, what is wrong with files, and identical
// ones.
DatasetSummary summarize(const Dataset& dataset, const Inspection* inspected = nullptr);

std::string describe_text(const DatasetSummary& summary);
nlohmann::json describe_json(const DatasetSummary& summary);

struct SheetOptions {
  int per_class = 12;
  int columns = 6;
  int tile = 192;  // pixels
  uint64_t seed = 0;
  Intensity intensity = Intensity::depth;
};

// Up to `per_class` images of each class, chosen by seed, in rows of `columns` tiles with class,
// source and file name below; the lung mask's outline in green where there is one, outlines of
// several organs in their colours (data/organ_pictures.h). Files that
// cannot be read are shown as an empty tile.
ImageU8 sample_sheet(const Dataset& dataset, const SheetOptions& options = {});

// Horizontal bars with counts, the largest first (the study's Fig. 2 with counts of findings).
ImageU8 bar_chart(const std::string& title, const std::map<std::string, int64_t>& counts);

}  // namespace thorax
