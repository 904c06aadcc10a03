// A damaged file of weights is refused, wherever the damage is.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>

#include "engine/io/atomic_file.h"
#include "engine/io/safetensors.h"
#include "tests/models/support.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

namespace {

const std::map<std::string, std::string> kMetadata = {
    {"thorax.input", R"({"classes":["normal","covid"],"size":32,"task":"classifier"})"},
    {"note", "mine"}};

// Without fsync: thousands of them would take long.
void write_quickly(const std::filesystem::path& path, const std::vector<std::byte>& bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
  std::fclose(file);
}

std::size_t header_size(const std::vector<std::byte>& bytes) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  return sizeof(length) + static_cast<std::size_t>(length);
}

std::map<std::string, std::string> without_checksum(std::map<std::string, std::string> metadata) {
  std::erase_if(metadata, [](const auto& entry) { return !kMetadata.contains(entry.first); });
  return metadata;
}

}  // namespace

TEST_CASE("every flipped bit of a model file is refused by name, or changes nothing") {
  const test::TempFolder folder;
  const auto path = folder / "model.safetensors";
  const auto model = create_model({{"model", "unet"}, {"width", 2}, {"depth", 1}}, 5);
  save_model(*model, path, kMetadata);
  CHECK(has_checksum(read_safetensors_header(path).metadata));
  const auto good = read_bytes(path, 1 << 20);
  const std::size_t header = header_size(good);
  REQUIRE(header > 700);
  Philox random(4);
  int refused = 0, harmless = 0;
  // Every byte of the header, every seventh of the weights; one bit of each.
  for (std::size_t i = 0; i < good.size(); i += i < header ? 1 : 7) {
    auto bad = good;
    bad[i] ^= static_cast<std::byte>(1 << random.below(8));
    write_quickly(path, bad);
    CAPTURE(i);
    try {
      const ModelFile file = read_model(path);
      CHECK(test::same(file.model->state_dict(), model->state_dict()));
      CHECK(file.model->config() == model->config());
      CHECK(without_checksum(file.metadata) == kMetadata);
      ++harmless;
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find("model.safetensors") != std::string::npos);
      ++refused;
    }
  }
  CHECK(refused > 1000);
  // What can be harmless: a bit of the word "checksum", without which nothing can be compared.
  CHECK(harmless <= 8);
}

TEST_CASE("metadata of the same length is under the checksum: classes cannot change places") {
  const test::TempFolder folder;
  const auto path = folder / "model.safetensors";
  const auto model = create_model({{"model", "unet"}, {"width", 2}, {"depth", 1}});
  save_model(*model, path, kMetadata);
  auto bytes = read_bytes(path, 1 << 20);
  std::string text(reinterpret_cast<const char*>(bytes.data()), header_size(bytes));
  const std::string before = R"(\"normal\",\"covid\")", after = R"(\"covid\",\"normal\")";
  const std::size_t at = text.find(before);
  REQUIRE(at != std::string::npos);
  std::memcpy(bytes.data() + at, after.data(), after.size());
  write_quickly(path, bytes);
  CHECK_THROWS_WITH_AS(read_model(path), doctest::Contains("is damaged"), Error);
  CHECK_THROWS_WITH_AS(load_weights(path), doctest::Contains("is damaged"), Error);
  CHECK_THROWS_WITH_AS(read_safetensors(path), doctest::Contains("is damaged"), Error);
  CHECK_THROWS_WITH_AS(load_model_weights(*model, path, WeightUse::adapt),
                       doctest::Contains("is damaged"), Error);
}

TEST_CASE("checksums of others are not ours to judge") {
  const test::TempFolder folder;
  const auto path = folder / "theirs.safetensors";
  const std::map<std::string, Tensor> tensors{{"x", Tensor::full({2}, 1)}};
  write_safetensors(path, tensors, {{"checksum", "sha256:0123"}, {"format", "pt"}});
  CHECK(load_weights(path).size() == 1);
  CHECK(!has_checksum(read_safetensors_header(path).metadata));
  write_safetensors(path, tensors, {{"checksum", "sha256:0123"}, {"thorax.model", "{}"}});
  CHECK_THROWS_WITH_AS(load_weights(path), doctest::Contains("is damaged"), Error);
}

TEST_CASE("weights that are not finite are refused, and the tensor is named") {
  const test::TempFolder folder;
  const auto path = folder / "model.safetensors";
  const auto model = create_model({{"model", "unet"}, {"width", 2}, {"depth", 1}});
  for (const double value : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    const Tensor weight = model->state_dict().at("bottom.conv1.weight");
    const float before = weight.data<float>()[5];
    weight.data<float>()[5] = static_cast<float>(value);
    save_model(*model, path);
    weight.data<float>()[5] = before;
    const auto fresh = create_model(model->config(), 8);
    for (const WeightUse use : {WeightUse::exact, WeightUse::adapt, WeightUse::pretrain})
      CHECK_THROWS_WITH_AS(
          load_model_weights(*fresh, path, use),
          doctest::Contains("'bottom.conv1.weight' has values that are not finite"), Error);
    CHECK_THROWS_WITH_AS(read_model(path), doctest::Contains("model.safetensors"), Error);
    CHECK(all_finite(fresh->state_dict().at("bottom.conv1.weight")));
  }
}

TEST_CASE("a small file cannot ask for a large network") {
  const test::TempFolder folder;
  const auto path = folder / "small.safetensors";
  for (const char* config :
       {R"({"model":"hrnet_w48","width":4096})", R"({"model":"unet","width":1048576,"depth":8})",
        R"({"model":"resnet152","stem":1048576})",
        R"({"model":"resnet18","head":"study","hidden":[1048576,1048576]})",
        R"({"model":"densenet201","growth":65536})"}) {
    CAPTURE(config);
    save_weights(path, {{"x", Tensor::full({1}, 1)}}, {{"thorax.model", config}});
    CHECK_THROWS_WITH_AS(read_model(path), doctest::Contains("larger than the file"), Error);
  }
}
