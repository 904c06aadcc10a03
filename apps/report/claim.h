// The reporting checklist CLAIM (Checklist for Artificial Intelligence in Medical Imaging, 2024
// update: Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300), filled in as far as
// the folder of a run tells. Item numbers are the publication's; the wording is ours and shorter,
// so the publication decides what an item asks for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/report/table.h"

namespace thorax::app {

// What a run's folder says of itself. What is not there is null or 0.
struct RunFacts {
  nlohmann::json config;      // config.json
  nlohmann::json provenance;  // provenance.json: one entry per start
  nlohmann::json splits;      // splits.json
  nlohmann::json summary;     // crossval/summary.json

  // manifest.csv; of several findings an image the "classes" are these, where they are positive
  std::int64_t images = 0, patients = 0, unknown_labels = 0;
  std::map<std::string, std::int64_t> class_images, class_patients, source_images, view_images;
  std::vector<double> ages;  // of the images that tell one

  std::string heatmaps;  // folder of heatmaps below the run: "crossval/heatmaps"; empty: none
  nlohmann::json audit;  // audit/summary.json: a control's name -> its evaluation
};

// Reads what there is; only config.json must be. Throws Error "[claim] ..." when it is missing,
// "[config] ..." or "[csv] ..." when a file is not what it should be.
RunFacts read_run_facts(const std::filesystem::path& run);

// What audit/summary.json calls the judgement on images of other sources.
inline constexpr const char* kExternalControl = "External images";

inline constexpr const char* kNotAnswered = "not answered by this run";

// 44 rows: number, part of the paper, what is asked, and the run's answer or kNotAnswered. A note
// counts the answers.
Table claim_table(const RunFacts& facts);

}  // namespace thorax::app
