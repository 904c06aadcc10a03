// The order of classes: which of two is the positive one, whose recognition sensitivity, ROC and
// predicted probability speak of. It is stated (`positive=NAME` of a source) or follows from names
// whose meaning is known; it is never guessed.
#pragma once

#include <string>

#include "data/dataset.h"

namespace thorax {

enum class Meaning { positive, negative, unknown };
// What a class name says: "COVID-19", "pneumonia", "abnormal", "yes", "1" are positive; "normal",
// "No Finding", "no TB", "COVID negative", "0" negative. Case, blanks and punctuation do not
// matter.
Meaning meaning_of(const std::string& class_name);

// Whether two names are one class: equal but for case, blanks and punctuation, or two spellings of
// COVID-19.
bool same_class(const std::string& a, const std::string& b);

// Throws Error "[data] ..." for a class or finding whose name holds a control character (a line
// break in a table), for two names that differ only in the case of their letters, and for a finding
// "none", which is the verdict of an image without any.
void check_class_names(const Dataset& dataset);

// Gives the classes of `dataset` the order of `names`, which must be the same ones; sets labels.
// Throws Error "[data] WHAT: ..." listing both when they are not.
void order_classes(Dataset& dataset, const std::vector<std::string>& names,
                   const std::string& what);

// Why no classifier can be trained on the data: fewer than two classes, images without one, or two
// of which nobody says which is positive. With what to do. Empty when one can.
std::string classifier_problem(const Dataset& dataset);

}  // namespace thorax
