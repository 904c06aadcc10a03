#include "apps/report/audit_verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace thorax::app {
namespace {

std::string text_of(const AucFigure& f, const std::string& measure) {
  return fmt::format("{} {:.3f} (95 % interval {:.3f} to {:.3f})", measure, f.auc, f.low, f.high);
}

Statement confounder(const AucFigure& headline, const Control& c, const std::string& measure,
                     bool& close) {
  const double share = share_explained(headline, c.figure);
  const bool overlaps = c.figure.high >= headline.low && headline.auc > 0.5;
  close = share >= 0.5 || overlaps;
  const bool above = c.figure.low > headline.high;
  if (close)
    return {Severity::warning,
            fmt::format("{}: {}. That is {:.0f} % of what the headline has above chance{}. {}.",
                        c.name, text_of(c.figure, measure), 100 * share,
                        above      ? ", and it lies above the headline's interval"
                        : overlaps ? ", and the intervals overlap"
                                   : "",
                        c.meaning)};
  if (share >= 0.2)
    return {Severity::note,
            fmt::format("{}: {}, {:.0f} % of what the headline has above chance. {}.", c.name,
                        text_of(c.figure, measure), 100 * share, c.meaning)};
  return {Severity::fine,
          fmt::format("{}: {}, far from the headline.", c.name, text_of(c.figure, measure))};
}

Statement at_chance(const Control& c, const std::string& measure) {
  const bool chance = c.figure.low <= 0.5 && c.figure.high >= 0.5;
  if (chance)
    return {Severity::fine,
            fmt::format("{}: {}, at chance as it must be.", c.name, text_of(c.figure, measure))};
  return {Severity::warning,
          fmt::format("{}: {}, not at chance. {}.", c.name, text_of(c.figure, measure), c.meaning)};
}

Statement leak(const AucFigure& headline, const Control& c, const std::string& measure) {
  const double gain = c.figure.auc - headline.auc;
  if (gain > 0.005)
    return {Severity::note, fmt::format("{}: {}, {:+.3f} against the headline. {}.", c.name,
                                        text_of(c.figure, measure), gain, c.meaning)};
  return {Severity::fine,
          fmt::format("{}: {}, no better than the headline.", c.name, text_of(c.figure, measure))};
}

Statement memory(const Control& c, const std::string& measure) {
  const bool high = c.figure.low > 0.5;
  return {high ? Severity::note : Severity::fine,
          fmt::format("{}: {}{}.", c.name, text_of(c.figure, measure),
                      high ? ". " + c.meaning : ", at chance")};
}

Statement external(const AucFigure& headline, const Control& c, const std::string& measure) {
  const AucFigure& beside = c.headline ? *c.headline : headline;
  const bool falls = c.figure.high < beside.low;
  return {falls ? Severity::warning : Severity::fine,
          fmt::format("{}: {}, {:+.3f} against the headline{}.{}", c.name,
                      text_of(c.figure, measure), c.figure.auc - beside.auc,
                      c.headline ? fmt::format("'s {:.3f} of the same findings", beside.auc) : "",
                      falls ? " " + c.meaning + "." : "")};
}

}  // namespace

double share_explained(const AucFigure& headline, const AucFigure& control) {
  if (!(headline.auc > 0.5)) return 0;
  return std::max(0.0, (control.auc - 0.5) / (headline.auc - 0.5));
}

std::vector<Statement> audit_verdict(const AuditFacts& facts) {
  std::vector<Statement> out;
  const bool learned = facts.headline.low > 0.5;
  out.push_back({learned ? Severity::fine : Severity::warning,
                 fmt::format("Headline, {}: {}{}.", facts.headline_name,
                             text_of(facts.headline, facts.measure),
                             learned ? "" : "; it cannot be told from chance")});
  std::vector<std::string> close_names;
  bool random_high = false, external_falls = false, has_external = false;
  for (const Control& c : facts.controls) {
    if (std::isnan(c.figure.auc)) {
      out.push_back({Severity::note,
                     fmt::format("{}: no figure ({}).", c.name,
                                 facts.findings ? "positive or negative images of a finding are "
                                                  "absent"
                                                : "a class is absent")});
      continue;
    }
    switch (c.kind) {
      case ControlKind::confounder: {
        bool close = false;
        out.push_back(confounder(facts.headline, c, facts.measure, close));
        if (close) close_names.push_back(c.name);
        break;
      }
      case ControlKind::chance:
        out.push_back(at_chance(c, facts.measure));
        random_high = random_high || out.back().severity == Severity::warning;
        break;
      case ControlKind::leak:
        out.push_back(leak(facts.headline, c, facts.measure));
        break;
      case ControlKind::memory:
        out.push_back(memory(c, facts.measure));
        break;
      case ControlKind::external:
        has_external = true;
        out.push_back(external(facts.headline, c, facts.measure));
        external_falls = external_falls || out.back().severity == Severity::warning;
        break;
    }
  }
  if (facts.classes_by_source)
    out.push_back({Severity::warning,
                   fmt::format("No source has images of {}: telling the sources apart is enough to "
                               "tell the classes apart.",
                               facts.two_classes ? "both classes" : "more than one class")});
  if (!facts.findings_by_source.empty())
    out.push_back({Severity::warning,
                   fmt::format("No source has both positive and negative images of: {}. Telling "
                               "the sources apart is enough to recognise it.",
                               fmt::join(facts.findings_by_source, ", "))});
  if (facts.duplicate_pairs_across_folds > 0)
    out.push_back(
        {Severity::warning,
         fmt::format("{} pairs of near-duplicate images lie on both sides of a fold: their "
                     "held-out copies were as good as trained on.",
                     facts.duplicate_pairs_across_folds)});
  if (facts.patients_joined > 0)
    out.push_back({Severity::note, fmt::format("{} patient ids share a radiograph with another id.",
                                               facts.patients_joined)});
  if (facts.heat_inside >= 0) {
    const bool outside = facts.heat_inside < facts.lung_area;
    out.push_back({outside ? Severity::warning : Severity::fine,
                   fmt::format("{:.0f} % of the heatmaps' energy lies inside the lungs, which are "
                               "{:.0f} % of the image.",
                               100 * facts.heat_inside, 100 * facts.lung_area)});
  }
  if (!learned) {
    out.push_back(
        {Severity::warning,
         fmt::format(
             "Verdict: the network has not learned to tell {}; there is nothing to audit.",
             facts.findings ? "images with a finding from those without" : "the classes apart")});
  } else if (random_high) {
    out.push_back(
        {Severity::warning,
         "Verdict: random labels are predicted better than chance, so images leak between "
         "the folds and no figure of this run can be believed."});
  } else if (!close_names.empty()) {
    out.push_back(
        {Severity::warning,
         fmt::format(
             "Verdict: the headline does not show that the {0} recognised. What cannot show "
             "the {1} comes close to it: {2}.",
             facts.findings ? "findings were" : "disease was",
             facts.findings ? "findings" : "disease", fmt::join(close_names, ", "))});
  } else if (external_falls) {
    out.push_back(
        {Severity::warning, "Verdict: the headline does not carry over to another source."});
  } else {
    out.push_back({has_external ? Severity::fine : Severity::note,
                   has_external
                       ? "Verdict: no control comes close and the figure carries over to another "
                         "source. That is what such a study can show; it is not a clinical test."
                       : "Verdict: no control comes close. Whether the figure carries over to "
                         "another hospital was not tested (give --external)."});
  }
  return out;
}

}  // namespace thorax::app
