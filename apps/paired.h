// Two rows of an experiment on the same images: is one better?
#pragma once

#include <string>
#include <vector>

#include "apps/report/table.h"
#include "apps/training.h"

namespace thorax::app {

struct NamedResults {
  std::string name;
  const std::vector<FoldResult>* folds;
};

// McNemar's exact test of the decisions at 0.5 and DeLong's test of the areas for every pair, on
// one score per patient (the mean over the images that both rows have judged), since a patient's
// images are not independent; p-values adjusted by Holm over all pairs, each kind of test for
// itself. Throws Error "[compare] ..." when a pair has no image in common, or different labels for
// one.
Table paired_tests(const std::vector<std::pair<NamedResults, NamedResults>>& pairs);

// The same of three classes or more: McNemar's exact test of which patients are recognised (by the
// largest of the mean probabilities), and the difference of the macro AUCs by resampling patients
// (engine/stats/multiclass.h). Patients with images of several classes are left out; a note counts
// them.
Table multiclass_paired_tests(const std::vector<std::pair<NamedResults, NamedResults>>& pairs,
                              int classes);

// Of several findings an image, a row for each finding and the macro mean of each pair: the
// difference of the AUCs by resampling patients (engine/stats/multilabel.h), and McNemar's exact
// test of the decisions on the finding. Unknown labels are left out; of McNemar's test also
// patients with positive and with negative images, which a note counts. The first column's images
// are those that both rows have judged.
Table multilabel_paired_tests(const std::vector<std::pair<NamedResults, NamedResults>>& pairs,
                              const std::vector<std::string>& findings);

}  // namespace thorax::app
