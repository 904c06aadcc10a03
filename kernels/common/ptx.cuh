// The instructions that CUDA C++ has no name for: the only place with PTX. Each wrapper is one
// instruction on a GPU and has its meaning, element by element, on the simulated device; layouts
// and rules are those of NVIDIA's "PTX ISA", sections ldmatrix, mma, cp.async and cvt.
//
// All matrix instructions are made by a whole warp together. With group = lane / 4 and t = lane % 4
// a lane holds of the operands of mma.m16n8kK (a row x column, counted in elements):
//   A (16 x K)  16 bit: register i holds (group + 8 (i % 2), 2t + 8 (i / 2)) and its right
//   neighbour
//               tf32:   register i holds (group + 8 (i % 2), t + 4 (i / 2))
//   B (K x 8)   16 bit: register i holds (2t + 8 i, group) and the element below it
//               tf32:   register i holds (t + 4 i, group)
//   C (16 x 8)  float i is (group + 8 (i / 2), 2t + i % 2)
// The lower half of a register is the first of its two 16-bit elements.
//
// In a build for an architecture that lacks an instruction its wrapper is a trap: a kernel that
// uses it compiles everywhere, and its provider's priority() refuses the device.
#pragma once

#include <cstdint>

#include "engine/runtime/launch.cuh"
#include "engine/tensor/half.h"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define THORAX_PTX_SM80(...) __trap()
#else
#define THORAX_PTX_SM80(...) __VA_ARGS__
#endif

namespace thorax {
namespace THORAX_GPU {
namespace ptx {

#if !defined(__CUDACC__)
namespace meaning {

// The elements of one 32-bit register.
inline float element(unsigned bits, int which, Half) {
  return to_float(Half{static_cast<std::uint16_t>(bits >> (16 * which))});
}
inline float element(unsigned bits, int which, BFloat16) {
  return to_float(BFloat16{static_cast<std::uint16_t>(bits >> (16 * which))});
}
// tf32: the unit does not see the last 13 bits.
inline float element(unsigned bits, int, float) {
  return __uint_as_float(bits & 0xffffe000u);
}

// C += A B for elements of type T: products and sums in float, in the order of k.
template <class T, int K, int RegistersA, int RegistersB>
void mma(float (&c)[4], const unsigned (&a)[RegistersA], const unsigned (&b)[RegistersB]) {
  constexpr int kPer = 4 / static_cast<int>(sizeof(T));  // elements of a register
  static_assert(RegistersA * kPer * 32 == 16 * K && RegistersB * kPer * 32 == 8 * K);
  struct Operands {
    unsigned a[RegistersA], b[RegistersB];
    float c[4];
  } mine;
  std::memcpy(mine.a, a, sizeof(mine.a));
  std::memcpy(mine.b, b, sizeof(mine.b));
  std::memcpy(mine.c, c, sizeof(mine.c));
  sim::warp_collective(
      &mine, sizeof(mine), c, sizeof(mine.c), [](const unsigned char* in, unsigned char* out) {
        float matrix_a[16][K], matrix_b[K][8];
        for (int lane = 0; lane < 32; ++lane) {
          Operands of;
          std::memcpy(&of, in + static_cast<std::size_t>(lane) * sizeof(of), sizeof(of));
          const int group = lane / 4, t = lane % 4;
          for (int i = 0; i < RegistersA; ++i)
            for (int e = 0; e < kPer; ++e)
              matrix_a[group + 8 * (i % 2)][t * kPer + e + 4 * kPer * (i / 2)] =
                  element(of.a[i], e, T{});
          for (int i = 0; i < RegistersB; ++i)
            for (int e = 0; e < kPer; ++e)
              matrix_b[t * kPer + e + 4 * kPer * i][group] = element(of.b[i], e, T{});
        }
        for (int lane = 0; lane < 32; ++lane) {
          Operands of;
          std::memcpy(&of, in + static_cast<std::size_t>(lane) * sizeof(of), sizeof(of));
          for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
            for (int k = 0; k < K; ++k) of.c[i] += matrix_a[row][k] * matrix_b[k][column];
          }
          std::memcpy(out + static_cast<std::size_t>(lane) * sizeof(of.c), of.c, sizeof(of.c));
        }
      });
}

template <int N>
void ldmatrix(unsigned (&to)[N], const void* row, bool transposed) {
  sim::require_architecture(75, "ldmatrix");
  sim::require_shared(row, "ldmatrix of");
  THORAX_CHECK(reinterpret_cast<std::uintptr_t>(row) % 16 == 0,
               "[sim] ldmatrix from an address that is not a multiple of 16");
  // Each lane reads the row it names when it arrives: what another lane writes later without a
  // barrier is not seen.
  unsigned char mine[16] = {};
  if (sim::current_thread().lane < 8 * N) std::memcpy(mine, row, sizeof(mine));
  sim::warp_collective(mine, sizeof(mine), to, sizeof(to),
                       [transposed](const unsigned char* in, unsigned char* out) {
                         for (int lane = 0; lane < 32; ++lane) {
                           for (int e = 0; e < 2 * N; ++e) {
                             const int first = lane / 4, second = lane % 4 * 2 + e % 2;
                             const int matrix_row = transposed ? second : first;
                             const int column = transposed ? first : second;
                             std::memcpy(out + (lane * 2 * N + e) * 2,
                                         in + (e / 2 * 8 + matrix_row) * 16 + column * 2, 2);
                           }
                         }
                       });
}

}  // namespace meaning
#else
// The address that instructions on shared memory take.
__device__ inline unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}
#endif

// Loads N (1, 2 or 4) matrices of 8 x 8 16-bit elements from shared memory. Lane 8 i + j names row
// j of matrix i: 16 bytes, aligned to 16. Register i of a lane gets elements (group, 2t) and
// (group, 2t + 1) of matrix i. On sm_75 every lane must name a valid address, whatever N. The same
// instruction loads 8 x 4 matrices of 32-bit elements: a lane gets (group, t).
template <int N>
__device__ __forceinline__ void ldmatrix(unsigned (&to)[N], const void* row) {
#if defined(__CUDACC__)
  const unsigned from = shared_address(row);
  if constexpr (N == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(to[0])
                 : "r"(from)
                 : "memory");
  } else if constexpr (N == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(from)
                 : "memory");
  } else {
    static_assert(N == 4);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
  }
#else
  meaning::ldmatrix(to, row, false);
#endif
}

// The same with each matrix transposed: a lane gets elements (2t, group) and (2t + 1, group).
template <int N>
__device__ __forceinline__ void ldmatrix_transposed(unsigned (&to)[N], const void* row) {
#if defined(__CUDACC__)
  const unsigned from = shared_address(row);
  if constexpr (N == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(to[0])
                 : "r"(from)
                 : "memory");
  } else if constexpr (N == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(from)
                 : "memory");
  } else {
    static_assert(N == 4);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
  }
#else
  meaning::ldmatrix(to, row, true);
#endif
}

// C (16 x 8, float32) += A (16 x 8) B (8 x 8), float16. sm_75.
__device__ __forceinline__ void mma_m16n8k8_f16(float (&c)[4], const unsigned (&a)[2],
                                                const unsigned (&b)[1]) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(b[0]));
#else
  sim::require_architecture(75, "mma.m16n8k8.f16");
  meaning::mma<Half, 8>(c, a, b);
#endif
}

// C (16 x 8, float32) += A (16 x 16) B (16 x 8), float16. sm_80.
__device__ __forceinline__ void mma_m16n8k16_f16(float (&c)[4], const unsigned (&a)[4],
                                                 const unsigned (&b)[2]) {
#if defined(__CUDACC__)
  THORAX_PTX_SM80(
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                   "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                   : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])));
#else
  sim::require_architecture(80, "mma.m16n8k16.f16");
  meaning::mma<Half, 16>(c, a, b);
#endif
}

// The same for bfloat16. sm_80.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&c)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2]) {
#if defined(__CUDACC__)
  THORAX_PTX_SM80(
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                   "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                   : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])));
#else
  sim::require_architecture(80, "mma.m16n8k16.bf16");
  meaning::mma<BFloat16, 16>(c, a, b);
#endif
}

// C (16 x 8, float32) += A (16 x 8) B (8 x 8) of float32 bits, of which the last 13 are not seen:
// round with round_to_tf32 first. sm_80.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&c)[4], const unsigned (&a)[4],
                                                 const unsigned (&b)[2]) {
#if defined(__CUDACC__)
  THORAX_PTX_SM80(
      asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                   "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                   : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])));
#else
  sim::require_architecture(80, "mma.m16n8k8.tf32");
  meaning::mma<float, 8>(c, a, b);
#endif
}

// The nearest number with 10 bits of fraction, ties away from zero, as float32 bits. sm_80.
__device__ __forceinline__ unsigned round_to_tf32(unsigned float_bits) {
#if defined(__CUDACC__)
  unsigned result = 0;
  THORAX_PTX_SM80(asm("cvt.rna.tf32.f32 %0, %1;"
                      : "=r"(result)
                      : "f"(__uint_as_float(float_bits))));
  return result;
#else
  sim::require_architecture(80, "cvt.rna.tf32");
  if ((float_bits & 0x7f800000u) == 0x7f800000u) return float_bits;  // infinity, NaN
  return (float_bits + 0x1000u) & 0xffffe000u;
#endif
}

// Starts a copy of Bytes (4, 8 or 16; both addresses a multiple of it) from global to shared memory
// without registers; the first `valid` bytes are read, the rest become zero. sm_80.
template <int Bytes>
__device__ __forceinline__ void cp_async(void* to_shared, const void* from_global, int valid) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
#if defined(__CUDACC__)
  const unsigned to = shared_address(to_shared);
  if constexpr (Bytes == 16) {  // past the first-level cache: a tile is read once
    THORAX_PTX_SM80(asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
                                 "l"(from_global), "r"(valid)
                                 : "memory"));
  } else {
    THORAX_PTX_SM80(asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to),
                                 "l"(from_global), "n"(Bytes), "r"(valid)
                                 : "memory"));
  }
  (void)to;
  (void)from_global;
  (void)valid;
#else
  sim::async_copy(to_shared, from_global, Bytes, valid);
#endif
}

// Closes the group of copies that this thread started since the last commit. sm_80.
__device__ __forceinline__ void cp_async_commit() {
#if defined(__CUDACC__)
  THORAX_PTX_SM80(asm volatile("cp.async.commit_group;" ::: "memory"));
#else
  sim::require_architecture(80, "cp.async.commit_group");
  sim::async_commit();
#endif
}

// Waits for this thread's groups except the last N; other threads see the data after a barrier.
// sm_80.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
#if defined(__CUDACC__)
  THORAX_PTX_SM80(asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"));
#else
  sim::require_architecture(80, "cp.async.wait_group");
  sim::async_wait(N);
#endif
}

}  // namespace ptx
}  // namespace THORAX_GPU
}  // namespace thorax
