#include "apps/audit_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <unordered_map>

#include "apps/console.h"
#include "apps/cut_lungs.h"
#include "apps/data_checksum.h"
#include "apps/findings.h"
#include "apps/fold_files.h"
#include "apps/inference/run_networks.h"
#include "data/classes.h"
#include "data/image_statistics.h"
#include "data/multilabel.h"
#include "engine/runtime/parallel.h"
#include "engine/stats/linear_model.h"
#include "models/factory.h"

namespace thorax::app {

namespace fs = std::filesystem;

namespace {

// Features of the samples that can be read, by id.
std::unordered_map<std::string, std::vector<double>> all_statistics(const Dataset& dataset,
                                                                    bool skip_unreadable,
                                                                    Intensity intensity) {
  std::unordered_map<std::string, std::vector<double>> features;
  for (const Sample& s : dataset.samples) {
    try {
      features[s.id] = image_statistics(s.image, intensity);
    } catch (const Error& error) {
      if (!skip_unreadable) throw;
      fmt::print(stderr, "skipped: {}\n", error.what());
    }
  }
  return features;
}

// A model of each finding on the training images whose label of it is known. Where these are all
// positive or all negative nothing can be fitted: every held-out image then has their share of
// positive ones, which `notes` says.
FoldResult findings_baseline(const Dataset& dataset, const Fold& fold, std::size_t number,
                             const std::unordered_map<std::string, std::vector<double>>& features,
                             std::vector<std::string>& notes) {
  FoldResult result;
  result.finished = true;
  std::vector<const std::vector<double>*> held_out;
  for (const Sample& s : select(dataset, fold.validation)) {
    const auto found = features.find(s.id);
    if (found == features.end()) continue;
    held_out.push_back(&found->second);
    Scored scored{s.id, s.patient, s.source, s.label};
    scored.labels = s.labels;
    result.scored.push_back(std::move(scored));
  }
  const std::vector<Sample> train = select(dataset, fold.train);
  for (std::size_t f = 0; f < dataset.classes.size(); ++f) {
    std::vector<double> x;
    std::vector<int> labels;
    for (const Sample& s : train) {
      const auto found = features.find(s.id);
      if (found == features.end() || s.labels[f] == kUnknownLabel) continue;
      x.insert(x.end(), found->second.begin(), found->second.end());
      labels.push_back(s.labels[f]);
    }
    const auto positive = std::count(labels.begin(), labels.end(), 1);
    const bool both = positive > 0 && positive < std::ssize(labels);
    if (both) {
      const LogisticModel model = fit_logistic_model(x, image_statistic_names().size(), labels);
      for (std::size_t i = 0; i < held_out.size(); ++i)
        result.scored[i].probabilities.push_back(model.probability(*held_out[i]));
      continue;
    }
    const double share = labels.empty() ? 0.5 : positive > 0 ? 1 : 0;
    for (Scored& scored : result.scored) scored.probabilities.push_back(share);
    notes.push_back(
        fmt::format("Image statistics, {}: the training images of fold {} have no {} label of it, "
                    "so no model was fitted there and every held-out image has P = {}.",
                    dataset.classes[f], number + 1,
                    labels.empty() ? "known"
                    : positive > 0 ? "negative"
                                   : "positive",
                    share));
  }
  return result;
}

// Brings external images' findings into the order of the run's, and says what is lacking or more.
void arrange_external(Dataset& dataset, const std::vector<std::string>& findings,
                      std::vector<std::string>& notes) {
  const std::vector<std::string> more = arrange_findings(dataset, findings);
  if (!more.empty())
    notes.push_back(
        fmt::format("External images: their findings that the networks do not know are "
                    "left out: {}.",
                    fmt::join(more, ", ")));
}

}  // namespace

std::vector<FoldResult> statistics_baseline(const Experiment& e, const ExperimentRow& row,
                                            std::vector<std::string>& notes) {
  const Dataset& dataset = e.run.dataset;
  const auto features = all_statistics(dataset, row.settings.on_error == "skip",
                                       parse_intensity(row.settings.intensity));
  const std::size_t columns = image_statistic_names().size();
  std::vector<FoldResult> results;
  for (const Fold& fold : e.splits(row).folds) {
    if (dataset.multilabel) {
      results.push_back(findings_baseline(dataset, fold, results.size(), features, notes));
      continue;
    }
    std::vector<double> x;
    std::vector<int> labels;
    for (const Sample& s : select(dataset, fold.train)) {
      const auto found = features.find(s.id);
      if (found == features.end()) continue;
      x.insert(x.end(), found->second.begin(), found->second.end());
      labels.push_back(s.label);
    }
    const bool two = dataset.classes.size() == 2;
    const std::vector<LogisticModel> models =
        two ? std::vector{fit_logistic_model(x, columns, labels)}
            : fit_one_against_rest(x, columns, labels, static_cast<int>(dataset.classes.size()));
    FoldResult result;
    result.finished = true;
    for (const Sample& s : select(dataset, fold.validation))
      if (const auto found = features.find(s.id); found != features.end()) {
        Scored scored{s.id, s.patient, s.source, s.label};
        if (two)
          scored.score = models[0].probability(found->second);
        else
          scored.probabilities = probabilities(models, found->second);
        result.scored.push_back(std::move(scored));
      }
    results.push_back(std::move(result));
  }
  return results;
}

FoldResult external_result(const Experiment& e, const ExperimentRow& row,
                           const std::vector<std::string>& specs, std::vector<std::string>& notes,
                           const Compute& compute) {
  const bool findings = e.run.dataset.multilabel;
  Dataset dataset = load_datasets(specs, OnPatientConflict::drop,
                                  findings ? ClassTask::multilabel : ClassTask::automatic);
  if (findings)
    arrange_external(dataset, e.run.dataset.classes, notes);
  else
    order_classes(dataset, e.run.dataset.classes, "--external");
  if (needs_mask(row.settings.seen())) {
    const LungSegmenter segmenter(row.settings.segmenter, row.settings.min_area, compute);
    print_notes(segmenter.notes());
    FileChecksums files;
    dataset = cut_dataset(segmenter, dataset, content_checksum(dataset, files),
                          e.run.folder / "cut_external",
                          {.skip_unreadable = row.settings.on_error == "skip"});
  }
  FoldResult mean;
  const std::size_t folds = e.splits(row).folds.size();
  for (std::size_t k = 0; k < folds; ++k) {
    const std::unique_ptr<Model> model = load_model(fold_model(e.fold_folder(row, k)));
    model->to(compute.device);
    const std::vector<Scored> scored =
        score_samples(row.settings, *model, dataset.samples, compute);
    if (k == 0) {
      mean.scored = scored;
      for (Scored& s : mean.scored) {
        s.score = 0;
        std::fill(s.probabilities.begin(), s.probabilities.end(), 0.0);
      }
    }
    for (std::size_t i = 0; i < scored.size(); ++i) {
      Scored& s = mean.scored[i];
      s.score += scored[i].score / static_cast<double>(folds);
      for (std::size_t c = 0; c < s.probabilities.size(); ++c)
        s.probabilities[c] += scored[i].probabilities[c] / static_cast<double>(folds);
    }
  }
  for (Scored& s : mean.scored) {
    s.score = std::clamp(s.score, 0.0, 1.0);
    for (double& p : s.probabilities) p = std::clamp(p, 0.0, 1.0);
  }
  mean.finished = true;
  return mean;
}

DuplicateFigures duplicate_figures(const Experiment& e) {
  const Dataset& dataset = e.run.dataset;
  DuplicateOptions options;
  options.threads = num_threads();
  const DuplicateReport report = find_duplicates(dataset, options);
  std::unordered_map<std::string, int> fold_of;
  for (std::size_t k = 0; k < e.by_patient.folds.size(); ++k)
    for (const std::string& id : e.by_patient.folds[k].validation)
      fold_of[id] = static_cast<int>(k);
  DuplicateFigures figures;
  figures.table = {"Near-duplicate images of different patients",
                   {{"first", CellKind::text},
                    {"second", CellKind::text},
                    {"first patient", CellKind::text},
                    {"second patient", CellKind::text},
                    {"correlation", CellKind::number, 3},
                    {dataset.multilabel ? "same findings" : "same class", CellKind::text},
                    {"folds", CellKind::text}},
                   {}};
  int within = 0;
  for (const DuplicatePair& pair : report.pairs) {
    const Sample &a = dataset.samples[pair.a], &b = dataset.samples[pair.b];
    const int fold_a = fold_of.at(a.id), fold_b = fold_of.at(b.id);
    if (fold_a != fold_b) ++figures.across_folds;
    if (pair.same_patient) {
      ++within;
      continue;
    }
    ++figures.across_patients;
    figures.table.rows.push_back(
        {a.id, b.id, a.patient, b.patient, pair.correlation, pair.same_class ? "yes" : "no",
         fold_a == fold_b ? fmt::format("{}", fold_a + 1)
                          : fmt::format("{} and {}", fold_a + 1, fold_b + 1)});
  }
  for (const auto& group : patients_sharing_images(dataset, report.pairs))
    figures.joined_patients += static_cast<int>(group.size());
  figures.table.notes = {fmt::format(
      "{} images searched; {} further pairs are of one patient, which a split by patient "
      "keeps together.",
      report.images, within)};
  return figures;
}

std::vector<std::string> findings_by_source(const Dataset& dataset) {
  std::vector<std::string> names;
  for (std::size_t f = 0; f < dataset.classes.size(); ++f) {
    std::map<std::string, std::set<int>> labels;
    for (const Sample& s : dataset.samples)
      if (s.labels[f] != kUnknownLabel) labels[s.source].insert(s.labels[f]);
    if (std::none_of(labels.begin(), labels.end(),
                     [](const auto& entry) { return entry.second.size() > 1; }))
      names.push_back(dataset.classes[f]);
  }
  return names;
}

bool classes_by_source(const Dataset& dataset) {
  std::map<std::string, std::set<int>> classes;
  for (const Sample& s : dataset.samples) classes[s.source].insert(s.label);
  return std::all_of(classes.begin(), classes.end(),
                     [](const auto& entry) { return entry.second.size() < 2; });
}

}  // namespace thorax::app
