#include "models/hrnet_blocks.h"

#include "kernels/fuse_multires/fuse_multires.h"

namespace thorax {
namespace {

ConvSpec plain(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1) {
  return {.in = in,
          .out = out,
          .kernel = kernel,
          .stride = stride,
          .padding = kernel / 2,
          .bias = false};
}

}  // namespace

ResidualBlock::ResidualBlock(BlockKind kind, std::int64_t in, std::int64_t planes) {
  const std::int64_t out = planes * expansion(kind);
  const std::vector<ConvSpec> specs =
      kind == BlockKind::basic
          ? std::vector{plain(in, planes, 3), plain(planes, planes, 3)}
          : std::vector{plain(in, planes, 1), plain(planes, planes, 3), plain(planes, out, 1)};
  for (std::size_t i = 0; i < specs.size(); ++i) {
    layers_.push_back(std::make_unique<ConvBn>(specs[i]));
    add_module(fmt::format("conv{}", i + 1), layers_.back()->conv);
    add_module(fmt::format("bn{}", i + 1), layers_.back()->bn);
  }
  if (in != out) {
    downsample_ = std::make_unique<ConvBn>(plain(in, out, 1));
    add_module("downsample.0", downsample_->conv);
    add_module("downsample.1", downsample_->bn);
  }
}

Variable ResidualBlock::operator()(const Variable& x) const {
  const Variable shortcut = downsample_ ? (*downsample_)(x, /*relu=*/false) : x;
  Variable y = x;
  for (std::size_t i = 0; i + 1 < layers_.size(); ++i) y = (*layers_[i])(y);
  return (*layers_.back())(y, /*relu=*/true, shortcut);
}

BlockChain::BlockChain(BlockKind kind, std::int64_t in, std::int64_t planes, std::int64_t blocks) {
  for (std::int64_t i = 0; i < blocks; ++i) {
    blocks_.push_back(
        std::make_unique<ResidualBlock>(kind, i == 0 ? in : planes * expansion(kind), planes));
    add_module(std::to_string(i), *blocks_.back());
  }
}

Variable BlockChain::operator()(const Variable& x, bool forget) const {
  Variable y = x;
  for (const auto& block : blocks_) {
    y = run_block(forget,
                  [&layer = *block](const std::vector<Variable>& in) { return layer(in[0]); }, {y});
  }
  return y;
}

void ConvPath::add(const ConvSpec& spec, const std::string& prefix, bool relu) {
  steps_.emplace_back(std::make_unique<ConvBn>(spec), relu);
  add_module(prefix + "0", steps_.back().first->conv);
  add_module(prefix + "1", steps_.back().first->bn);
}

Variable ConvPath::operator()(const Variable& x) const {
  Variable y = x;
  for (const auto& [layer, relu] : steps_) y = (*layer)(y, relu);
  return y;
}

HrModule::HrModule(const std::vector<std::int64_t>& channels, std::int64_t blocks) {
  for (std::size_t b = 0; b < channels.size(); ++b) {
    branches_.push_back(
        std::make_unique<BlockChain>(BlockKind::basic, channels[b], channels[b], blocks));
    add_module(fmt::format("branches.{}", b), *branches_.back());
  }
  fuse_.resize(channels.size());
  for (std::size_t i = 0; i < channels.size(); ++i) {
    for (std::size_t j = 0; j < channels.size(); ++j) {
      std::unique_ptr<ConvPath> path;
      if (j > i) {
        path = std::make_unique<ConvPath>();
        path->add(plain(channels[j], channels[i], 1), "", /*relu=*/false);
      } else if (j < i) {
        path = std::make_unique<ConvPath>();
        for (std::size_t k = 0; k < i - j; ++k) {
          const bool last = k + 1 == i - j;
          path->add(plain(channels[j], last ? channels[i] : channels[j], 3, 2),
                    fmt::format("{}.", k), /*relu=*/!last);
        }
      }
      if (path) add_module(fmt::format("fuse_layers.{}.{}", i, j), *path);
      fuse_[i].push_back(std::move(path));
    }
  }
}

std::vector<Variable> HrModule::operator()(const std::vector<Variable>& inputs, bool forget) const {
  std::vector<Variable> branches;
  for (std::size_t b = 0; b < branches_.size(); ++b)
    branches.push_back((*branches_[b])(inputs[b], forget));
  std::vector<Variable> outputs;
  for (const auto& paths : fuse_) {
    outputs.push_back(run_block(
        forget,
        [&paths](const std::vector<Variable>& in) {
          std::vector<Variable> parts;
          for (std::size_t j = 0; j < paths.size(); ++j)
            parts.push_back(paths[j] ? (*paths[j])(in[j]) : in[j]);
          return fuse_multires(parts, /*relu=*/true);
        },
        branches));
  }
  return outputs;
}

}  // namespace thorax
