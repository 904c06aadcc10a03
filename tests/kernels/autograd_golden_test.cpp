// Random chains of operations, values and gradients against PyTorch's autograd in float64
// (tests/golden/make_autograd.py).
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/activation/activation.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/concat/concat.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"
#include "kernels/fuse_multires/fuse_multires.h"
#include "kernels/linear/linear.h"
#include "kernels/pool/pool.h"
#include "kernels/upsample/upsample.h"
#include "tests/support/check.h"
#include "tests/support/golden.h"

using namespace thorax;
using nlohmann::json;
using test::golden_error;
using test::GoldenCase;

namespace {

// Ten operations, each of sums of at most a few hundred terms. Of a case's largest gradient: that
// of a bias before a batch norm is 0, and what is there is the rounding of larger terms.
constexpr double kAllowed = 1e-12;

double largest(const Tensor& values) {
  const Tensor all = values.to_contiguous();
  double most = 0;
  for (std::int64_t i = 0; i < all.numel(); ++i)
    most = std::max(most, std::abs(all.data<double>()[i]));
  return most;
}

Variable apply(const json& step, const std::vector<Variable>& in, const GoldenCase& c) {
  const std::string op = step.at("op");
  const auto number = [&](const char* key) { return step.at(key).get<std::int64_t>(); };
  const auto flag = [&](const char* key) { return step.at(key).get<bool>(); };
  if (op == "conv2d")
    return conv2d(in[0], in[1], in[2],
                  {.stride = number("stride"),
                   .padding = number("padding"),
                   .dilation = number("dilation"),
                   .groups = number("groups"),
                   .relu = flag("relu")});
  if (op == "conv_transpose2d")
    return conv_transpose2d(in[0], in[1], in[2], {.stride = number("stride")});
  if (op == "batch_norm")
    return batch_norm(in[0], in[1], in[2], {}, {.relu = flag("relu")},
                      in.size() > 3 ? in[3] : Variable());
  if (op == "relu") return relu(in[0]);
  if (op == "sigmoid") return sigmoid(in[0]);
  if (op == "max_pool2d" || op == "avg_pool2d") {
    const PoolOptions options{.kernel = number("kernel"), .stride = number("stride")};
    return op == "max_pool2d" ? max_pool2d(in[0], options) : avg_pool2d(in[0], options);
  }
  if (op == "upsample_nearest") return upsample_nearest(in[0], number("factor"));
  if (op == "upsample_bilinear")
    return upsample_bilinear(in[0], number("height"), number("width"), flag("align_corners"));
  if (op == "concat") return concat(in);
  if (op == "fuse_multires") return fuse_multires(in, flag("relu"));
  if (op == "global_avg_pool") return global_avg_pool(in[0]);
  if (op == "linear") return linear(in[0], in[1], in[2]);
  if (op == "cross_entropy")
    return cross_entropy(in[0], c.tensors.at("target"), step.at("label_smoothing"));
  if (op == "bce_with_logits")
    return bce_with_logits(in[0], c.tensors.at("target"), step.at("pos_weight"));
  REQUIRE(op == "dice_loss");
  return dice_loss(in[0], c.tensors.at("target"), {.epsilon = step.at("epsilon")});
}

}  // namespace

TEST_CASE("golden: random chains of operations have PyTorch's values and gradients in float64") {
  const auto cases = test::golden_cases("autograd.safetensors");
  REQUIRE(cases.size() == 32);
  std::map<std::string, int> used;
  for (std::size_t k = 0; k < cases.size(); ++k) {
    CAPTURE(k);
    const GoldenCase& c = cases[k];
    const json program = json::parse(c.options.at("program"));
    std::vector<Variable> values;
    for (const json& step : program) {
      ++used[step.at("op")];
      if (step.at("op") == "leaf") {
        const Tensor& leaf = c.tensors.at("leaf" + std::to_string(values.size()));
        REQUIRE(leaf.dtype() == DType::f64);
        values.emplace_back(leaf, true);
        continue;
      }
      std::vector<Variable> inputs;
      for (const std::size_t i : step.at("in")) inputs.push_back(values.at(i));
      values.push_back(apply(step, inputs, c));
    }
    CHECK(golden_error(values.back().value(), c.tensors.at("output")) <= kAllowed);
    backward(values.back(), c.tensors.at("seed"));
    double scale = 0;
    for (const auto& [name, tensor] : c.tensors)
      if (name.starts_with("grad")) scale = std::max(scale, largest(tensor));
    REQUIRE(scale > 1e-3);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!values[i].is_leaf()) continue;
      CAPTURE(i);
      const auto wanted = c.tensors.find("grad" + std::to_string(i));
      // Leaves of which the root is no function.
      CHECK(values[i].grad().defined() == (wanted != c.tensors.end()));
      if (wanted != c.tensors.end() && values[i].grad().defined())
        CHECK(test::difference(values[i].grad(), wanted->second, kAllowed * scale).worst <= 1);
    }
  }
  for (const char* op :
       {"conv2d", "conv_transpose2d", "batch_norm", "relu", "sigmoid", "max_pool2d", "avg_pool2d",
        "upsample_nearest", "upsample_bilinear", "concat", "fuse_multires", "cross_entropy",
        "bce_with_logits", "dice_loss"})
    CHECK_MESSAGE(used[op] >= 3, op);
}
