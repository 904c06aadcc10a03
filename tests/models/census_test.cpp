// The census of launches: what it counts is what runs.
#include <doctest/doctest.h>

#include "engine/runtime/allocator.h"
#include "engine/runtime/graph.h"
#include "engine/runtime/sim/census.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "tests/models/support.h"

using namespace thorax;

namespace {
const Device kSim{DeviceKind::sim, 0};
}

TEST_CASE("census: as many launches, fills and copies as a graph of the same work records") {
  const DeviceScope on(kSim);
  for (const nlohmann::json& config : {test::tiny_resnet("basic"), test::tiny_densenet()}) {
    CAPTURE(config.dump());
    const auto model = create_model(config);
    model->to(kSim);
    const Variable x(Tensor::zeros({2, 64, 64, 3}, DType::f32, kSim));
    const Tensor labels = Tensor::zeros({2}, DType::i64, kSim);
    const auto work = [&] {
      backward(cross_entropy(model->forward(x), labels));
      model->zero_grad();
    };
    std::size_t counted = 0;
    {
      const sim::Census census;
      work();
      counted = census.launches().size();
      for (const sim::Launch& launch : census.launches()) {
        CHECK(launch.blocks >= 1);
        CHECK(launch.threads >= 1);
      }
    }
    CHECK(counted > 50);
    work();  // leaves the blocks that a graph may use
    const std::uint64_t before = allocator(kSim).stats().allocations;
    const Graph graph = Graph::capture(kSim, work);
    // The graph has the allocator's poison of every tensor, too.
    CHECK(graph.size() == counted + allocator(kSim).stats().allocations - before);
  }
}

TEST_CASE("census: nothing runs, tensors are counted, and afterwards everything runs again") {
  const DeviceScope on(kSim);
  const Tensor ones = Tensor::full({1000}, 1, DType::f32, kSim);
  allocator(kSim).reset_peak();
  const std::size_t before = allocator(kSim).stats().in_use;
  {
    const sim::Census census;
    ones.fill(2);
    const Tensor large = Tensor::zeros({1 << 20}, DType::f32, kSim);
    CHECK(census.launches().size() == 2);
    CHECK(allocator(kSim).stats().peak_in_use == before + (std::size_t{4} << 20));
    CHECK_THROWS_WITH_AS(sim::Census(), "[census] one is running on this thread already", Error);
  }
  CHECK(ones.to(Device{}).data<float>()[999] == 1);
  ones.fill(2);
  CHECK(ones.to(Device{}).data<float>()[999] == 2);
}
