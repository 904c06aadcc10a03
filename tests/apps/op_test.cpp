// `thorax op` as a user runs it: files in, files out.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

#include "engine/io/safetensors.h"
#include "kernels/conv2d/conv2d.h"
#include "tests/support/check.h"
#include "tests/support/places.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

namespace {

struct Outcome {
  int status;
  std::string text;  // stdout and stderr
};

Outcome thorax_op(const std::string& arguments) {
  const std::string line =
      fmt::format("'{}' op {} 2>&1", thorax::test::thorax_program().string(), arguments);
  FILE* pipe = ::popen(line.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Outcome outcome;
  char buffer[512];
  while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) outcome.text += buffer;
  outcome.status = ::pclose(pipe);
  return outcome;
}

struct Files {
  test::TempFolder folder;
  std::string in = (folder / "in.safetensors").string();
  std::string out = (folder / "out.safetensors").string();

  Outcome run(const std::string& name, const std::map<std::string, Tensor>& tensors,
              const std::map<std::string, std::string>& options, const std::string& more = "") {
    write_safetensors(in, tensors, options, FileOrder::pytorch);
    return thorax_op(fmt::format("{} --inputs '{}' --output '{}' {}", name, in, out, more));
  }
};

}  // namespace

TEST_CASE("op: several cases of a convolution, forward and backward") {
  Files files;
  std::map<std::string, Tensor> tensors;
  const Tensor x = test::integers({2, 6, 5, 3}, 3, 1), w = test::integers({4, 3, 3, 3}, 3, 2);
  const Tensor bias = test::integers({4}, 3, 3);
  // Case 10 after case 2: numbers, not text, decide the order; both have their own options.
  tensors["case2/input"] = x;
  tensors["case2/weight"] = w;
  tensors["case2/grad_output"] = test::integers({2, 4, 3, 4}, 3, 4);
  tensors["case10/input"] = x;
  tensors["case10/weight"] = w;
  tensors["case10/bias"] = bias;
  tensors["case10/grad_output"] = test::integers({2, 3, 3, 4}, 3, 5);
  const Outcome outcome = files.run(
      "conv2d", tensors, {{"case10/stride", "2"}, {"case10/padding", "1"}}, "--grad --threads 1");
  CAPTURE(outcome.text);
  REQUIRE(outcome.status == 0);
  const auto results = read_safetensors(files.out, FileOrder::pytorch).tensors;
  CHECK(results.size() == 3 + 4);

  const Variable input(x, true), weight(w, true), offset(bias, true);
  const Variable y = conv2d(input, weight, offset, {.stride = 2, .padding = 1});
  backward(y, tensors["case10/grad_output"]);
  CHECK(test::same_values(results.at("case10/output"), y.value()));
  CHECK(test::same_values(results.at("case10/grad.input"), input.grad()));
  CHECK(test::same_values(results.at("case10/grad.weight"), weight.grad()));
  CHECK(test::same_values(results.at("case10/grad.bias"), offset.grad()));
  CHECK(
      test::same_values(results.at("case2/output"), conv2d(Variable(x), Variable(w), {}).value()));
}

TEST_CASE("op: a file without cases, a loss, and float64 by the reference") {
  Files files;
  const Tensor x = Tensor::from(std::vector<double>{0.5, -1, 2}, {3, 1});
  const Tensor target = Tensor::from(std::vector<double>{1, 0, 1}, {3, 1});
  const Outcome outcome = files.run("bce_with_logits", {{"input", x}, {"target", target}},
                                    {{"grad", "true"}}, "--provider reference");
  CAPTURE(outcome.text);
  REQUIRE(outcome.status == 0);
  const auto results = read_safetensors(files.out, FileOrder::pytorch).tensors;
  // torch.nn.functional.binary_cross_entropy_with_logits
  CHECK(results.at("output").item() ==
        doctest::Approx(
            (std::log1p(std::exp(-0.5)) + std::log1p(std::exp(-1.0)) + std::log1p(std::exp(-2.0))) /
            3));
  CHECK(results.at("grad.input").data<double>()[0] ==
        doctest::Approx(-1 / (1 + std::exp(0.5)) / 3));
}

TEST_CASE("op: 16-bit activations where a device has kernels for them, parameters in float32") {
  Files files;
  const Tensor x = test::integers({1, 4, 4, 8}, 3, 1), w = test::integers({8, 1, 1, 8}, 2, 2);
  const Tensor dy = test::integers({1, 4, 4, 8}, 2, 3);
  const std::map<std::string, Tensor> inputs = {
      {"input", x.to(DType::f16)}, {"weight", w}, {"grad_output", dy.to(DType::f16)}};
  const Outcome outcome = files.run("conv2d", inputs, {{"grad", "true"}}, "--device sim");
  CAPTURE(outcome.text);
  REQUIRE(outcome.status == 0);
  const auto results = read_safetensors(files.out, FileOrder::pytorch).tensors;
  // Whole numbers this small are exact in 16 bits.
  const Variable input(x, true), weight(w, true);
  const Variable y = conv2d(input, weight, {}, {});
  backward(y, dy);
  CHECK(results.at("output").dtype() == DType::f16);
  CHECK(test::same_values(results.at("output").to(DType::f32), y.value()));
  CHECK(results.at("grad.input").dtype() == DType::f16);
  CHECK(test::same_values(results.at("grad.input").to(DType::f32), input.grad()));
  CHECK(results.at("grad.weight").dtype() == DType::f32);
  CHECK(test::same_values(results.at("grad.weight"), weight.grad()));
  const Outcome refused = files.run("conv2d", inputs, {});
  CAPTURE(refused.text);
  CHECK(refused.status != 0);
  CHECK(refused.text.find("no provider on cpu supports") != std::string::npos);
}

TEST_CASE("op: an optimizer step writes parameter and state") {
  Files files;
  const Outcome outcome = files.run("sgd_step",
                                    {{"param", Tensor::full({2, 2}, 1.0)},
                                     {"grad", Tensor::full({2, 2}, 2.0)},
                                     {"momentum_buffer", Tensor::full({2, 2}, 4.0)}},
                                    {{"lr", "0.5"}, {"momentum", "0.5"}});
  CAPTURE(outcome.text);
  REQUIRE(outcome.status == 0);
  const auto results = read_safetensors(files.out).tensors;
  CHECK(test::same_values(results.at("momentum_buffer"), Tensor::full({2, 2}, 4.0)));
  CHECK(test::same_values(results.at("param"), Tensor::full({2, 2}, -1.0)));
}

TEST_CASE("op: what does not fit is named, and no output appears") {
  Files files;
  const Tensor x = Tensor::zeros({2, 3});
  const auto refused = [&](const std::string& name, const std::map<std::string, Tensor>& tensors,
                           const std::map<std::string, std::string>& options,
                           const std::string& more, const std::string& wanted) {
    const Outcome outcome = files.run(name, tensors, options, more);
    CAPTURE(outcome.text);
    CHECK(outcome.status != 0);
    CHECK(outcome.text.find(wanted) != std::string::npos);
    CHECK(!std::filesystem::exists(files.out));
  };
  refused("relu", {{"case4/x", x}}, {}, "", "case4/ [op] tensor 'input' is missing");
  refused("relu", {{"input", x}, {"extra", x}}, {}, "", "unknown tensor: extra");
  refused("relu", {{"input", x}}, {{"slope", "1"}}, "", "unknown option: slope");
  refused("relu", {{"input", x}}, {}, "--grad", "tensor 'grad_output' is missing");
  refused("relu", {{"input", x}, {"grad_output", Tensor::zeros({3, 2})}}, {}, "--grad",
          "grad_output 3x2 f32 for output 2x3 f32");
  refused("relu", {{"input", x}, {"case1/input", x}}, {}, "", "'input' stands outside the cases");
  refused("dropout", {{"input", x}}, {{"p", "half"}}, "", "option 'p' is 'half'");
  refused("dropout", {{"input", x}}, {{"training", "yes"}}, "", "true or false is wanted");
  refused("sgd_step", {{"param", x}, {"grad", x}}, {}, "", "option 'lr' is missing");
  refused("relu", {{"input", x}}, {}, "--provider warp", "has no provider 'warp'");
  refused("concat", {{"input0", x}}, {}, "--provider cpu", "concat has no providers");
  refused("unknown", {{"input", x}}, {}, "", "no operation named 'unknown'");
  refused("erode", {{"input", x}}, {}, "", "[morphology]");
  CHECK(thorax_op("relu --inputs /nonexistent --output /nonexistent/out").status != 0);
}
