#include "engine/train/checkpoint.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/io/atomic_file.h"
#include "engine/io/json_lines.h"
#include "engine/io/safetensors.h"
#include "tests/support/check.h"
#include "tests/support/full_disk.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

namespace {

Checkpoint sample(double value) {
  return {{{"conv.weight", test::normals({2, 3, 3, 4}, 1)}, {"x", Tensor::full({2}, value)}},
          {{"momentum.x", Tensor::full({2}, value + 1)}},
          {},
          {{"state", "{}"}, {"config", "{\"a\":1}"}}};
}

void flip_last_byte(const std::filesystem::path& path) {
  auto bytes = read_bytes(path, 1 << 20);
  bytes.back() ^= std::byte{1};
  atomic_write(path, bytes);
}

std::optional<Checkpoint> latest(const std::filesystem::path& path, std::string* told = nullptr) {
  return load_latest_checkpoint(path, [&](const std::string& text) {
    if (told != nullptr) *told += text;
  });
}

}  // namespace

TEST_CASE("a checkpoint comes back value by value, and its model part loads as weights") {
  test::TempFolder folder;
  const auto path = folder / "last.safetensors";
  save_checkpoint(path, sample(5));
  const Checkpoint back = load_checkpoint(path);
  CHECK(test::same_values(back.model.at("conv.weight"), sample(5).model.at("conv.weight")));
  CHECK(back.optimizer.at("momentum.x").data<float>()[1] == 6);
  CHECK(back.texts == sample(5).texts);
  // PyTorch's order in the file.
  CHECK(read_safetensors(path).tensors.at("model.conv.weight").shape() == Shape{2, 4, 3, 3});
  const ModelWeights weights = load_model_weights(path);
  CHECK(weights.weights.size() == 2);
  CHECK(test::same_values(weights.weights.at("conv.weight"), back.model.at("conv.weight")));
  save_checkpoint(folder / "again.safetensors", sample(5));
  CHECK(read_bytes(path, 1 << 20) == read_bytes(folder / "again.safetensors", 1 << 20));
}

TEST_CASE("the previous checkpoint is kept and takes over from a bad one, which is named") {
  test::TempFolder folder;
  const auto path = folder / "last.safetensors", previous = folder / "last.prev.safetensors";
  CHECK(!latest(path));
  save_checkpoint(path, sample(1));
  CHECK(!std::filesystem::exists(previous));
  save_checkpoint(path, sample(2));
  CHECK(load_checkpoint(previous).model.at("x").data<float>()[0] == 1);
  CHECK(latest(path)->model.at("x").data<float>()[0] == 2);

  flip_last_byte(path);
  CHECK_THROWS_WITH_AS(load_checkpoint(path), doctest::Contains("last.safetensors: checksum"),
                       Error);
  CHECK_THROWS_AS(load_model_weights(path), Error);
  std::string told;
  CHECK(latest(path, &told)->model.at("x").data<float>()[0] == 1);
  CHECK(told.find("last.safetensors: checksum") != std::string::npos);
  CHECK(told.find("going on from") != std::string::npos);
  // Set aside: the good one stays the previous one of the next.
  save_checkpoint(path, sample(3));
  CHECK(load_checkpoint(previous).model.at("x").data<float>()[0] == 1);
  CHECK(std::filesystem::exists(folder / "last.bad.safetensors"));

  std::filesystem::remove(path);
  told.clear();
  CHECK(latest(path, &told)->model.at("x").data<float>()[0] == 1);
  CHECK(told.find("is missing") != std::string::npos);
  flip_last_byte(previous);
  CHECK_THROWS_WITH_AS(latest(path), doctest::Contains("prev.safetensors: checksum"), Error);
  atomic_write(path, std::string_view("rubbish"));
  CHECK_THROWS_WITH_AS(latest(path), doctest::Contains("nor is the previous one good"), Error);
  std::filesystem::remove(previous);
  CHECK_THROWS_WITH_AS(latest(path), doctest::Contains("there is no previous checkpoint"), Error);
}

TEST_CASE("every damaged byte is noticed") {
  test::TempFolder folder;
  const auto path = folder / "last.safetensors";
  save_checkpoint(path, sample(1));
  const auto good = read_bytes(path, 1 << 20);
  for (std::size_t i = 0; i < good.size(); i += 3) {
    auto bad = good;
    bad[i] ^= std::byte{4};
    // No fsync: thousands of them would take long.
    std::FILE* file = std::fopen(path.c_str(), "wb");
    REQUIRE(file != nullptr);
    std::fwrite(bad.data(), 1, bad.size(), file);
    std::fclose(file);
    CHECK_THROWS_AS(load_checkpoint(path), Error);
  }
}

TEST_CASE("a full disk leaves both checkpoints as they were") {
  test::TempFolder folder;
  const auto path = folder / "last.safetensors";
  save_checkpoint(path, sample(1));
  save_checkpoint(path, sample(2));
  Checkpoint large = sample(3);
  large.model["big"] = Tensor::zeros({100'000});
  {
    test::FullDisk full(65536);
    CHECK_THROWS_WITH_AS(save_checkpoint(path, large), doctest::Contains("write failed"), Error);
  }
  CHECK(load_checkpoint(path).model.at("x").data<float>()[0] == 2);
  CHECK(load_checkpoint(previous_checkpoint(path)).model.at("x").data<float>()[0] == 1);
}

TEST_CASE("weights carry a checksum; files of others are read without one") {
  test::TempFolder folder;
  const auto path = folder / "best.safetensors";
  save_model_weights(path, sample(1).model, {{"epoch", "3"}});
  const ModelWeights back = load_model_weights(path);
  CHECK(back.metadata.at("epoch") == "3");
  CHECK(back.weights.size() == 2);
  CHECK_THROWS_WITH_AS(load_checkpoint(path), doctest::Contains("is not a checkpoint"), Error);
  flip_last_byte(path);
  CHECK_THROWS_WITH_AS(load_model_weights(path), doctest::Contains("is damaged"), Error);
  save_weights(path, sample(1).model);
  CHECK(load_model_weights(path).weights.size() == 2);
}

TEST_CASE("differences of configurations are listed by key") {
  using nlohmann::json;
  const json a{{"lr", 0.1}, {"data", {{"size", 8}, {"x", {1, 2}}}}};
  CHECK(config_differences(a, a).empty());
  CHECK(config_differences({}, {}).empty());
  json b = a;
  b["data"]["size"] = 9;
  b["new"] = true;
  CHECK(config_differences(a, b) == "data.size (8, now 9), new (absent, now true)");
}

TEST_CASE("a log is cut back to the lines that are known, and these are verified") {
  test::TempFolder folder;
  const auto path = folder / "m.jsonl";
  const auto lines = [](int count) {
    nlohmann::json known = nlohmann::json::array();
    for (int i = 0; i < count; ++i) known.push_back({{"i", i}});
    return known;
  };
  {
    JsonLines log(path, lines(0));
    for (const auto& line : lines(5)) log.append(line);
  }
  {
    std::FILE* file = std::fopen(path.c_str(), "ab");
    REQUIRE(file != nullptr);
    std::fputs("{\"i\":", file);
    std::fclose(file);
  }
  CHECK(JsonLines::read(path) == lines(5));
  CHECK(JsonLines(path, lines(3)).first_wrong() == 0);
  const std::string three = "{\"i\":0}\n{\"i\":1}\n{\"i\":2}\n";
  CHECK(read_file(path, 1000) == three);
  // Lost in the middle, altered, cut in the last line, gone: noticed and brought back.
  for (const auto& [text, wrong] : {std::pair<std::string, int>{"{\"i\":0}\n{\"i\":2}\n", 2},
                                    {"{\"i\":0}\n{\"i\":7}\n{\"i\":2}\n", 2},
                                    {"{\"i\":0}\n{\"i\":1}\n{\"i\":", 3},
                                    {"rubbish", 1},
                                    {"", 1}}) {
    atomic_write(path, std::string_view(text));
    CHECK(JsonLines(path, lines(3)).first_wrong() == wrong);
    CHECK(read_file(path, 1000) == three);
  }
  atomic_write(path, std::string_view("{\"i\":0}\nrubbish\n"));
  CHECK_THROWS_WITH_AS(JsonLines::read(path), doctest::Contains("m.jsonl: line 2: "), Error);
  JsonLines log(path, lines(3));
  {
    test::FullDisk full(30);
    CHECK_THROWS_WITH_AS(log.append({{"long", "0123456789"}}),
                         doctest::Contains("m.jsonl: write failed"), Error);
  }
  CHECK(read_file(path, 1000) == three);
}

TEST_CASE("tensors on a GPU give the bytes that the same values give on the CPU") {
  test::TempFolder folder;
  Checkpoint here = sample(5), there = here;
  here.model["slice"] = there.model["slice"] = test::as_slice(test::normals({2, 3, 3, 4}, 2));
  here.model["half"] = there.model["half"] = test::normals({5, 3}, 3).to(DType::f16);
  for (StateDict* dict : {&there.model, &there.optimizer})
    for (auto& [name, tensor] : *dict) {
      tensor = tensor.clone();
      tensor.storage()->move_to({DeviceKind::sim, 0});
    }
  there.optimizer["steps"] = here.optimizer["steps"] = Tensor::full({3}, 7, DType::i64);
  save_checkpoint(folder / "here.safetensors", here);
  save_checkpoint(folder / "there.safetensors", there);
  const auto bytes = read_bytes(folder / "here.safetensors", 1 << 20);
  CHECK(read_bytes(folder / "there.safetensors", 1 << 20) == bytes);
  save_model_weights(folder / "weights.safetensors", here.model, {});
  save_model_weights(folder / "weights2.safetensors", there.model, {});
  CHECK(read_bytes(folder / "weights.safetensors", 1 << 20) ==
        read_bytes(folder / "weights2.safetensors", 1 << 20));
}

TEST_CASE("nothing stays of a process that was killed between the renames of a checkpoint") {
  test::TempFolder folder;
  const auto path = folder / "last.safetensors";
  save_checkpoint(path, sample(1));
  // As it was when the previous version was kept and the new one not yet in place.
  std::filesystem::create_hard_link(path, folder / "last.prev.safetensors");
  std::filesystem::create_hard_link(path, folder / "last.link.safetensors");
  std::filesystem::copy_file(path, folder / "last.new.safetensors");
  save_checkpoint(path, sample(2));
  CHECK(!std::filesystem::exists(folder / "last.link.safetensors"));
  CHECK(!std::filesystem::exists(folder / "last.new.safetensors"));
  CHECK(load_checkpoint(previous_checkpoint(path)).model.at("x").data<float>()[0] == 1);
  std::filesystem::create_hard_link(path, folder / "last.link.safetensors");
  clear_checkpoint_leftovers(path);
  CHECK(!std::filesystem::exists(folder / "last.link.safetensors"));
}
