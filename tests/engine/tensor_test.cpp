#include "engine/tensor/tensor.h"

#include <doctest/doctest.h>

#include "engine/runtime/allocator.h"
#include "engine/runtime/parallel.h"
#include "tests/support/check.h"

using namespace thorax;

TEST_CASE("shapes print and refuse nonsense") {
  CHECK(Shape{1, 512, 512, 3}.to_string() == "1x512x512x3");
  CHECK(Shape{}.to_string() == "scalar");
  CHECK(Shape{2, 0, 3}.numel() == 0);
  CHECK_THROWS_AS((Shape{1, -1}), Error);
  CHECK_THROWS_AS((Shape{1, 1, 1, 1, 1, 1}), Error);
  CHECK_THROWS_AS((Shape{1, 2}[2]), Error);
}

TEST_CASE("channel slices share memory and copy right") {
  const Tensor wide = test::normals({2, 3, 4, 7}, 1);
  const Tensor slice = wide.channel_slice(2, 3);
  CHECK(!slice.contiguous());
  CHECK(slice.pixel_stride() == 7);
  const Tensor dense = slice.clone();
  CHECK(dense.contiguous());
  for (std::int64_t p = 0; p < 24; ++p)
    for (std::int64_t c = 0; c < 3; ++c)
      CHECK(dense.data<float>()[p * 3 + c] == wide.data<float>()[p * 7 + 2 + c]);
  slice.fill(0);
  CHECK(wide.data<float>()[2] == 0);
  CHECK(wide.data<float>()[1] != 0);
  CHECK_THROWS_AS(slice.reshape({24, 3}), Error);
  CHECK_THROWS_AS(wide.channel_slice(5, 3), Error);
  const Tensor second = slice.batch_slice(1, 1);
  CHECK(second.raw() == slice.data<float>() + 12 * 7);
}

TEST_CASE("add, scale and conversions work on slices") {
  const Tensor a = test::normals({2, 5, 5, 6}, 1), b = test::normals({2, 5, 5, 6}, 2);
  const Tensor sum = add(a, b);
  const Tensor sliced = test::as_slice(a);
  add_(sliced, test::as_slice(b, 1, 1));
  CHECK(test::same_values(sum, sliced));
  CHECK(test::same_values(a.to(DType::f64).to(DType::f32), a));
  CHECK_THROWS_AS(add(a, Tensor::zeros({1})), Error);
  CHECK_THROWS_AS(a.data<double>(), Error);
}

TEST_CASE("NHWC and NCHW convert both ways") {
  const Tensor a = test::normals({2, 3, 4, 5}, 3);
  const Tensor b = nhwc_to_nchw(a);
  CHECK(b.shape() == Shape{2, 5, 3, 4});
  CHECK(b.data<float>()[((1 * 5 + 4) * 3 + 2) * 4 + 3] ==
        a.data<float>()[((1 * 3 + 2) * 4 + 3) * 5 + 4]);
  CHECK(test::same_values(nchw_to_nhwc(b), a));
}

TEST_CASE("all_finite sees one bad value") {
  const Tensor a = test::normals({100001}, 1);
  CHECK(all_finite(a));
  a.data<float>()[100000] = std::numeric_limits<float>::infinity();
  CHECK(!all_finite(a));
}

TEST_CASE("allocator caches, counts and enforces the limit") {
  Allocator& host = allocator(Device{});
  host.reset_peak();
  const AllocatorStats before = host.stats();
  { const Tensor t = Tensor::empty({1 << 20}); }
  const AllocatorStats after = host.stats();
  CHECK(after.in_use == before.in_use);
  CHECK(after.peak_in_use >= before.in_use + (4u << 20));
#if !defined(__SANITIZE_ADDRESS__)
  { const Tensor t = Tensor::empty({1 << 20}); }
  CHECK(host.stats().cache_hits == after.cache_hits + 1);
#endif
#if !defined(__SANITIZE_ADDRESS__)
  // A freed block serves smaller requests, too, but not much smaller ones, and counts as what it
  // is.
  host.trim();
  { const Tensor t = Tensor::empty({1 << 20}); }
  const std::uint64_t hits = host.stats().cache_hits;
  {
    const Tensor smaller = Tensor::empty({600000});
    CHECK(host.stats().cache_hits == hits + 1);
    CHECK(host.stats().in_use == before.in_use + (4u << 20));
    CHECK(host.stats().cached == 0);
  }
  CHECK(host.stats().cached == 4u << 20);
  { const Tensor small = Tensor::empty({400000}); }
  CHECK(host.stats().cache_hits == hits + 1);
  host.set_limit(before.in_use + (3u << 20));
  {
    const Tensor within = Tensor::empty({600000});
    CHECK(host.stats().cache_hits == hits + 1);
  }
  CHECK(host.stats().in_use == before.in_use);
#endif
  host.set_limit(before.in_use + (1u << 20));
  CHECK_THROWS_WITH_AS(Tensor::empty({1 << 20}), doctest::Contains("[allocator] out of memory"),
                       Error);
  host.set_limit(0);
  host.trim();
  CHECK(host.stats().cached == 0);
}

TEST_CASE("parallel_for covers the range in fixed chunks and forwards exceptions") {
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    std::vector<int> hits(1000);
    parallel_for(0, 1000, 7, [&](std::int64_t first, std::int64_t last) {
      CHECK(first % 7 == 0);
      for (std::int64_t i = first; i < last; ++i) ++hits[static_cast<std::size_t>(i)];
    });
    CHECK(std::all_of(hits.begin(), hits.end(), [](int h) { return h == 1; }));
    CHECK_THROWS_AS(parallel_for(0, 100, 1,
                                 [](std::int64_t i, std::int64_t) {
                                   if (i == 50) fail("[test] stop");
                                 }),
                    Error);
  }
  set_num_threads(2);
}

TEST_CASE("Philox matches its published test vectors") {
  // Random123 known answers for philox4x32-10.
  CHECK(philox4x32(0, 0, 0) ==
        std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32(~0ull, ~0ull, ~0ull) ==
        std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
}
