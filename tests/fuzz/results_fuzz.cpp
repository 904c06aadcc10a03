// Results that a later command reads: finished folds, what a checkpoint says of its network, runs.
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/fold_files.h"
#include "apps/inference/model_file.h"
#include "apps/run_events.h"
#include "apps/run_index.h"
#include "engine/io/checksum.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"
#include "tests/fuzz/harness.h"

namespace thorax::fuzz {
namespace {

namespace fs = std::filesystem;

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// A fold's result.json and predictions.csv. With `sealed`, the checksums are those of the files,
// as whoever knows the format can write them: what lies behind them is reached.
void write_fold(const fs::path& folder, std::string result, const std::string& predictions,
                bool sealed) {
  write_file(folder / "predictions.csv", bytes_of(predictions));
  if (sealed) {
    nlohmann::json json;
    try {
      json = parse_json(result, "result.json");
    } catch (const Error&) {
    }
    if (json.is_object()) {
      json.erase("checksum");
      json["version"] = 2;
      nlohmann::json& files = json["files"];
      if (files.is_null() || files.is_object())
        files["predictions.csv"] = file_checksum(folder / "predictions.csv");
      Checksum sum;
      sum.add(dump_json(json));
      json["checksum"] = sum.hex();
      result = dump_json(json);
    }
  }
  write_file(folder / "result.json", bytes_of(result));
}

void check_scores(const app::FoldResult& fold, app::Task task) {
  if (task == app::Task::segmenter) return;
  const bool several = fold.multilabel || fold.classes.size() > 2;
  for (const app::Scored& s : fold.scored) {
    FUZZ_REQUIRE(s.score >= 0 && s.score <= 1, "probability {}", s.score);
    FUZZ_REQUIRE(s.probabilities.size() == (several ? fold.classes.size() : 0),
                 "{} probabilities of {} classes", s.probabilities.size(), fold.classes.size());
    for (const double p : s.probabilities) FUZZ_REQUIRE(p >= 0 && p <= 1, "probability {}", p);
    if (fold.multilabel)
      FUZZ_REQUIRE(s.labels.size() == fold.classes.size(), "{} labels", s.labels.size());
    else
      FUZZ_REQUIRE(
          s.label >= 0 && s.label < std::max<int>(2, static_cast<int>(fold.classes.size())),
          "label {}", s.label);
  }
}

// First byte: sealed or not; then result.json, a NUL byte, predictions.csv. What is read is written
// and read again to the same bytes (numbers of masks have nine digits, once written).
void fold(Bytes bytes) {
  if (bytes.empty()) return;
  static const fs::path folder = scratch() / "fold", copy = scratch() / "fold_again";
  for (const fs::path& one : {folder, copy}) {
    fs::create_directories(one);
    for (const char* name : {"metrics.jsonl", "model.safetensors"}) write_file(one / name, {});
  }
  const std::vector<std::string> parts = pieces(bytes.subspan(1), '\0', 2);
  write_fold(folder, parts[0], parts.size() > 1 ? parts[1] : "", bytes[0] % 2 == 0);
  for (const app::Task task : {app::Task::classifier, app::Task::segmenter}) {
    app::FoldResult result;
    if (!accepted(folder.string(), [&] { result = app::load_fold(folder, task); })) continue;
    check_scores(result, task);
    std::string last;
    for (int round = 0; round < 3; ++round) {
      app::save_fold(copy, task, result, "model.safetensors");
      const std::string text =
          read_text(copy / "predictions.csv") + read_text(copy / "result.json");
      if (round == 2) FUZZ_REQUIRE(text == last, "another fold when written and read again");
      last = text;
      const std::size_t images = result.scored.size();
      result = app::load_fold(copy, task);
      FUZZ_REQUIRE(result.scored.size() == images, "{} images of {}", result.scored.size(), images);
    }
  }
}
const Enter enter_fold("fold", {fold});

// The entries of a checkpoint's metadata that the classes above the network read, between NUL
// bytes.
void model_metadata(Bytes bytes) {
  const std::string name = "net.safetensors";
  std::map<std::string, std::string> metadata;
  const char* keys[] = {"thorax.input", "thorax.threshold", "thorax.thresholds",
                        "thorax.temperature"};
  const std::vector<std::string> parts = pieces(bytes, '\0', 4);
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (!parts[i].empty()) metadata[keys[i]] = parts[i];
  ModelInput input;
  if (!accepted(name, [&] { input = read_model_input(metadata, name); })) return;
  FUZZ_REQUIRE(input.size > 0, "size {}", input.size);
  FUZZ_REQUIRE(input.thresholds.empty() || input.thresholds.size() == input.classes.size(),
               "{} thresholds of {} findings", input.thresholds.size(), input.classes.size());
  for (const auto& t : input.thresholds)
    if (t) FUZZ_REQUIRE(t->threshold >= 0 && t->threshold <= 1, "threshold {}", t->threshold);
  if (input.temperature)
    FUZZ_REQUIRE(input.temperature->temperature > 0, "temperature {}",
                 input.temperature->temperature);
  if (!input.organs.plain())
    FUZZ_REQUIRE(parse_json(parts[0], name).at("values") == nlohmann::json(input.organs.values),
                 "other values of organs than are stated");
  const auto written = input_metadata(input);
  const ModelInput again = read_model_input(written, name);
  FUZZ_REQUIRE(input_metadata(again) == written && again.organs == input.organs,
               "another input when written and read again");
}
const Enter enter_metadata("model_metadata", {model_metadata});

// A run's config.json, metrics.jsonl, result.json, predictions.csv and provenance.json between NUL
// bytes, as `thorax runs` reads them. What cannot be read is said and left out; a second look
// writes nothing.
void run(Bytes bytes) {
  const fs::path root = scratch() / "runs", out = scratch() / "boards";
  fs::remove_all(root);
  fs::remove_all(out);
  std::vector<std::string> parts = pieces(bytes, '\0', 5);
  parts.resize(5);
  fs::create_directories(root / "r/fold_0");
  write_file(root / "r/config.json", bytes_of(parts[0]));
  write_file(root / "r/provenance.json", bytes_of(parts[4]));
  for (const fs::path& part : {root / "r", root / "r/fold_0"}) {
    write_file(part / "metrics.jsonl", bytes_of(parts[1]));
    if (!parts[2].empty()) write_fold(part, parts[2], parts[3], true);
  }
  const app::RunIndex index = app::find_runs(root);
  FUZZ_REQUIRE(index.runs.size() + index.unreadable.size() == 1, "{} runs and {} unreadable",
               index.runs.size(), index.unreadable.size());
  for (const bool folds : {false, true}) {
    const app::Table table = app::run_table(index.runs, folds);
    app::to_text(table);
    dump_json(app::to_json(table));
  }
  app::metrics_csv(index.runs);
  const app::EventCounts first = app::write_events(index.runs, {out});
  FUZZ_REQUIRE(first.written == first.files, "{} of {} event files", first.written, first.files);
  FUZZ_REQUIRE(app::write_events(index.runs, {out}).written == 0, "other events the second time");
}
const Enter enter_run("run", {run});

}  // namespace
}  // namespace thorax::fuzz
