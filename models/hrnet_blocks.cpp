#include "models/hrnet_blocks.h"

#include "kernels/fuse_multires/fuse_multires.h"
#include "models/activations.h"

namespace thorax {
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
        path->add(same_conv(channels[j], channels[i], 1), "", /*relu=*/false);
      } else if (j < i) {
        path = std::make_unique<ConvPath>();
        for (std::size_t k = 0; k < i - j; ++k) {
          const bool last = k + 1 == i - j;
          path->add(same_conv(channels[j], last ? channels[i] : channels[j], 3, 2),
                    fmt::format("{}.", k), /*relu=*/!last);
        }
      }
      if (path) add_module(fmt::format("fuse_layers.{}.{}", i, j), *path);
      fuse_[i].push_back(std::move(path));
    }
  }
}

std::vector<Variable> HrModule::operator()(const std::vector<Variable>& inputs, bool forget,
                                           const std::string& name) const {
  std::vector<Variable> branches;
  for (std::size_t b = 0; b < branches_.size(); ++b)
    branches.push_back(offer_activation(fmt::format("{}.branches.{}", name, b),
                                        (*branches_[b])(inputs[b], forget)));
  std::vector<Variable> outputs;
  for (std::size_t i = 0; i < fuse_.size(); ++i) {
    const auto& paths = fuse_[i];
    const Variable fused = run_block(
        forget,
        [&paths](const std::vector<Variable>& in) {
          std::vector<Variable> parts;
          for (std::size_t j = 0; j < paths.size(); ++j)
            parts.push_back(paths[j] ? (*paths[j])(in[j]) : in[j]);
          return fuse_multires(parts, /*relu=*/true);
        },
        branches);
    outputs.push_back(offer_activation(fmt::format("{}.fuse_layers.{}", name, i), fused));
  }
  return outputs;
}

}  // namespace thorax
