// Everything a run needs to go on, in one verified file; and the weights for those who only
// predict.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "engine/nn/module.h"

namespace thorax {

// A safetensors file in PyTorch's order: tensors "model.<name>", "optimizer.<name>" and
// "trained.<name>", the texts as metadata, and a checksum over all of it. Equal content gives equal
// bytes.
struct Checkpoint {
  StateDict model;  // the network as it is judged and used
  StateDict optimizer;
  StateDict trained;  // of a run that averages weights: those that training goes on with
  std::map<std::string, std::string> texts;  // "state", "config": JSON
};

// Replaces `path` atomically, keeping what it was as "NAME.prev.safetensors". At every moment one
// of the two is a whole checkpoint. Throws Error "[io] ..." when the disk is full; both are then as
// before.
void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);
std::filesystem::path previous_checkpoint(const std::filesystem::path& path);
// Removes what a process that was killed in save_checkpoint has left beside `path`. To be called by
// whoever holds the lock of its folder.
void clear_checkpoint_leftovers(const std::filesystem::path& path);

// Throws Error "[checkpoint] PATH: ..." when the file is no checkpoint or its checksum is wrong.
Checkpoint load_checkpoint(const std::filesystem::path& path);

// The newest good one of `path` and its previous version. A bad one is told to `message` (naming it
// and what is wrong) and set aside as "NAME.bad.safetensors" when the previous one is good. Nothing
// when neither exists; Error when none of those there is good.
std::optional<Checkpoint> load_latest_checkpoint(
    const std::filesystem::path& path, const std::function<void(const std::string&)>& message);

// Weights alone, in PyTorch's order, with a checksum in the metadata: what `best.safetensors` is.
void save_model_weights(const std::filesystem::path& path, const StateDict& weights,
                        const std::map<std::string, std::string>& metadata);

struct ModelWeights {
  StateDict weights;
  std::map<std::string, std::string> metadata;
};
// The model's tensors of a checkpoint, of a weights file, or of any safetensors file in PyTorch's
// order. A checksum is verified where there is one.
ModelWeights load_model_weights(const std::filesystem::path& path);

// The places where two configurations differ, as "optimizer.lr (0.1, now 0.2)"; empty when equal.
std::string config_differences(const nlohmann::json& before, const nlohmann::json& now);

}  // namespace thorax
