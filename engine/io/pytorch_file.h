// Weights as torch.save writes them: .pt, .pth, .bin, .ckpt. Nothing in them is executed
// (pickle.h).
//
// Since PyTorch 1.6 such a file is a zip archive NAME/data.pkl, NAME/data/KEY (a storage each) and
// NAME/byteorder; before, a row of pickles and then the storages. The pickle rebuilds tensors as
// views of storages: type, first element, size, strides
// (https://docs.pytorch.org/docs/stable/notes/serialization.html).
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/safetensors.h"
#include "engine/tensor/tensor.h"

namespace thorax {

struct PytorchFile {
  std::map<std::string, Tensor> tensors;
  // Which entry of a checkpoint the tensors are ("state_dict"); empty: the file is the state dict.
  std::string entry;
  // The other entries of that checkpoint: "epoch", "optimizer".
  std::vector<std::string> others;
  // Entries of the state dict that are no tensors.
  std::vector<std::string> ignored;
  // The class of a whole network that was saved with its code's name; empty: a state dict.
  std::string module_class;
};

// Whether the first bytes of a file (a kilobyte of them) are those of such a file.
bool is_pytorch_file(std::span<const std::byte> head);
bool is_pytorch_file(const std::filesystem::path& path);

// The state dict of a file, dense and of the types that this program computes with (bool as u8;
// others are refused). Of a checkpoint the entry that is a dict of tensors, or a whole network:
// "state_dict", "model_state_dict", "model", "net", "network", "module", "weights", in this order,
// else the only one there is. Of a whole network (torch.save(model)) the parameters and buffers by
// their names. Throws Error naming the file: "[pytorch] ...", "[zip] ..." or "[pickle] ...".
PytorchFile read_pytorch(const std::filesystem::path& path, FileOrder order = FileOrder::as_is);
PytorchFile parse_pytorch(std::span<const std::byte> bytes, std::string_view what,
                          FileOrder order = FileOrder::as_is);

}  // namespace thorax
