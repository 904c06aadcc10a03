// What find_duplicates() found, as a table, as files and as pictures to judge by.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/duplicates.h"
#include "data/image.h"

namespace thorax {

// Pairs with what is known of their samples. `held_out`: the result of held_out_folds(), or empty.
struct DuplicateTable {
  const Dataset& dataset;
  const DuplicateReport& report;
  const std::vector<int>& held_out;

  // Both images are on different sides of some fold: what was learned from one is tested on the
  // other. False without splits.
  bool crosses_folds(const DuplicatePair& pair) const;
};

// "shift, scale" of a registration in words: "the same frame", "mirrored, 97 x 105 % ...".
std::string describe(const Registration& registration);

std::string duplicates_text(const DuplicateTable& table);
// image_a, image_b, correlation, patient_a, patient_b, same_patient, class_a, class_b, same_class,
// left, top, right, bottom, skew_x, skew_y, mirrored, inverted, overlap, fold_a, fold_b.
std::string duplicates_csv(const DuplicateTable& table);
nlohmann::ordered_json duplicates_json(const DuplicateTable& table);

// Pictures of up to `rows` pairs each, in the report's order: image a, image b, and b laid over a.
std::vector<ImageU8> duplicate_sheets(const DuplicateTable& table, int rows = 12, int tile = 256);

}  // namespace thorax
