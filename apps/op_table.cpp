// From a name and a file's tensors to one call: the arguments, options and defaults of
// bench/peers/README.md.
#include "engine/optim/step.h"
#include "engine/registry/op_case.h"
#include "kernels/activation/activation.h"
#include "kernels/activation/unary.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/binary/binary.h"
#include "kernels/concat/concat.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"
#include "kernels/dropout/dropout.h"
#include "kernels/fuse_multires/fuse_multires.h"
#include "kernels/linear/linear.h"
#include "kernels/matmul/matmul.h"
#include "kernels/morphology/morphology.h"
#include "kernels/permute/permute.h"
#include "kernels/pool/pool.h"
#include "kernels/reduce/reduce.h"
#include "kernels/segmentation_loss/segmentation_loss.h"
#include "kernels/softmax/softmax.h"
#include "kernels/upsample/upsample.h"

namespace thorax::app {
namespace {

void run_conv2d(OpCase& c) {
  c.result(conv2d(c.argument("input"), c.argument("weight"), c.optional_argument("bias"),
                  {.stride = c.integer("stride", 1),
                   .padding = c.integer("padding", 0),
                   .dilation = c.integer("dilation", 1),
                   .groups = c.integer("groups", 1),
                   .relu = c.flag("relu", false)}));
}

void run_conv_transpose2d(OpCase& c) {
  ConvTranspose2dOptions options;
  options.stride = c.integer("stride", 2);
  options.padding = c.integer("padding", 0);
  options.output_padding = c.integer("output_padding", 0);
  options.dilation = c.integer("dilation", 1);
  options.groups = c.integer("groups", 1);
  c.result(conv_transpose2d(c.argument("input"), c.argument("weight"), c.optional_argument("bias"),
                            options));
}

void run_batch_norm(OpCase& c) {
  BatchNormState state;
  state.running_mean = c.tensor("running_mean");
  state.running_var = c.tensor("running_var");
  state.momentum = c.number("momentum", 0.1);
  state.epsilon = c.number("epsilon", 1e-5);
  BatchNormOptions options;
  options.training = c.flag("training", true);
  options.relu = c.flag("relu", false);
  c.result(batch_norm(c.argument("input"), c.argument("weight"), c.argument("bias"), state, options,
                      c.optional_argument("residual")));
  if (!options.training) return;
  c.output("running_mean", state.running_mean);
  c.output("running_var", state.running_var);
}

PoolOptions pool_options(OpCase& c) {
  PoolOptions options;
  options.kernel = c.integer("kernel", 2);
  options.stride = c.integer("stride", 0);
  options.padding = c.integer("padding", 0);
  options.ceil_mode = c.flag("ceil_mode", false);
  return options;
}

void run_max_pool2d(OpCase& c) {
  c.result(max_pool2d(c.argument("input"), pool_options(c)));
}

void run_avg_pool2d(OpCase& c) {
  PoolOptions options = pool_options(c);
  options.count_include_pad = c.flag("count_include_pad", true);
  c.result(avg_pool2d(c.argument("input"), options));
}

void run_global_avg_pool(OpCase& c) {
  c.result(global_avg_pool(c.argument("input")));
}

void run_upsample_nearest(OpCase& c) {
  c.result(upsample_nearest(c.argument("input"), c.integer("factor")));
}

void run_upsample_bilinear(OpCase& c) {
  c.result(upsample_bilinear(c.argument("input"), c.integer("height"), c.integer("width"),
                             c.flag("align_corners", false)));
}

void run_fuse_multires(OpCase& c) {
  c.result(fuse_multires(c.numbered_arguments("input"), c.flag("relu", true)));
}

void run_concat(OpCase& c) {
  c.result(concat(c.numbered_arguments("input")));
}

void run_linear(OpCase& c) {
  c.result(linear(c.argument("input"), c.argument("weight"), c.optional_argument("bias"),
                  c.flag("relu", false)));
}

template <Variable (*kFunction)(const Variable&)>
void run_unary(OpCase& c) {
  c.result(kFunction(c.argument("input")));
}

void run_affine(OpCase& c) {
  c.result(affine(c.argument("input"), c.number("factor", 1), c.number("shift", 0)));
}

void run_pow(OpCase& c) {
  c.result(pow(c.argument("input"), c.number("exponent")));
}

template <Variable (*kFunction)(const Variable&, const Variable&)>
void run_binary(OpCase& c) {
  c.result(kFunction(c.argument("input"), c.argument("other")));
}

// Axis i of the result is axis axes[i] of the input.
void run_permute(OpCase& c) {
  const Variable x = c.argument("input");
  std::vector<int> axes;
  for (int i = 0; i < x.shape().rank(); ++i)
    axes.push_back(static_cast<int>(c.integer(fmt::format("axis{}", i))));
  c.result(permute(x, axes));
}

// Over one axis, or over all without the option.
template <Variable (*kAll)(const Variable&),
          Variable (*kOver)(const Variable&, std::initializer_list<int>, bool)>
void run_reduce(OpCase& c) {
  const Variable x = c.argument("input");
  const auto axis = static_cast<int>(c.integer("axis", Shape::kMaxRank));
  const bool keepdim = c.flag("keepdim", false);
  c.result(axis == Shape::kMaxRank ? kAll(x) : kOver(x, {axis}, keepdim));
}

template <Variable (*kFunction)(const Variable&, int)>
void run_softmax(OpCase& c) {
  c.result(kFunction(c.argument("input"), static_cast<int>(c.integer("axis", -1))));
}

void run_dropout(OpCase& c) {
  c.result(dropout(c.argument("input"), c.number("p", 0.5), c.flag("training", true),
                   static_cast<std::uint64_t>(c.integer("seed", 0)),
                   static_cast<std::uint64_t>(c.integer("stream", 0))));
}

void run_dice_loss(OpCase& c) {
  c.loss(dice_loss(c.argument("input"), c.tensor("target"),
                   {.squared = c.flag("squared", true),
                    .per_image = c.flag("per_image", false),
                    .epsilon = c.number("epsilon", 1e-6)}));
}

void run_bce_with_logits(OpCase& c) {
  c.loss(bce_with_logits(c.argument("input"), c.tensor("target"), c.number("pos_weight", 1),
                         c.optional_tensor("weight")));
}

void run_cross_entropy(OpCase& c) {
  c.loss(cross_entropy(c.argument("input"), c.tensor("target"), c.number("label_smoothing", 0),
                       c.optional_tensor("class_weights")));
}

void run_segmentation_loss(OpCase& c) {
  c.loss(segmentation_loss(c.argument("input"), c.tensor("target"),
                           {.softmax = c.flag("softmax", false),
                            .generalised = c.flag("generalised", false),
                            .squared = c.flag("squared", true),
                            .cross_entropy = c.number("cross_entropy", 0),
                            .epsilon = c.number("epsilon", 1e-6)}));
}

void run_sgd_step(OpCase& c) {
  SgdStep step;
  step.lr = c.number("lr");
  step.momentum = c.number("momentum", 0);
  step.dampening = c.number("dampening", 0);
  step.weight_decay = c.number("weight_decay", 0);
  step.nesterov = c.flag("nesterov", false);
  step.first = c.flag("first", false);
  step.grad_scale = c.number("grad_scale", 1);
  const Tensor parameter = c.tensor("param");
  Tensor momentum = c.optional_tensor("momentum_buffer");
  // The first step makes the buffer.
  if (!momentum.defined() && step.first && step.momentum != 0)
    momentum = Tensor::empty(parameter.shape(), parameter.dtype(), parameter.device());
  sgd_step(step, parameter, c.tensor("grad"), momentum);
  c.output("param", parameter);
  if (momentum.defined()) c.output("momentum_buffer", momentum);
}

void run_adamw_step(OpCase& c) {
  AdamWStep step;
  step.lr = c.number("lr");
  step.beta1 = c.number("beta1", 0.9);
  step.beta2 = c.number("beta2", 0.999);
  step.epsilon = c.number("epsilon", 1e-8);
  step.weight_decay = c.number("weight_decay", 0);
  step.step = c.integer("step", 1);
  step.grad_scale = c.number("grad_scale", 1);
  const Tensor parameter = c.tensor("param");
  const Tensor exp_avg = c.tensor("exp_avg"), exp_avg_sq = c.tensor("exp_avg_sq");
  adamw_step(step, parameter, c.tensor("grad"), exp_avg, exp_avg_sq);
  c.output("param", parameter);
  c.output("exp_avg", exp_avg);
  c.output("exp_avg_sq", exp_avg_sq);
}

int iterations(OpCase& c) {
  const std::int64_t count = c.integer("iterations", 1);
  THORAX_CHECK(count >= 0 && count <= 1 << 20, "[op] {} iterations", count);
  return static_cast<int>(count);
}

Structure structure(OpCase& c) {
  const std::string name = c.text("structure", "cross");
  THORAX_CHECK(name == "cross" || name == "square",
               "[op] option 'structure' is '{}': cross or square is wanted", name);
  return name == "cross" ? Structure::cross : Structure::square;
}

template <Tensor (*kFunction)(const Tensor&, int, Structure)>
void run_morphology(OpCase& c) {
  c.output("output", kFunction(c.tensor("input"), iterations(c), structure(c)));
}

void run_connected_components(OpCase& c) {
  const auto connectivity = static_cast<int>(c.integer("connectivity", 4));
  c.output("output", connected_components(c.tensor("input"), connectivity).labels);
}

void run_fill_holes(OpCase& c) {
  c.output("output", fill_holes(c.tensor("input")));
}

void run_keep_largest(OpCase& c) {
  const auto connectivity = static_cast<int>(c.integer("connectivity", 4));
  c.output("output", keep_largest(c.tensor("input"), c.integer("count", 1), connectivity));
}

constexpr OpRow kTable[] = {
    {"conv2d", "conv2d", run_conv2d},
    {"conv_transpose2d", "conv_transpose2d", run_conv_transpose2d},
    {"batch_norm", "batch_norm", run_batch_norm},
    {"max_pool2d", "pool", run_max_pool2d},
    {"avg_pool2d", "pool", run_avg_pool2d},
    {"global_avg_pool", "pool", run_global_avg_pool},
    {"upsample_nearest", "upsample", run_upsample_nearest},
    {"upsample_bilinear", "upsample", run_upsample_bilinear},
    {"fuse_multires", "fuse_multires", run_fuse_multires},
    {"concat", "", run_concat},
    {"linear", "linear", run_linear},
    {"matmul", "conv2d", run_binary<matmul>},
    {"add", "binary", run_binary<add>},
    {"sub", "binary", run_binary<sub>},
    {"mul", "binary", run_binary<mul>},
    {"div", "binary", run_binary<div>},
    {"relu", "activation", run_unary<relu>},
    {"sigmoid", "activation", run_unary<sigmoid>},
    {"exp", "activation", run_unary<exp>},
    {"log", "activation", run_unary<log>},
    {"sqrt", "activation", run_unary<sqrt>},
    {"abs", "activation", run_unary<abs>},
    {"affine", "activation", run_affine},
    {"pow", "activation", run_pow},
    {"sum", "reduce", run_reduce<sum, sum>},
    {"mean", "reduce", run_reduce<mean, mean>},
    {"permute", "permute", run_permute},
    {"softmax", "softmax", run_softmax<softmax>},
    {"log_softmax", "softmax", run_softmax<log_softmax>},
    {"dropout", "dropout", run_dropout},
    {"dice_loss", "dice_loss", run_dice_loss},
    {"segmentation_loss", "segmentation_loss", run_segmentation_loss},
    {"bce_with_logits", "bce_with_logits", run_bce_with_logits},
    {"cross_entropy", "cross_entropy", run_cross_entropy},
    {"sgd_step", "sgd", run_sgd_step},
    {"adamw_step", "adamw", run_adamw_step},
    {"dilate", "morphology", run_morphology<dilate>},
    {"erode", "morphology", run_morphology<erode>},
    {"close", "morphology", run_morphology<close>},
    {"connected_components", "morphology", run_connected_components},
    {"fill_holes", "morphology", run_fill_holes},
    {"keep_largest", "morphology", run_keep_largest},
};

[[maybe_unused]] const bool added = [] {
  for (const OpRow& row : kTable) add_op(row);
  return true;
}();

}  // namespace
}  // namespace thorax::app
