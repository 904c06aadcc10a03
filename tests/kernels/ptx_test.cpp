// The PTX wrappers on the simulated device: fragments against a plain matrix product, what an
// architecture lacks, and what an asynchronous copy does not deliver. Where an element lies is
// written here as the PTX ISA's tables say it, element by element, not as the wrapper does.
#include "kernels/common/ptx.cuh"

#include <doctest/doctest.h>

#include <limits>

#include "tests/support/check.h"

using namespace thorax;
namespace wrappers = thorax::sim_build::ptx;

namespace {

constexpr Device kTuring{DeviceKind::sim, 0}, kAmpere{DeviceKind::sim, 1},
    kHopper{DeviceKind::sim, 2};

struct Place {
  int row, column;
};
// PTX ISA, "Matrix Fragments for mma.m16n8k8" and "... m16n8k16", 16-bit elements: element i.
Place a_place_16(int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  return {i % 4 < 2 ? group : group + 8, thread * 2 + (i & 1) + (i < 4 ? 0 : 8)};
}
Place b_place_16(int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  return {thread * 2 + (i & 1) + (i < 2 ? 0 : 8), group};
}
Place a_place_tf32(int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  return {i == 0 || i == 2 ? group : group + 8, i < 2 ? thread : thread + 4};
}
Place b_place_tf32(int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  return {i == 0 ? thread : thread + 4, group};
}
Place c_place(int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  return {i < 2 ? group : group + 8, thread * 2 + (i & 1)};
}

enum class Mma { f16_k8, f16_k16, bf16_k16, tf32_k8 };

template <class T, int Registers>
void gather(unsigned (&registers)[Registers], const T* matrix, int columns,
            Place (*place)(int, int), int lane) {
  constexpr int kPer = 4 / static_cast<int>(sizeof(T));
  T elements[Registers * kPer];
  for (int i = 0; i < Registers * kPer; ++i) {
    const Place at = place(lane, i);
    elements[i] = matrix[at.row * columns + at.column];
  }
  std::memcpy(registers, elements, sizeof(registers));
}

// d = a b + c, one warp; a is 16 x K, b is K x 8, c and d are 16 x 8.
template <class T, int K, Mma Kind>
__global__ void multiply(const T* a, const T* b, const float* c, float* d) {
  const int lane = static_cast<int>(threadIdx.x);
  float sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = c[c_place(lane, i).row * 8 + c_place(lane, i).column];
  if constexpr (Kind == Mma::tf32_k8) {
    unsigned ra[4], rb[2];
    gather(ra, a, K, a_place_tf32, lane);
    gather(rb, b, 8, b_place_tf32, lane);
    for (unsigned& r : ra) r = wrappers::round_to_tf32(r);
    for (unsigned& r : rb) r = wrappers::round_to_tf32(r);
    wrappers::mma_m16n8k8_tf32(sums, ra, rb);
  } else if constexpr (Kind == Mma::f16_k8) {
    unsigned ra[2], rb[1];
    gather(ra, a, K, a_place_16, lane);
    gather(rb, b, 8, b_place_16, lane);
    wrappers::mma_m16n8k8_f16(sums, ra, rb);
  } else {
    unsigned ra[4], rb[2];
    gather(ra, a, K, a_place_16, lane);
    gather(rb, b, 8, b_place_16, lane);
    if constexpr (Kind == Mma::f16_k16) {
      wrappers::mma_m16n8k16_f16(sums, ra, rb);
    } else {
      wrappers::mma_m16n8k16_bf16(sums, ra, rb);
    }
  }
  for (int i = 0; i < 4; ++i) d[c_place(lane, i).row * 8 + c_place(lane, i).column] = sums[i];
}

template <class T, int K, Mma Kind>
Tensor product(Device device, const Tensor& a, const Tensor& b, const Tensor& c) {
  const Tensor d = test::poisoned({16, 8}).to(device);
  const Tensor da = a.to(DTypeOf<T>::value).to(device), db = b.to(DTypeOf<T>::value).to(device);
  const Tensor dc = c.to(device);
  launch(THORAX_KERNEL(multiply<T, K, Kind>), device, {dim3(1), dim3(32)}, da.device_data<T>(),
         db.device_data<T>(), dc.device_data<float>(), d.device_data<float>());
  return d.to(Device{});
}

Tensor plain_product(const Tensor& a, const Tensor& b, const Tensor& c) {
  const Tensor d = c.clone();
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j)
      for (int k = 0; k < a.size(1); ++k)
        d.data<float>()[i * 8 + j] +=
            a.data<float>()[i * a.size(1) + k] * b.data<float>()[k * 8 + j];
  return d;
}

template <class T, int K, Mma Kind>
void check_product(Device device) {
  // Whole numbers up to 100 are exact in every type here, their products and sums in float32.
  const Tensor a = test::integers({16, K}, 100, 1), b = test::integers({K, 8}, 100, 2);
  const Tensor c = test::integers({16, 8}, 1000, 3);
  CHECK(test::same_values(product<T, K, Kind>(device, a, b, c), plain_product(a, b, c)));
}

// Lane l names row l of `count` matrices lying one after another; out[lane][register].
template <int N, bool Transposed>
__global__ void load_matrices(const std::uint16_t* from, unsigned* out, int shift) {
  struct Rows {
    std::uint16_t values[33 * 8];
  };
  THORAX_SHARED(Rows, rows);
  for (int i = 0; i < 8; ++i) rows.values[threadIdx.x * 8 + i] = from[threadIdx.x * 8 + i];
  __syncthreads();
  unsigned registers[N];
  if constexpr (Transposed) {
    wrappers::ldmatrix_transposed(registers, rows.values + threadIdx.x * 8 + shift);
  } else {
    wrappers::ldmatrix(registers, rows.values + threadIdx.x * 8 + shift);
  }
  for (int i = 0; i < N; ++i) out[threadIdx.x * N + i] = registers[i];
}

// The registers as pairs of the numbers they hold: element e of 2 N of a lane.
template <int N, bool Transposed>
std::vector<int> loaded(int shift = 0) {
  const Tensor from = Tensor::empty({32 * 8}, DType::f16);
  for (int i = 0; i < 32 * 8; ++i) from.data<Half>()[i].bits = static_cast<std::uint16_t>(i);
  const Tensor there = from.to(kTuring), out = Tensor::zeros({32 * N}, DType::i32, kTuring);
  launch(THORAX_KERNEL(load_matrices<N, Transposed>), kTuring, {dim3(1), dim3(32)},
         static_cast<const std::uint16_t*>(there.raw()), static_cast<unsigned*>(out.raw()), shift);
  const Tensor here = out.to(Device{});
  std::vector<int> result;
  for (int i = 0; i < 32 * N; ++i) {
    const auto bits = static_cast<unsigned>(here.data<std::int32_t>()[i]);
    result.push_back(static_cast<int>(bits & 0xffffu));
    result.push_back(static_cast<int>(bits >> 16));
  }
  return result;
}

template <int N>
void check_load() {
  const std::vector<int> plain = loaded<N, false>(), turned = loaded<N, true>();
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < N; ++matrix) {
      for (int e = 0; e < 2; ++e) {
        const auto at = static_cast<std::size_t>((lane * N + matrix) * 2 + e);
        const int row = lane / 4, column = lane % 4 * 2 + e;
        CHECK(plain[at] == matrix * 64 + row * 8 + column);
        CHECK(turned[at] == matrix * 64 + column * 8 + row);
      }
    }
  }
}

struct Copied {
  float values[128];
};
// Thread t copies 16 bytes of group 0, then 16 of group 1, and writes what it finds after a wait
// for all but `Pending` groups. `valid` bytes of each copy are read.
template <int Pending>
__global__ void copy_later(const float* from, float* out, int valid, bool wait) {
  THORAX_SHARED(Copied, row);
  const unsigned t = threadIdx.x;
  for (unsigned group = 0; group < 2; ++group) {
    wrappers::cp_async<16>(row.values + group * 64 + t * 4, from + group * 64 + t * 4, valid);
    wrappers::cp_async_commit();
  }
  if (wait) wrappers::cp_async_wait<Pending>();
  __syncthreads();
  for (unsigned i = t; i < 128; i += 16) out[i] = row.values[i];
  __syncthreads();
  wrappers::cp_async_wait<0>();
}
template <int Bytes>
__global__ void copy_narrow(const unsigned char* from, unsigned char* out, int shift) {
  THORAX_SHARED(Copied, row);
  auto* to = reinterpret_cast<unsigned char*>(row.values) + threadIdx.x * Bytes;
  wrappers::cp_async<Bytes>(to, from + threadIdx.x * Bytes + shift, Bytes);
  wrappers::cp_async_commit();
  wrappers::cp_async_wait<0>();
  for (int i = 0; i < Bytes; ++i) out[threadIdx.x * Bytes + i] = to[i];
}
__global__ void never_waits(const float* from) {
  THORAX_SHARED(Copied, row);
  wrappers::cp_async<4>(row.values + threadIdx.x, from + threadIdx.x, 4);
  wrappers::cp_async_commit();
}
__global__ void rounds(const unsigned* from, unsigned* to) {
  to[threadIdx.x] = wrappers::round_to_tf32(from[threadIdx.x]);
}

template <int Pending>
Tensor copied(Device device, int valid, bool wait) {
  const Tensor from = Tensor::empty({128});
  for (int i = 0; i < 128; ++i) from.data<float>()[i] = static_cast<float>(i + 1);
  const Tensor there = from.to(device), out = test::poisoned({128}).to(device);
  launch(THORAX_KERNEL(copy_later<Pending>), device, {dim3(1), dim3(16)},
         there.device_data<float>(), out.device_data<float>(), valid, wait);
  return out.to(Device{});
}

}  // namespace

TEST_CASE("ptx: matrix products are those of plain loops") {
  check_product<Half, 8, Mma::f16_k8>(kTuring);
  check_product<Half, 8, Mma::f16_k8>(kHopper);
  check_product<Half, 16, Mma::f16_k16>(kAmpere);
  check_product<BFloat16, 16, Mma::bf16_k16>(kAmpere);
  check_product<float, 8, Mma::tf32_k8>(kAmpere);
  check_product<float, 8, Mma::tf32_k8>(kHopper);
}

TEST_CASE("ptx: an architecture refuses the instructions it lacks") {
  const auto refused = [](auto&& call, const char* text) {
    CHECK_THROWS_WITH_AS(call(), doctest::Contains(text), Error);
  };
  const Tensor a = Tensor::zeros({16, 16}), b = Tensor::zeros({16, 8}), c = Tensor::zeros({16, 8});
  refused([&] { product<Half, 16, Mma::f16_k16>(kTuring, a, b, c); },
          "mma.m16n8k16.f16 needs sm_80");
  refused([&] { product<BFloat16, 16, Mma::bf16_k16>(kTuring, a, b, c); },
          "mma.m16n8k16.bf16 needs sm_80");
  refused([&] { product<float, 8, Mma::tf32_k8>(kTuring, a, b, c); }, "tf32 needs sm_80");
  refused([] { copied<0>(kTuring, 16, true); }, "cp.async needs sm_80");
}

TEST_CASE("ptx: ldmatrix gives each lane the documented elements") {
  check_load<1>();
  check_load<2>();
  check_load<4>();
  CHECK_THROWS_WITH_AS((loaded<4, false>(1)), doctest::Contains("not a multiple of 16"), Error);
}

TEST_CASE("ptx: tf32 rounds to 10 bits, ties away from zero") {
  const std::vector<std::int32_t> in{
      0x3f800000, 0x3f800fff, 0x3f801000, 0x3f801001, -0x407ff000, 0x3f802000, 0x7f800000, 0,
  };
  const std::vector<std::int32_t> want{
      0x3f800000, 0x3f800000, 0x3f802000, 0x3f802000, -0x407fe000, 0x3f802000, 0x7f800000, 0,
  };
  const Tensor there = Tensor::from(in, {8}).to(kAmpere);
  const Tensor out = Tensor::zeros({8}, DType::i32, kAmpere);
  launch(THORAX_KERNEL(rounds), kAmpere, {dim3(1), dim3(8)},
         static_cast<const unsigned*>(there.raw()), static_cast<unsigned*>(out.raw()));
  CHECK(test::same_values(out.to(Device{}), Tensor::from(want, {8})));
}

TEST_CASE("ptx: a copy is there after its wait, not before") {
  const Tensor all = copied<0>(kAmpere, 16, true);
  for (int i = 0; i < 128; ++i) CHECK(all.data<float>()[i] == static_cast<float>(i + 1));
  const Tensor part = copied<0>(kAmpere, 8, true);  // the last 8 of 16 bytes are zeros
  for (int i = 0; i < 128; ++i)
    CHECK(part.data<float>()[i] == (i % 4 < 2 ? static_cast<float>(i + 1) : 0.0f));
  const Tensor first = copied<1>(kAmpere, 16, true);
  const Tensor none = copied<0>(kAmpere, 16, false);
  for (int i = 0; i < 128; ++i) {
    CHECK(std::isnan(first.data<float>()[i]) == (i >= 64));
    CHECK(std::isnan(none.data<float>()[i]));
  }
  const Tensor from = Tensor::zeros({16}, DType::f32, kAmpere);
  CHECK_THROWS_WITH_AS(
      launch(THORAX_KERNEL(never_waits), kAmpere, {dim3(1), dim3(16)}, from.device_data<float>()),
      doctest::Contains("nothing waited for"), Error);
}

TEST_CASE("ptx: copies of 4 and 8 bytes") {
  Tensor from = Tensor::empty({256}, DType::u8);
  for (int i = 0; i < 256; ++i) from.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i);
  const Tensor there = from.to(kAmpere);
  const auto run = [&](auto bytes, int shift) {
    constexpr int kBytes = decltype(bytes)::value;
    const Tensor out = Tensor::zeros({16 * kBytes}, DType::u8, kAmpere);
    launch(THORAX_KERNEL(copy_narrow<kBytes>), kAmpere, {dim3(1), dim3(16)},
           there.device_data<std::uint8_t>(), out.device_data<std::uint8_t>(), shift);
    const Tensor here = out.to(Device{});
    for (int i = 0; i < 16 * kBytes; ++i) CHECK(here.data<std::uint8_t>()[i] == i + shift);
  };
  run(std::integral_constant<int, 4>{}, 4);
  run(std::integral_constant<int, 8>{}, 8);
  CHECK_THROWS_WITH_AS(run(std::integral_constant<int, 8>{}, 4), doctest::Contains("cp.async"),
                       Error);
}
