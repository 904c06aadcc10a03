// Random graphs of operations in float64: values used several times, branches that join again,
// parameters shared. Every gradient against central differences, and with a part of the graph
// recomputed in the backward pass against the same graph without, bit for bit.
#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include "engine/autograd/gradcheck.h"
#include "engine/autograd/recompute.h"
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

using namespace thorax;
using test::normals;

namespace {

using Variables = std::vector<Variable>;
// Makes a map from earlier maps and from the parameters.
using Step = std::function<Variable(const Variables& maps, const Variables& parameters)>;

class Graph {
 public:
  explicit Graph(unsigned seed) : random_(seed) {
    shapes_.push_back({1 + pick(2), 2 + pick(4), 2 + pick(4), 1 + pick(3)});
    inputs.push_back(fresh(shapes_[0]));
    const int steps = 3 + static_cast<int>(pick(4));
    for (int i = 0; i < steps; ++i) add_map();
    add_end();
  }

  Variable run(const Variables& in) const {
    Variables maps{in[0]};
    for (const Step& step : steps_) maps.push_back(step(maps, in));
    return maps.back();
  }

  std::vector<Tensor> inputs;  // the first map, then the parameters
  std::string description;

 private:
  std::int64_t pick(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<unsigned>(n));
  }
  Tensor fresh(const Shape& shape) { return normals(shape, random_(), DType::f64); }
  std::size_t parameter(const Shape& shape) {
    // Sometimes one that is there already: its gradient is then a sum.
    for (std::size_t i = 1; i < inputs.size(); ++i)
      if (inputs[i].shape() == shape && pick(3) == 0) return i;
    inputs.push_back(fresh(shape));
    return inputs.size() - 1;
  }
  void add(const std::string& name, const Shape& shape, Step step) {
    description += (description.empty() ? "" : ", ") + name;
    steps_.push_back(std::move(step));
    shapes_.push_back(shape);
  }

  // One operation on any map so far.
  void add_map() {
    const auto from = static_cast<std::size_t>(pick(static_cast<std::int64_t>(shapes_.size())));
    const Shape s = shapes_[from];
    const std::string name = std::to_string(from);
    switch (pick(10)) {
      case 0: {
        const std::int64_t kernel = 1 + 2 * pick(2), out = 1 + pick(3);
        const std::size_t w = parameter({out, kernel, kernel, s[3]});
        const std::size_t b = parameter({out});
        const bool active = pick(2) == 0, biased = pick(2) == 0;
        return add("conv2d " + name, {s[0], s[1], s[2], out},
                   [=](const Variables& maps, const Variables& in) {
                     return conv2d(maps[from], in[w], biased ? in[b] : Variable{},
                                   {.padding = kernel / 2, .relu = active});
                   });
      }
      case 1: {
        if (s[1] * s[2] > 40) return add_map();
        const std::int64_t out = 1 + pick(2);
        const std::size_t w = parameter({s[3], 2, 2, out});
        const std::size_t b = parameter({out});
        return add("conv_transpose2d " + name, {s[0], 2 * s[1], 2 * s[2], out},
                   [=](const Variables& maps, const Variables& in) {
                     return conv_transpose2d(maps[from], in[w], in[b], {.stride = 2});
                   });
      }
      case 2: {
        if (s[0] * s[1] * s[2] < 6) return add_map();
        const std::size_t w = parameter({s[3]}), b = parameter({s[3]});
        const bool training = pick(2) == 0, active = pick(2) == 0;
        const BatchNormState state{normals({s[3]}, 8, DType::f64),
                                   Tensor::full({s[3]}, 0.7, DType::f64)};
        return add("batch_norm " + name, s, [=](const Variables& maps, const Variables& in) {
          return batch_norm(maps[from], in[w], in[b], state,
                            {.training = training, .relu = active});
        });
      }
      case 3: {
        const PoolOptions options{.kernel = 2, .stride = 1};
        if (s[1] < 2 || s[2] < 2) return add_map();
        const bool most = pick(2) == 0;
        return add("pool " + name, {s[0], s[1] - 1, s[2] - 1, s[3]},
                   [=](const Variables& maps, const Variables&) {
                     return most ? max_pool2d(maps[from], options)
                                 : avg_pool2d(maps[from], options);
                   });
      }
      case 4: {
        const std::int64_t height = 1 + pick(6), width = 1 + pick(6);
        const bool corners = pick(2) == 0;
        return add("upsample_bilinear " + name, {s[0], height, width, s[3]},
                   [=](const Variables& maps, const Variables&) {
                     return upsample_bilinear(maps[from], height, width, corners);
                   });
      }
      case 5:
        return add("sigmoid " + name, s,
                   [=](const Variables& maps, const Variables&) { return sigmoid(maps[from]); });
      case 6:
        return add("relu " + name, s,
                   [=](const Variables& maps, const Variables&) { return relu(maps[from]); });
      case 7: {  // a map beside itself or another of its size
        const std::size_t other = same_size(from, false);
        const Shape t = shapes_[other];
        return add("concat " + name + " " + std::to_string(other), {s[0], s[1], s[2], s[3] + t[3]},
                   [=](const Variables& maps, const Variables&) {
                     return concat({maps[from], maps[other]});
                   });
      }
      case 8: {  // the sum of two maps
        const std::size_t other = same_size(from, true);
        const bool active = pick(2) == 0;
        return add("sum " + name + " " + std::to_string(other), s,
                   [=](const Variables& maps, const Variables&) {
                     return fuse_multires({maps[from], maps[other]}, active);
                   });
      }
      default: {  // a half-sized map, added to the whole
        if (s[1] % 2 || s[2] % 2) return add_map();
        return add("pyramid " + name, s, [=](const Variables& maps, const Variables&) {
          return fuse_multires({maps[from], avg_pool2d(maps[from], {.kernel = 2})}, false);
        });
      }
    }
  }

  // The last map of the same height and width as this one (and channels); perhaps this one.
  std::size_t same_size(std::size_t from, bool channels) {
    const Shape& s = shapes_[from];
    for (std::size_t i = shapes_.size(); i-- > 0;) {
      const Shape& t = shapes_[i];
      if (t[1] == s[1] && t[2] == s[2] && (!channels || t[3] == s[3])) return i;
    }
    return from;
  }

  void add_end() {
    const std::size_t from = shapes_.size() - 1;
    const Shape s = shapes_[from];
    switch (pick(4)) {
      case 0: {
        const std::size_t w = parameter({3, s[3]}), b = parameter({3});
        const Tensor labels = Tensor::zeros({s[0]}, DType::i64);
        for (std::int64_t i = 0; i < s[0]; ++i) labels.data<std::int64_t>()[i] = pick(3);
        return add("cross_entropy", {1}, [=](const Variables& maps, const Variables& in) {
          return cross_entropy(linear(global_avg_pool(maps[from]), in[w], in[b]), labels, 0.1);
        });
      }
      case 1: {
        const Tensor target = Tensor::zeros(s, DType::f64);
        for (std::int64_t i = 0; i < s.numel(); ++i)
          target.data<double>()[i] = static_cast<double>(pick(2));
        return add("dice_loss", {1}, [=](const Variables& maps, const Variables&) {
          return dice_loss(maps[from], target);
        });
      }
      case 2: {
        const Tensor target = Tensor::full(s, 0.25, DType::f64);
        return add("bce_with_logits", {1}, [=](const Variables& maps, const Variables&) {
          return bce_with_logits(maps[from], target, 2);
        });
      }
      default:
        return;  // the map itself
    }
  }

  std::mt19937 random_;
  std::vector<Shape> shapes_;
  std::vector<Step> steps_;
};

std::vector<Tensor> gradients(const Graph& graph, bool again) {
  Variables leaves;
  for (const Tensor& input : graph.inputs) leaves.emplace_back(input, true);
  const auto block = [&](const Variables& in) { return graph.run(in); };
  const Variable result = again ? recompute(block, leaves) : block(leaves);
  backward(result, normals(result.shape(), 5, DType::f64));
  std::vector<Tensor> out;
  for (const Variable& leaf : leaves) out.push_back(leaf.grad());
  return out;
}

}  // namespace

TEST_CASE("random graphs: every gradient is the central difference") {
  std::size_t parameters = 0;
  for (unsigned seed = 1; seed <= 20; ++seed) {
    const Graph graph(seed);
    parameters += graph.inputs.size() - 1;
    const GradcheckResult result = gradcheck([&](const Variables& in) { return graph.run(in); },
                                             graph.inputs, {.rtol = 1e-5, .atol = 1e-6});
    INFO("seed ", seed, ": ", graph.description, ": ", result.message);
    CHECK(result.ok);
  }
  CHECK(parameters > 30);
}

TEST_CASE("random graphs: computed again in the backward pass, they give the same bits") {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    const Graph graph(seed);
    const std::vector<Tensor> once = gradients(graph, false), twice = gradients(graph, true);
    INFO("seed ", seed, ": ", graph.description);
    for (std::size_t i = 0; i < once.size(); ++i) {
      // What the graph does not use has no gradient, or one of zeros.
      const auto values = [&](const Tensor& gradient) {
        return gradient.defined() ? gradient : Tensor::zeros(graph.inputs[i].shape(), DType::f64);
      };
      const Tensor a = values(once[i]), b = values(twice[i]);
      REQUIRE(std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
    }
  }
}
