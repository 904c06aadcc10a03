// The cases in a file of `thorax op`.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"

namespace thorax::app {

// The cases of a file: keys "case<k>/name", or one case with plain names. The prefix is kept
// ("case3/" or empty), cases come in numerical order. Throws Error "[op] ..." when both kinds
// occur.
struct CaseInput {
  std::string prefix;
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> options;
};
std::vector<CaseInput> split_cases(const SafetensorsFile& file, const std::string& what);

}  // namespace thorax::app
