// `thorax --plugin`: what a plugin adds, and which ones are refused.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"
#include "tests/apps/commands.h"
#include "tests/support/check.h"

using namespace thorax;
using test::Arguments;
using test::has;
using test::operator+;
using test::refuse;
using test::run;

namespace {

std::string plugin(const std::string& kind) {
  return (test::test_program_folder() / "plugins" / ("plugin_" + kind + ".so")).string();
}

// What `thorax --plugin ... op name` writes for these tensors.
std::map<std::string, Tensor> op(const std::string& name,
                                 const std::map<std::string, Tensor>& tensors,
                                 const Arguments& more = {}, std::string* said = nullptr) {
  const test::TemporaryFolder folder;
  write_safetensors(folder / "in.safetensors", tensors, {}, FileOrder::pytorch);
  const std::string text =
      run(Arguments{"--plugin", plugin("works"), "op", name, "--grad", "--inputs",
                    folder / "in.safetensors", "--output", folder / "out.safetensors"} +
          more);
  if (said != nullptr) *said = text;
  return read_safetensors(folder / "out.safetensors", FileOrder::pytorch).tensors;
}

}  // namespace

TEST_CASE("plugin: a new operation, forward and backward, and a provider of one that is there") {
  const Tensor x = test::normals({2, 3}, 1), dy = test::normals({2, 3}, 2);
  std::string said;
  const auto cubes = op("cube", {{"input", x}, {"grad_output", dy}}, {}, &said);
  CHECK(has(said, "cube is an operation of the plugin cubes"));
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const float v = x.data<float>()[i];
    CHECK(cubes.at("output").data<float>()[i] == v * v * v);
    CHECK(cubes.at("grad.input").data<float>()[i] ==
          doctest::Approx(3 * v * v * dy.data<float>()[i]));
  }
  const auto wanted = op("relu", {{"input", x}, {"grad_output", dy}}, {}, &said);
  CHECK(has(said, "for activation on cpu, and may have been chosen"));
  const auto got =
      op("relu", {{"input", x}, {"grad_output", dy}}, {"--provider", "activation=plain"}, &said);
  CHECK(has(said, "plain is a provider of the plugin cubes for activation on cpu\n"));
  for (const auto& [name, tensor] : wanted) CHECK(test::same_values(got.at(name), tensor));
}

TEST_CASE("plugin: thorax info says what came with it") {
  const std::string said = run({"--plugin", plugin("works"), "info"});
  CHECK(has(said, "plugin cubes, "));
  CHECK(has(said, "adds providers activation=plain on cpu"));
  CHECK(has(said, "adds operations of thorax op: cube"));
  const auto json = nlohmann::json::parse(run({"--plugin", plugin("works"), "info", "--json"}));
  REQUIRE(json.at("plugins").size() == 1);
  CHECK(json.at("plugins")[0].at("plugin") == "cubes");
  CHECK(json.at("plugins")[0].at("checksum").get<std::string>().size() == 16);
  CHECK_FALSE(has(run({"info"}), "plugin cubes"));
}

TEST_CASE("plugin: what is none, is another build's or fails is refused, with the remedy") {
  const auto refused = [](const std::string& file, const std::string& text) {
    const std::string said = refuse({"--plugin", file, "info"});
    INFO(said);
    CHECK(has(said, file));
    CHECK(has(said, text));
    CHECK_FALSE(has(said, "adds providers"));
  };
  refused("/nonexistent/plugin.so", "No such file or directory; give the path of a plugin's");
  refused(plugin("none"), "is no plugin of thorax: none of its files has a THORAX_PLUGIN");
  refused(plugin("empty"), "adds no provider and no operation (THORAX_PROVIDER, add_op)");
  refused(plugin("taken"), "provider 'cpu' added twice; nothing of the plugin was kept");
  refused(plugin("throws"), "[cubes] the tables are out; nothing of the plugin was kept");
  refused(plugin("throws_number"), "it throws something that is no std::exception; nothing of");
  refused(plugin("own_table"),
          "there is an operation 'activation' already: a new one needs a name");
  refused(plugin("unresolved"), "cannot be loaded: undefined symbol: ");
  refused(plugin("bad_name"), "calls itself 'cubes and more': a plugin's name is of letters");
  refused(plugin("other_build"),
          "was built for thorax 0.0.1 (headers 0123456789abcdef), libstdc++ ");
  const test::TemporaryFolder folder;
  std::ofstream(folder / "text.so") << "no library";
  refused(folder / "text.so", "is no shared object; build one with -shared");
  // An object of this build whose end is missing.
  std::string bytes = test::file_text(plugin("works"));
  bytes.resize(bytes.size() / 2);
  std::ofstream(folder / "half.so", std::ios::binary) << bytes;
  CHECK(has(refuse({"--plugin", folder / "half.so", "info"}), "[plugin] "));
  std::filesystem::create_directory(folder / "folder.so");
  CHECK(has(refuse({"--plugin", folder / "folder.so", "info"}), folder / "folder.so"));
  const std::string twice =
      refuse({"--plugin", plugin("works"), "--plugin", plugin("works"), "info"});
  CHECK(has(twice, "is loaded already; name each plugin once"));
  std::filesystem::copy_file(plugin("works"), folder / "copy.so");
  CHECK(has(refuse({"--plugin", plugin("works"), "--plugin", folder / "copy.so", "info"}),
            "there is a plugin 'cubes' already"));
  // Without it its provider is unknown, and the hint is there.
  write_safetensors(folder / "in.safetensors", {{"input", test::normals({2, 3}, 1)}}, {},
                    FileOrder::pytorch);
  CHECK(has(refuse({"op", "relu", "--inputs", folder / "in.safetensors", "--output",
                    folder / "out.safetensors", "--provider", "activation=plain"}),
            "operation 'activation' has no provider 'plain'; thorax info lists them, and --plugin "
            "FILE.so adds those of a plugin"));
}

TEST_CASE("plugin: a run records it, and a resume without it says so") {
  const test::TemporaryFolder folder;
  run({"data", "phantoms", "--out", folder / "phantoms", "--patients", "4", "--size", "32", "-q"});
  const Arguments train{
      "train",   "segmenter", "--data",  "manifest:" + (folder / "phantoms/manifest.csv"),
      "--size",  "32",        "--width", "2",
      "--batch", "4",         "--out",   folder / "run"};
  run(Arguments{"--plugin", plugin("works")} + train + Arguments{"--epochs", "1"});
  const std::string record = test::file_text(folder / "run/provenance.json");
  CHECK(has(record, "\"plugins\": \"cubes "));
  const std::string said = run(train + Arguments{"--epochs", "1", "--resume"});
  CHECK(has(said, "plugins cubes "));
  CHECK(has(said, ", now none"));
}
