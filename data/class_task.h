// What a classifier is to tell: which of two classes, which of several, or which of several
// findings that do not exclude one another.
#pragma once

#include <string>
#include <vector>

namespace thorax {

enum class ClassTask {
  automatic,   // whatever the data is
  binary,      // one of two classes: one output, sigmoid
  multiclass,  // one of three classes or more: softmax
  multilabel,  // any number of findings, each there or not or not known: a sigmoid each
};
const char* name_of(ClassTask task);
std::vector<std::string> class_task_names();  // "auto", "binary", ...
// Throws Error "[data] ..." listing the names.
ClassTask parse_class_task(const std::string& text);

}  // namespace thorax
