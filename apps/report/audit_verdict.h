// What a cross-validated figure is worth, in plain words, from the controls beside it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace thorax::app {

// An area under the ROC curve with its 95 % interval; of three classes or more the mean of each
// against the rest, of several findings an image the mean over the findings.
struct AucFigure {
  double auc = 0, low = 0, high = 0;
};

enum class ControlKind {
  confounder,  // must not come near the headline: it cannot show the disease
  chance,      // must lie at chance: nothing is there to be learned
  leak,        // shows what a wrong split or more of the image adds to the headline
  memory,      // shows what recognising patients alone gives when they leak
  external,    // images of a source that was not trained on: should come near the headline
};

struct Control {
  std::string name;     // "lungs blacked out"
  std::string meaning;  // what it means when it scores high
  ControlKind kind = ControlKind::confounder;
  AucFigure figure;
  // Of the headline on what the figure is of, where that is less: external images may know fewer
  // findings.
  std::optional<AucFigure> headline = std::nullopt;
};

enum class Severity { fine, note, warning };

struct Statement {
  Severity severity = Severity::fine;
  std::string text;
};

// Share of what lies above chance (0.5) in `headline` that `control` reaches as well, 0 to 1 and
// perhaps above; 0 when the headline is at chance.
double share_explained(const AucFigure& headline, const AucFigure& control);

struct AuditFacts {
  std::string headline_name;    // "hrnet_w18 on lungs only"
  std::string measure = "AUC";  // what the figures are called: "macro AUC" of three classes or more
  AucFigure headline;
  std::vector<Control> controls;
  int duplicate_pairs_across_folds = 0;  // near-duplicate images on both sides of some fold
  int patients_joined = 0;               // ids that share a radiograph with another id
  bool classes_by_source = false;        // no source has images of more than one class
  bool two_classes = true;
  // Several findings an image: those of which no source has both positive and negative images.
  bool findings = false;
  std::vector<std::string> findings_by_source = {};
  double heat_inside = -1, lung_area = -1;  // mean shares; -1: not measured
};

// One statement per fact, then, last, the verdict. A control warns when it explains half of the
// headline or more, or when its interval reaches the headline's; a chance control when its interval
// leaves 0.5 out.
std::vector<Statement> audit_verdict(const AuditFacts& facts);

}  // namespace thorax::app
