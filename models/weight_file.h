// Files of weights of whatever kind: safetensors, and what torch.save writes.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "engine/nn/module.h"

namespace thorax {

struct WeightFile {
  StateDict tensors;                            // the network's own, in PyTorch's order in the file
  std::map<std::string, std::string> metadata;  // safetensors; PyTorch's files have none
  bool pytorch = false;
  std::string module_class;  // of a PyTorch file that holds a whole network; else empty
  // What was chosen among the file's content and what was passed over, a line each.
  std::vector<std::string> notes;

  // Whether a command of this program wrote it.
  bool ours() const;
};

// By the file's content. Throws Error naming the file when it is neither, broken, or, of this
// program, not what its checksum says.
WeightFile read_weight_file(const std::filesystem::path& path);

// Names, types and shapes of everything in the file, in the file's order of axes, and the metadata.
// Of safetensors the header only is read, of a PyTorch file all; `notes` as above.
SafetensorsHeader read_weight_list(const std::filesystem::path& path,
                                   std::vector<std::string>& notes);

// The network's own tensors of a file: a training checkpoint of this program keeps them under
// "model.", beside the optimizer's state; any other file is given back as it is.
StateDict model_tensors(StateDict tensors, const std::map<std::string, std::string>& metadata);

}  // namespace thorax
