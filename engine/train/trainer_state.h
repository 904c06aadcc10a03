// What a Trainer holds while it runs; for trainer*.cpp only.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "engine/dist/tree_sum.h"
#include "engine/io/json_lines.h"
#include "engine/optim/weight_average.h"
#include "engine/train/device_batches.h"
#include "engine/train/graph_step.h"
#include "engine/train/trainer.h"

namespace thorax {

// Hexadecimal floating point: exact, NaN and infinity included.
inline std::string exact_text(double value) {
  return fmt::format("{:a}", value);
}
inline double exact_number(const nlohmann::json& text) {
  return std::strtod(text.get_ref<const std::string&>().c_str(), nullptr);
}

struct WeightedSum {
  double sum = 0, weight = 0;
  double mean() const {
    return weight > 0 ? sum / weight : std::numeric_limits<double>::quiet_NaN();
  }
};

// What one of the source's batches has given besides gradients.
struct Trainer::BatchResult {
  struct Note {
    std::string name;
    double value, weight;
  };
  double loss = 0, weight = 0;
  std::int64_t samples = 0;  // 0: nothing was computed
  std::vector<Note> notes;   // of a piece
};

struct Trainer::State {
  // What a checkpoint holds beside tensors.
  std::int64_t epoch = 0, batch = 0, step = 0;     // the next to do
  nlohmann::json lines = nlohmann::json::array();  // of metrics.jsonl
  std::map<std::string, WeightedSum> sums;         // of the running epoch
  std::map<std::string, double> metrics;           // of the last finished epoch
  double best = std::numeric_limits<double>::quiet_NaN();
  std::int64_t best_epoch = -1;

  // What it does not.
  std::map<std::string, std::string> texts;  // of the validation that ended the last epoch
  std::unique_ptr<DeviceBatches> source;
  std::unique_ptr<GraphStep> graph;
  std::unique_ptr<JsonLines> log;
  double loss = 0, lr = 0, grad_norm = 0;  // of the last step
  std::int64_t samples = 0;                // in the last step
  std::int64_t run_samples = 0, run_steps = 0;
  double train_seconds = 0;
  std::unique_ptr<WeightAverage> average;
  std::unique_ptr<Communicator> alone;              // where TrainerOptions::ranks has none
  bool stop = false;                                // a signal reached one of the ranks
  std::vector<BatchResult::Note>* notes = nullptr;  // of the piece that is computed

  nlohmann::json to_json() const {
    nlohmann::json j{{"epoch", epoch}, {"batch", batch},           {"step", step},
                     {"log", lines},   {"best_epoch", best_epoch}, {"best", exact_text(best)}};
    j["sums"] = nlohmann::json::object();
    for (const auto& [name, s] : sums) j["sums"][name] = {exact_text(s.sum), exact_text(s.weight)};
    j["metrics"] = nlohmann::json::object();
    for (const auto& [name, value] : metrics) j["metrics"][name] = exact_text(value);
    return j;
  }
  void from_json(const nlohmann::json& j) {
    epoch = j.at("epoch");
    batch = j.at("batch");
    step = j.at("step");
    lines = j.value("log", nlohmann::json());  // null: of an earlier version
    best_epoch = j.at("best_epoch");
    best = exact_number(j.at("best"));
    sums.clear();
    for (const auto& [name, s] : j.at("sums").items())
      sums[name] = {exact_number(s.at(0)), exact_number(s.at(1))};
    metrics.clear();
    for (const auto& [name, value] : j.at("metrics").items()) metrics[name] = exact_number(value);
  }
};

}  // namespace thorax
