// Graphs on every GPU there is, and what only the simulated one can check.
#include "engine/runtime/graph.h"

#include <doctest/doctest.h>

#include <cstring>

#include "engine/runtime/allocator.h"
#include "engine/runtime/device.h"
#include "engine/runtime/staging.h"
#include "tests/support/check.h"

using namespace thorax;

namespace {

const Device kSim{DeviceKind::sim, 0};

std::vector<Device> gpus() {
  std::vector<Device> found{kSim};
  if (device_count(DeviceKind::cuda) > 0) found.push_back({DeviceKind::cuda, 0});
  return found;
}

void refused(Device device, const char* what, const std::function<void()>& body) {
  CAPTURE(what);
  CHECK_THROWS_WITH_AS(Graph::capture(device, body), doctest::Contains(what), Error);
  CHECK(!capturing(device));
}

}  // namespace

TEST_CASE("graph: recorded work runs at replay, with what its memory holds then") {
  for (const Device device : gpus()) {
    CAPTURE(to_string(device));
    const Tensor x = Tensor::full({1000}, 1, DType::f32, device);
    const Tensor sum = Tensor::zeros({1000}, DType::f32, device);
    const auto body = [&] {
      const Tensor twice = x.clone();  // fresh memory within the body
      scale_(twice, 2);
      add_(sum, twice);
    };
    body();
    CHECK(sum.to(Device{}).data<float>()[999] == 2);
    const Graph graph = Graph::capture(device, body);
    CHECK(graph.defined());
    CHECK(graph.size() >= 3);
    CHECK(sum.to(Device{}).data<float>()[999] == 2);
    graph.replay();
    CHECK(sum.to(Device{}).data<float>()[999] == 4);
    x.fill(10);
    graph.replay();
    graph.replay();
    const Tensor host = sum.to(Device{});
    for (std::int64_t i = 0; i < host.numel(); ++i) CHECK(host.data<float>()[i] == 44);
  }
}

TEST_CASE("graph: what cannot be captured is refused by name, and the device goes on") {
  for (const Device device : gpus()) {
    CAPTURE(to_string(device));
    DeviceBackend& backend = device_backend(device.kind);
    const Tensor x = Tensor::full({4}, 1, DType::f32, device), host = Tensor::full({4}, 2);
    const std::uint64_t mark = backend.mark(device.index);
    refused(device, "waiting for the device cannot be captured", [&] { synchronize(device); });
    refused(device, "a copy to the host cannot be captured", [&] { x.to(Device{}); });
    refused(device, "a copy from pageable host memory cannot be captured",
            [&] { x.copy_from(host); });
    refused(device, "memory from the system cannot be captured",
            [&] { backend.allocate_pinned(16); });
    refused(device, "a mark cannot be captured", [&] { backend.mark(device.index); });
    refused(device, "waiting for a mark",
            [&] { backend.seconds_between(device.index, mark, mark); });
    refused(device, "an upload cannot be captured",
            [&] { backend.begin_upload(device.index, x.raw(), host.raw(), 16, mark); });
    refused(device, "a second graph cannot be captured", [&] { Graph::capture(device, [] {}); });
    const Graph empty = Graph::capture(device, [] {});
    refused(device, "a replay cannot be captured", [&] { empty.replay(); });
    refused(device, "of its own", [] { fail("[test] an error of its own"); });
    x.copy_from(host);
    CHECK(x.to(Device{}).data<float>()[3] == 2);
    empty.replay();
  }
  CHECK_THROWS_WITH_AS(Graph::capture(Device{}, [] {}), doctest::Contains("only cuda and sim"),
                       Error);
  CHECK_THROWS_WITH_AS(Graph().replay(), doctest::Contains("nothing was captured"), Error);
}

TEST_CASE("graph: a copy from pinned memory is captured and reads what is there at replay") {
  for (const Device device : gpus()) {
    DeviceBackend& backend = device_backend(device.kind);
    const Tensor x = Tensor::zeros({4}, DType::f32, device);
    auto* pinned = static_cast<float*>(backend.allocate_pinned(16));
    const Graph graph =
        Graph::capture(device, [&] { copy_bytes(x.raw(), device, pinned, Device{}, 16); });
    std::fill_n(pinned, 4, 7.f);
    graph.replay();
    CHECK(x.to(Device{}).data<float>()[2] == 7);
    // One byte behind the pinned block is not pinned.
    CHECK_THROWS_AS(
        Graph::capture(device, [&] { copy_bytes(x.raw(), device, pinned + 1, Device{}, 16); }),
        Error);
    synchronize(device);
    backend.release_pinned(pinned);
    CHECK(!capture_detail::is_pinned(pinned, 1));
  }
}

TEST_CASE("graph: its memory is its own while it lives, and comes from freed blocks only") {
  for (const Device device : gpus()) {
    CAPTURE(to_string(device));
    Allocator& memory = allocator(device);
    constexpr std::int64_t kCount = 123457;  // of no other test
    const auto bytes = static_cast<std::size_t>(kCount) * 4;
    memory.trim();
    const Tensor out = Tensor::zeros({1}, DType::f32, device);
    const void* inside = nullptr;
    const auto body = [&] {
      const Tensor scratch = Tensor::full({kCount}, 3, DType::f32, device);
      inside = scratch.raw();
      out.copy_from(scratch.batch_slice(kCount - 1, 1));
    };
    CHECK_THROWS_WITH_AS(Graph::capture(device, body),
                         doctest::Contains("no block of that size was freed before"), Error);
    body();
    const AllocatorStats before = memory.stats();
    {
      const Graph graph = Graph::capture(device, body);
      const void* const owned = inside;
      CHECK(memory.stats().graphs >= bytes);
      CHECK(memory.stats().in_use == before.in_use);
      // Others get other memory, and may write there what they like.
      std::vector<Tensor> others;
      for (int i = 0; i < 4; ++i) {
        others.push_back(Tensor::full({kCount}, 5, DType::f32, device));
        CHECK(others.back().raw() != owned);
      }
      out.fill(0);
      graph.replay();
      CHECK(out.item() == 3);
      for (const Tensor& other : others) CHECK(other.batch_slice(kCount - 1, 1).item() == 5);
    }
    CHECK(memory.stats().graphs == 0);
    body();
    CHECK(out.item() == 3);
    memory.trim();
  }
}

TEST_CASE("graph: a limit counts the memory that graphs hold") {
  Allocator& memory = allocator(kSim);
  const auto body = [] { Tensor::empty({1 << 20}, DType::f32, kSim); };
  body();
  const Graph graph = Graph::capture(kSim, body);
  memory.set_limit(memory.stats().in_use + (6u << 20));
  CHECK_THROWS_WITH_AS(Tensor::empty({1 << 20}, DType::f32, kSim),
                       doctest::Contains("out of memory"), Error);
  memory.set_limit(0);
}

TEST_CASE("graph: results that the body leaves behind stay, and outlive the graph") {
  for (const Device device : gpus()) {
    const Tensor x = Tensor::full({77}, 2, DType::f32, device);
    Tensor result;
    const auto body = [&] {
      result = x.clone();
      scale_(result, 3);
    };
    body();
    result = {};
    {
      const Graph graph = Graph::capture(device, body);
      graph.replay();
      CHECK(result.batch_slice(76, 1).item() == 6);
    }
    CHECK(result.batch_slice(76, 1).item() == 6);
    const Tensor other = Tensor::full({77}, 9, DType::f32, device);
    CHECK(result.batch_slice(76, 1).item() == 6);
  }
}

TEST_CASE("graph on sim: memory that was freed since the capture is an error at replay") {
  Tensor x = Tensor::full({64}, 1, DType::f32, kSim);
  const Tensor y = Tensor::zeros({64}, DType::f32, kSim);
  const Graph kernel = Graph::capture(kSim, [&] { add_(y, x); });
  const Graph copy = Graph::capture(kSim, [&] { y.copy_from(x); });
  kernel.replay();
  copy.replay();
  x = {};
  // The same address may be in use again; it is not the same memory.
  const Tensor later = Tensor::full({64}, 1, DType::f32, kSim);
  CHECK_THROWS_WITH_AS(kernel.replay(),
                       doctest::Contains("memory that 'add_kernel<T>' was captured with was freed"),
                       Error);
  CHECK_THROWS_WITH_AS(copy.replay(), doctest::Contains("memory that 'copy' was captured with"),
                       Error);
}

TEST_CASE("graph on sim: memory that is handed out twice is poisoned between, at every replay") {
  const Tensor y = Tensor::zeros({256}, DType::f32, kSim);
  const auto body = [&] {
    { const Tensor first = Tensor::full({256}, 1, DType::f32, kSim); }
    const Tensor second = Tensor::empty({256}, DType::f32, kSim);  // never written
    y.copy_from(second);
  };
  body();
  const Graph graph = Graph::capture(kSim, body);
  graph.replay();
  const Tensor host = y.to(Device{});
  for (std::int64_t i = 0; i < 256; ++i) CHECK(std::isnan(host.data<float>()[i]));
}

TEST_CASE("graph: what the host counts along is counted at replay") {
  const Tensor x = Tensor::zeros({1}, DType::f32, kSim);
  int count = 0;
  const auto body = [&] {
    x.fill(1);
    at_replay([&] { ++count; });
  };
  body();
  CHECK(count == 1);
  Graph graph = Graph::capture(kSim, body);
  CHECK(count == 1);
  graph.replay();
  graph.replay();
  CHECK(count == 3);
  Graph moved = std::move(graph);
  CHECK(!graph.defined());
  moved.replay();
  CHECK(count == 4);
  CHECK_THROWS_AS(Graph::capture(kSim,
                                 [&] {
                                   body();
                                   fail("[test] too late");
                                 }),
                  Error);
  body();
  CHECK(count == 5);
}
