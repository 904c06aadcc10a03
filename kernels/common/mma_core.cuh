// What the products on tensor cores (gpu_mma.cuh) share: the four arithmetics, tiles in shared
// memory, and loads in pieces that fit the channel count. kernels/conv2d/TENSOR_CORES.md draws the
// index maps.
#pragma once

#include <cstdint>

#include "engine/runtime/launch.cuh"
#include "kernels/common/gpu_mma.cuh"
#include "kernels/common/ptx.cuh"
#include "kernels/common/vec.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {

// An arithmetic: the type in memory, how tiles come to shared memory (kAsync: cp.async, kStages
// buffers; else through registers, two buffers), and the product of a 16 x 8 tile over 32 bytes of
// depth: 16 halves or 8 floats.
struct HalfTuring {
  using Element = Half;
  static constexpr bool kAsync = false;
  static constexpr int kStages = 2;
  static __device__ __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2]) {
    const unsigned low_a[2] = {a[0], a[1]}, high_a[2] = {a[2], a[3]};
    const unsigned low_b[1] = {b[0]}, high_b[1] = {b[1]};
    ptx::mma_m16n8k8_f16(c, low_a, low_b);
    ptx::mma_m16n8k8_f16(c, high_a, high_b);
  }
};
struct HalfAmpere {
  using Element = Half;
  static constexpr bool kAsync = true;
  static constexpr int kStages = 4;
  static __device__ __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2]) {
    ptx::mma_m16n8k16_f16(c, a, b);
  }
};
struct BFloat16Ampere {
  using Element = BFloat16;
  static constexpr bool kAsync = true;
  static constexpr int kStages = 4;
  static __device__ __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2]) {
    ptx::mma_m16n8k16_bf16(c, a, b);
  }
};
// float32 tensors whose factors are rounded to 10 bits of fraction on their way into the product.
struct Tf32Ampere {
  using Element = float;
  static constexpr bool kAsync = true;
  static constexpr int kStages = 4;
  static __device__ __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2]) {
    ptx::mma_m16n8k8_tf32(c, a, b);
  }
};
// Applied to every register of operands.
template <class Math>
__device__ __forceinline__ unsigned operand(unsigned bits) {
  if constexpr (std::is_same_v<Math, Tf32Ampere>) {
    return ptx::round_to_tf32(bits);
  } else {
    return bits;
  }
}

// A block's part of the result (M x N) and a warp's.
template <int M, int N, int WarpM, int WarpN>
struct Tile {
  static constexpr int kM = M, kN = N, kWarpM = WarpM, kWarpN = WarpN;
  static constexpr int kWarpsN = N / WarpN;
  static constexpr int kThreads = M / WarpM * kWarpsN * 32;
  static_assert(M % WarpM == 0 && N % WarpN == 0 && WarpM % 16 == 0 && WarpN % 16 == 0);
};

// n / divisor for n < 2^31 (Granlund and Montgomery, PLDI 1994).
struct Divider {
  unsigned divisor = 1, multiplier = 1, shift = 0;
  Divider() = default;
  explicit Divider(std::int64_t by) : divisor(by > 0 ? static_cast<unsigned>(by) : 1) {
    while ((std::uint64_t{1} << shift) < divisor) ++shift;
    multiplier = static_cast<unsigned>(
        (std::uint64_t{1} << 32) * ((std::uint64_t{1} << shift) - divisor) / divisor + 1);
  }
  __device__ __forceinline__ int quotient(int n) const {
    const auto m = static_cast<unsigned>(n);
    return static_cast<int>((__umulhi(m, multiplier) + m) >> shift);
  }
};

// Shared memory is laid out in chunks of 16 bytes. Rows of Chunks chunks; chunks of a row are
// permuted so that neither the store of whole rows nor ldmatrix, which reads the same chunk of
// eight consecutive rows, meets a bank twice.
template <int Chunks>
__device__ __forceinline__ int swizzled(int row, int chunk) {
  static_assert(Chunks == 4 || Chunks % 8 == 0);
  const int turn = Chunks == 4 ? row / 2 % 4 : row % 8;
  return (row * Chunks + (chunk ^ turn)) * 16;
}

// Reads piece number `piece` (Bytes of the 16 of a chunk) into registers; zero unless `inside`.
template <int Bytes>
__device__ __forceinline__ void load_piece(unsigned (&chunk)[4], int piece, const void* from,
                                           bool inside) {
  if constexpr (Bytes == 16) {
    const uint4 v = inside ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
    chunk[0] = v.x;
    chunk[1] = v.y;
    chunk[2] = v.z;
    chunk[3] = v.w;
  } else if constexpr (Bytes == 4) {
    chunk[piece] = inside ? *static_cast<const unsigned*>(from) : 0u;
  } else {
    static_assert(Bytes == 2);
    const unsigned v = inside ? *static_cast<const unsigned short*>(from) : 0u;
    chunk[piece / 2] = piece % 2 == 0 ? v : chunk[piece / 2] | v << 16;
  }
}
// The same to shared memory, without registers where the piece is wide enough for cp.async.
template <int Bytes>
__device__ __forceinline__ void copy_piece(unsigned char* chunk, int piece, const void* from,
                                           bool inside) {
  if constexpr (Bytes >= 4) {
    ptx::cp_async<Bytes>(chunk + piece * Bytes, from, inside ? Bytes : 0);
  } else {
    *reinterpret_cast<unsigned short*>(chunk + piece * Bytes) =
        inside ? *static_cast<const unsigned short*>(from) : static_cast<unsigned short>(0);
  }
}

// Multiplies `steps` steps of depth, each brought to shared memory by all threads of the block
// before all of them multiply it. read(step, to_a, to_b) calls to_a(i, piece, address, inside) for
// every piece of the thread's i-th chunk of the left tile, and to_b for the right one's; Reader
// knows their places in a stage.
template <class Math, int Bytes, class Reader, class Read, class Sums>
__device__ __forceinline__ void add_steps(unsigned char* memory, int steps, const Reader& reader,
                                          const Read& read, Sums& sums) {
  if constexpr (Math::kAsync) {
    // kStages - 1 steps are under way while one is multiplied. Groups are committed even when
    // empty, so that "all but the last kStages - 2" always means the step that comes next.
    const auto begin = [&](int step) {
      if (step < steps) {
        unsigned char* const stage = memory + step % Math::kStages * Reader::kStageBytes;
        read(
            step,
            [&](int i, int piece, const void* from, bool inside) {
              copy_piece<Bytes>(stage + reader.place_a(i), piece, from, inside);
            },
            [&](int i, int piece, const void* from, bool inside) {
              copy_piece<Bytes>(stage + reader.place_b(i), piece, from, inside);
            });
      }
      ptx::cp_async_commit();
    };
    for (int step = 0; step < Math::kStages - 1; ++step) begin(step);
    for (int step = 0; step < steps; ++step) {
      ptx::cp_async_wait<Math::kStages - 2>();
      __syncthreads();  // this step is there for all, and the stage filled next is read by nobody
      begin(step + Math::kStages - 1);
      sums.add(memory + step % Math::kStages * Reader::kStageBytes);
    }
  } else {
    unsigned a[Reader::kA][4], b[Reader::kB][4];
    const auto fetch = [&](int step) {
      read(
          step,
          [&](int i, int piece, const void* from, bool inside) {
            load_piece<Bytes>(a[i], piece, from, inside);
          },
          [&](int i, int piece, const void* from, bool inside) {
            load_piece<Bytes>(b[i], piece, from, inside);
          });
    };
    const auto put = [&](int step) {
      unsigned char* const stage = memory + step % 2 * Reader::kStageBytes;
#pragma unroll
      for (int i = 0; i < Reader::kA; ++i)
        *reinterpret_cast<uint4*>(stage + reader.place_a(i)) =
            make_uint4(a[i][0], a[i][1], a[i][2], a[i][3]);
#pragma unroll
      for (int i = 0; i < Reader::kB; ++i)
        *reinterpret_cast<uint4*>(stage + reader.place_b(i)) =
            make_uint4(b[i][0], b[i][1], b[i][2], b[i][3]);
    };
    if (steps > 0) {
      fetch(0);
      put(0);
    }
    __syncthreads();
    for (int step = 0; step < steps; ++step) {
      // The loads of the next step are in flight while this one is multiplied.
      if (step + 1 < steps) fetch(step + 1);
      sums.add(memory + step % 2 * Reader::kStageBytes);
      if (step + 1 < steps) put(step + 1);
      __syncthreads();
    }
  }
}

// Calls fn(std::integral_constant<int, Bytes>) with the widest piece that never crosses a filter
// tap and is aligned: `channels` per group and the distances of all tensors read decide.
template <class T, class Fn>
void with_piece(std::int64_t channels, std::initializer_list<const Tensor*> pixels, const Fn& fn) {
  const auto fits = [&](std::int64_t bytes) {
    if (channels * static_cast<std::int64_t>(sizeof(T)) % bytes != 0) return false;
    for (const Tensor* t : pixels) {
      if (reinterpret_cast<std::uintptr_t>(t->raw()) % static_cast<std::uintptr_t>(bytes) != 0 ||
          t->pixel_stride() * static_cast<std::int64_t>(sizeof(T)) % bytes != 0)
        return false;
    }
    return true;
  };
  if (fits(16)) return fn(std::integral_constant<int, 16>{});
  if constexpr (sizeof(T) == 4) {
    fn(std::integral_constant<int, 4>{});
  } else {
    if (fits(4)) return fn(std::integral_constant<int, 4>{});
    fn(std::integral_constant<int, 2>{});
  }
}

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
