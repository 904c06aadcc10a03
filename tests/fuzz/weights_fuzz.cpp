// Files of weights: safetensors, checkpoints, and what damage does to them.
#include <algorithm>
#include <cstring>

#include "engine/io/pytorch_file.h"
#include "engine/io/safetensors.h"
#include "engine/train/checkpoint.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/pytorch_mutator.h"
#include "tests/fuzz/safetensors_mutator.h"

namespace thorax::fuzz {
namespace {

namespace fs = std::filesystem;

bool same(const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](const auto& one, const auto& other) {
           const Tensor &x = one.second, &y = other.second;
           return one.first == other.first && x.dtype() == y.dtype() && x.shape() == y.shape() &&
                  (x.bytes() == 0 || std::memcmp(x.raw(), y.raw(), x.bytes()) == 0);
         });
}

// What the reader takes, the writer writes so that it is read to the same; and in one way only.
void safetensors(Bytes bytes) {
  const std::string name = "input.safetensors";
  for (const FileOrder order : {FileOrder::as_is, FileOrder::pytorch}) {
    SafetensorsFile file;
    if (!accepted(name, [&] { file = parse_safetensors(std::as_bytes(bytes), name, order); }))
      continue;
    const fs::path path = scratch() / "again.safetensors";
    write_safetensors(path, file.tensors, file.metadata, order);
    const SafetensorsFile again = read_safetensors(path, order);
    FUZZ_REQUIRE(same(file.tensors, again.tensors), "tensors differ when read again");
    FUZZ_REQUIRE(file.metadata == again.metadata, "metadata differs when read again");
    const std::string first = read_text(path);
    write_safetensors(path, again.tensors, again.metadata, order);
    FUZZ_REQUIRE(first == read_text(path), "equal content gives other bytes");
    FUZZ_REQUIRE(read_safetensors_header(path).entries.size() == file.tensors.size(),
                 "the header has another number of tensors");
  }
}
const Enter enter_safetensors("safetensors", {safetensors, mutate_safetensors});

// Both orders of the axes hold the same values, and what was read can be written as safetensors.
void pytorch(Bytes bytes) {
  const std::string name = "input.pth";
  PytorchFile file, last;
  if (!accepted(name, [&] { file = parse_pytorch(std::as_bytes(bytes), name); })) return;
  FUZZ_REQUIRE(
      accepted(name, [&] { last = parse_pytorch(std::as_bytes(bytes), name, FileOrder::pytorch); }),
      "taken in one order of the axes only");
  FUZZ_REQUIRE(!file.tensors.empty(), "a state dict without tensors");
  const fs::path path = scratch() / "again.safetensors";
  // Axes of 16-bit values are not moved about on the CPU; as float32 they are the same ones.
  std::map<std::string, Tensor> plain = file.tensors, wide = file.tensors;
  for (auto& [key, tensor] : last.tensors) {
    if (tensor.rank() != 4) continue;
    tensor = nhwc_to_nchw(tensor.to(DType::f32));
    wide[key] = wide[key].to(DType::f32);
  }
  FUZZ_REQUIRE(same(wide, last.tensors), "the orders of the axes hold other values");
  if (!accepted("again.safetensors", [&] { write_safetensors(path, plain); })) return;
  FUZZ_REQUIRE(same(plain, read_safetensors(path).tensors), "tensors differ as safetensors");
}
const Enter enter_pytorch("pytorch", {pytorch, mutate_pytorch});

void checkpoint(Bytes bytes) {
  const fs::path path = scratch() / "input.safetensors";
  write_file(path, bytes);
  const std::string name = path.filename().string();
  accepted(name, [&] { load_checkpoint(path); });
  accepted(name, [&] { load_model_weights(path); });
}
const Enter enter_checkpoint("checkpoint", {checkpoint, mutate_safetensors});

// Two small files as training writes them.
struct Originals {
  Originals() {
    Tensor kernel = Tensor::empty({2, 1, 1, 3}), bias = Tensor::empty({2});
    for (int i = 0; i < 6; ++i)
      static_cast<float*>(kernel.raw())[i] = 0.25f * static_cast<float>(i);
    for (int i = 0; i < 2; ++i) static_cast<float*>(bias.raw())[i] = static_cast<float>(i);
    checkpoint.model = {{"conv.weight", kernel}, {"conv.bias", bias}};
    checkpoint.optimizer = {{"conv.bias.momentum", bias}};
    checkpoint.texts = {{"state", R"({"epoch":3})"}, {"thorax.input", R"({"classes":["a","b"]})"}};
    save_checkpoint(scratch() / "last.safetensors", checkpoint);
    save_model_weights(scratch() / "best.safetensors", checkpoint.model,
                       {{"thorax.input", R"({"classes":["a","b"]})"}});
    last = read_text(scratch() / "last.safetensors");
    best = read_text(scratch() / "best.safetensors");
    weights = load_model_weights(scratch() / "best.safetensors");
  }
  Checkpoint checkpoint;
  ModelWeights weights;
  std::string last, best;
};

// A run of changed bytes in a file is found by every way to load it, or changes nothing that is
// used. Input: where (2 bytes), then up to 8 bytes that are laid over (exclusive or) the file.
void damage(Bytes bytes) {
  static const Originals original;
  if (bytes.size() < 3) return;
  const auto damaged = [&](std::string text) {
    const std::size_t at = (bytes[0] | bytes[1] << 8) % text.size();
    const std::size_t length = std::min({bytes.size() - 2, std::size_t{8}, text.size() - at});
    for (std::size_t i = 0; i < length; ++i)
      text[at + i] = static_cast<char>(text[at + i] ^ static_cast<char>(bytes[2 + i]));
    return text;
  };
  const fs::path path = scratch() / "damaged.safetensors";
  const auto store = [&](const std::string& text) {
    write_file(path, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  };
  const auto metadata_of = [](const std::map<std::string, std::string>& metadata) {
    const auto found = metadata.find("thorax.input");
    return found == metadata.end() ? std::string() : found->second;
  };

  store(damaged(original.last));
  Checkpoint checkpoint;
  if (accepted(path.filename().string(), [&] { checkpoint = load_checkpoint(path); })) {
    FUZZ_REQUIRE(same(checkpoint.model, original.checkpoint.model), "damaged weights are taken");
    FUZZ_REQUIRE(same(checkpoint.optimizer, original.checkpoint.optimizer),
                 "a damaged optimizer state is taken");
    FUZZ_REQUIRE(checkpoint.texts == original.checkpoint.texts, "damaged texts are taken");
  }
  store(damaged(original.best));
  ModelWeights weights;
  if (accepted(path.filename().string(), [&] { weights = load_model_weights(path); })) {
    FUZZ_REQUIRE(same(weights.weights, original.weights.weights), "damaged weights are taken");
    // Where the damage hits both the checksum and the names of the entries beside it, the file is
    // one of others without class names, which no command takes for a network of this program.
    const std::string names = metadata_of(weights.metadata);
    FUZZ_REQUIRE(names.empty() || names == metadata_of(original.weights.metadata),
                 "damaged class names are taken");
  }
}
const Enter enter_damage("damage", {damage});

}  // namespace
}  // namespace thorax::fuzz
