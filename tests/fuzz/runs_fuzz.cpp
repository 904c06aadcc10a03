// Files that a run keeps and reads again: its log, its splits, its choices of kernels.
#include <nlohmann/json.hpp>
#include <set>

#include "apps/report/training_curves.h"
#include "engine/io/json_lines.h"
#include "engine/registry/choice_file.h"
#include "engine/train/splits.h"
#include "tests/fuzz/harness.h"

namespace thorax::fuzz {
namespace {

namespace fs = std::filesystem;

// Opened by a run that knows the first few lines (the first byte says how many), or others, the log
// holds those and no more, whatever it held, and takes another one.
void log_lines(Bytes bytes) {
  if (bytes.empty()) return;
  const fs::path path = scratch() / "metrics.jsonl";
  write_file(path, bytes.subspan(1));
  accepted("metrics.jsonl", [&] { app::read_training_log(path); });
  nlohmann::json lines = nlohmann::json::array();
  accepted("metrics.jsonl", [&] { lines = JsonLines::read(path); });
  nlohmann::json known = nlohmann::json::array();
  for (std::size_t i = 0; i < bytes[0] % 8u && i < lines.size(); ++i) known.push_back(lines[i]);
  if (bytes[0] & 8) known.push_back({{"kind", "epoch"}, {"epoch", 0.1}, {"loss", nullptr}});
  const std::string before = read_text(path);
  if (!accepted("metrics.jsonl", [&] { const JsonLines log(path, known); })) {
    FUZZ_REQUIRE(read_text(path) == before, "a refused log was changed");  // a Git LFS pointer
    return;
  }
  {
    JsonLines log(path, known);
    FUZZ_REQUIRE(JsonLines::read(path) == known, "the log does not hold the known lines");
    known.push_back({{"kind", "epoch"}, {"epoch", 99}});
    log.append(known.back());
  }
  FUZZ_REQUIRE(JsonLines::read(path) == known, "the log does not hold what was appended");
  const std::string text = read_text(path);
  known.erase(known.size() - 1);
  const JsonLines again(path, known);
  FUZZ_REQUIRE(again.first_wrong() == 0, "its own line {} is not known again", again.first_wrong());
  FUZZ_REQUIRE(text.starts_with(read_text(path)), "lines that were known were written otherwise");
}
const Enter enter_log("metrics_log", {log_lines});

void splits(Bytes bytes) {
  static const std::vector<SplitItem> samples = {{"s/a.png", "s/1", 0}, {"s/b.png", "s/1", 0},
                                                 {"s/c.png", "s/2", 1}, {"s/d.png", "s/3", 0},
                                                 {"s/e.png", "s/4", 1}, {"s/f.png", "s/4", 1}};
  const fs::path path = scratch() / "splits.json";
  write_file(path, bytes);
  Splits splits;
  if (!accepted("splits.json", [&] { splits = load_splits(path, samples); })) return;
  for (const Fold& fold : splits.folds) {
    FUZZ_REQUIRE(fold.train.size() + fold.validation.size() == samples.size(),
                 "a fold has {} and {} of {} samples", fold.train.size(), fold.validation.size(),
                 samples.size());
    std::set<std::string> patients;
    for (const SplitItem& sample : samples)
      for (const std::string& id : fold.train)
        if (id == sample.id) patients.insert(sample.group);
    if (splits.grouping == Grouping::group)
      for (const SplitItem& sample : samples)
        for (const std::string& id : fold.validation)
          FUZZ_REQUIRE(id != sample.id || !patients.contains(sample.group),
                       "patient {} is on both sides", sample.group);
  }
  describe_splits(splits, samples);
  const fs::path copy = scratch() / "again.json";
  save_splits(copy, splits, samples);
  const Splits again = load_splits(copy, samples);
  FUZZ_REQUIRE(again.seed == splits.seed && again.grouping == splits.grouping &&
                   again.cross_validation == splits.cross_validation &&
                   again.folds.size() == splits.folds.size(),
               "other splits when read again");
  for (std::size_t i = 0; i < splits.folds.size(); ++i)
    FUZZ_REQUIRE(again.folds[i].train == splits.folds[i].train &&
                     again.folds[i].validation == splits.folds[i].validation,
                 "another fold {} when read again", i);
}
const Enter enter_splits("splits", {splits});

// A file of choices is read, or refused with its bytes where they were or set aside: never lost.
void choices(Bytes bytes) {
  const fs::path path = scratch() / "choices.json", aside = scratch() / "choices.json.bad";
  const std::string before(as_text(bytes));
  write_file(path, bytes);
  accepted("choices.json", [&] { read_choices(path); });
  ProviderChoice choice{};
  choice.device = "cpu";
  choice.operation = "conv2d";
  choice.candidates = {"native"};
  choice.provider = "native";
  for (const ChoiceFileKind kind : {ChoiceFileKind::record, ChoiceFileKind::cache}) {
    fs::remove(aside);
    write_file(path, bytes);
    bool read = false;
    const bool taken = accepted("choices.json", [&] {
      ChoiceFile file(path, kind, [](const std::string&) {});
      read = !fs::exists(aside);
      if (!read) FUZZ_REQUIRE(read_text(aside) == before, "set aside, but not as it was");
      const std::string provider = file.find(choice) ? file.find(choice)->provider : "native";
      FUZZ_REQUIRE(file.add(choice).provider == provider, "another provider than the file's");
    });
    if (!taken) FUZZ_REQUIRE(read_text(path) == before, "a refused file was changed");
    if (taken && read) read_choices(path);
  }
  fs::remove(aside);
}
const Enter enter_choices("choices", {choices});

}  // namespace
}  // namespace thorax::fuzz
