// What torch.save puts into its pickle, found in the pickle's values: tensors, state dicts, whole
// networks. For pytorch_file.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/pickle.h"
#include "engine/tensor/dtype.h"

namespace thorax {

// A tensor as a view of a storage; nothing of it has been held against the file yet.
struct StoredTensor {
  std::string name;
  std::string type;                            // "torch.FloatStorage"
  std::optional<DType> dtype;                  // what it is read as; empty: it cannot be read
  std::string storage;                         // its key
  std::int64_t storage_count = 0, offset = 0;  // elements
  std::vector<std::int64_t> shape, strides;
};

struct StateDictEntries {
  std::vector<StoredTensor> tensors;
  std::string entry, module_class;           // as in PytorchFile
  std::vector<std::string> others, ignored;  //
};

// The names that occur in files of weights, and in the checkpoints around them: tensors and their
// storages, containers, the classes of PyTorch's, torchvision's, timm's and torchxrayvision's
// networks, plain records. None of them is imported or called.
bool may_occur_in_weights(std::string_view module, std::string_view name);

// The state dict of a checkpoint; see PytorchFile. Throws Error "[pytorch] WHAT: ..." when there is
// none or which one is meant is open.
StateDictEntries find_state_dict(const PickleValue& root, std::string_view what);

// The value of a text key of a dict; null when it is none or has no such key.
const PickleValue* find_entry(const PickleValue& dict, std::string_view key);

// Bytes of an element, by storage key, of every storage that the pickle names.
std::map<std::string, std::uint64_t> storage_widths(const Pickle& pickle, std::string_view what);

}  // namespace thorax
