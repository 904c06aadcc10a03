// ONNX files: the graph, its constants and metadata (models/onnx/read.h).
#include <set>

#include "models/onnx/read.h"
#include "tests/fuzz/harness.h"

namespace thorax::fuzz {
namespace {

// What is taken is a graph: every value that a node reads is there before it, constants fill their
// shapes.
void onnx(Bytes bytes) {
  thorax::onnx::ParsedFile file;
  if (!accepted("net.onnx", [&] { file = thorax::onnx::parse_file(as_text(bytes), "net.onnx"); }))
    return;
  std::set<std::string> known{""};
  for (const auto& [name, tensor] : file.tensors) {
    known.insert(name);
    double sum = 0;
    for (std::int64_t i = 0; i < tensor.numel(); ++i) sum += tensor.data<float>()[i];
    FUZZ_REQUIRE(tensor.numel() > 0 || sum == 0, "'{}' has values beyond its shape", name);
  }
  for (const auto& [name, values] : file.integers) known.insert(name);
  for (const auto& input : file.inputs) known.insert(input.name);
  for (const auto& node : file.nodes) {
    for (const std::string& input : node.inputs)
      FUZZ_REQUIRE(known.contains(input), "'{}' is read before it is made", input);
    for (const std::string& output : node.outputs)
      FUZZ_REQUIRE(output.empty() || known.insert(output).second, "'{}' is made twice", output);
  }
}
const Enter enter_onnx("onnx", {onnx});

}  // namespace
}  // namespace thorax::fuzz
