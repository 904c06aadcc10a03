// The rungs of a published ladder of float32 matrix products, written anew: C = A B, A m x k, B
// k x n, all row by row. "How to Optimize a CUDA Matmul Kernel for cuBLAS-like Performance: a
// Worklog" (Simon Boehm, 2022) has their speeds on an RTX A6000; ladder_test.cpp holds the time
// model against them. Sizes are multiples of the tiles. Alignment and unrolling are spelled out:
// loads of neighbours are then merged in PTX already, where ptxas would do it.

// A thread makes one element; neighbours lie in a column, so that each loads A from another row.
extern "C" __global__ void __launch_bounds__(1024)
    rung_1_naive(const float* a, const float* b, float* c, int n, int k) {
  const int row = blockIdx.y * 32 + threadIdx.x % 32, column = blockIdx.x * 32 + threadIdx.x / 32;
  float sum = 0;
  for (int i = 0; i < k; ++i) sum += a[row * k + i] * b[i * n + column];
  c[row * n + column] = sum;
}

// Neighbours lie in a row.
extern "C" __global__ void __launch_bounds__(1024)
    rung_2_coalesced(const float* a, const float* b, float* c, int n, int k) {
  const int row = blockIdx.y * 32 + threadIdx.x / 32, column = blockIdx.x * 32 + threadIdx.x % 32;
  float sum = 0;
  for (int i = 0; i < k; ++i) sum += a[row * k + i] * b[i * n + column];
  c[row * n + column] = sum;
}

// Tiles of 32 x 32 of A and B in shared memory.
extern "C" __global__ void __launch_bounds__(1024)
    rung_3_shared(const float* a, const float* b, float* c, int n, int k) {
  __shared__ __align__(16) float tile_a[32 * 32], tile_b[32 * 32];
  const int y = threadIdx.x / 32, x = threadIdx.x % 32;
  a += blockIdx.y * 32 * k;
  b += blockIdx.x * 32;
  float sum = 0;
  for (int first = 0; first < k; first += 32) {
    tile_a[y * 32 + x] = a[y * k + x];
    tile_b[y * 32 + x] = b[y * n + x];
    __syncthreads();
    a += 32;
    b += 32 * n;
#pragma unroll
    for (int i = 0; i < 32; ++i) sum += tile_a[y * 32 + i] * tile_b[i * 32 + x];
    __syncthreads();
  }
  c[(blockIdx.y * 32 + y) * n + blockIdx.x * 32 + x] = sum;
}

// A thread makes 8 elements of a column; tiles of 64 x 64, depth 8.
extern "C" __global__ void __launch_bounds__(512)
    rung_4_column(const float* a, const float* b, float* c, int n, int k) {
  __shared__ __align__(16) float tile_a[64 * 8], tile_b[8 * 64];
  const int x = threadIdx.x % 64, y = threadIdx.x / 64 * 8;
  a += blockIdx.y * 64 * k;
  b += blockIdx.x * 64;
  const int row_a = threadIdx.x / 8, column_a = threadIdx.x % 8;
  const int row_b = threadIdx.x / 64, column_b = threadIdx.x % 64;
  float sums[8] = {};
  for (int first = 0; first < k; first += 8) {
    tile_a[row_a * 8 + column_a] = a[row_a * k + column_a];
    tile_b[row_b * 64 + column_b] = b[row_b * n + column_b];
    __syncthreads();
    a += 8;
    b += 8 * n;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float right = tile_b[i * 64 + x];
      for (int r = 0; r < 8; ++r) sums[r] += tile_a[(y + r) * 8 + i] * right;
    }
    __syncthreads();
  }
  for (int r = 0; r < 8; ++r) c[(blockIdx.y * 64 + y + r) * n + blockIdx.x * 64 + x] = sums[r];
}

// A thread makes 8 x 8 elements; tiles of 128 x 128, depth 8.
extern "C" __global__ void __launch_bounds__(256)
    rung_5_square(const float* a, const float* b, float* c, int n, int k) {
  __shared__ __align__(16) float tile_a[128 * 8], tile_b[8 * 128];
  const int x = threadIdx.x % 16 * 8, y = threadIdx.x / 16 * 8;
  a += blockIdx.y * 128 * k;
  b += blockIdx.x * 128;
  const int row_a = threadIdx.x / 8, column_a = threadIdx.x % 8;
  const int row_b = threadIdx.x / 128, column_b = threadIdx.x % 128;
  float sums[8][8] = {}, left[8], right[8];
  for (int first = 0; first < k; first += 8) {
    for (int r = 0; r < 128; r += 32)
      tile_a[(row_a + r) * 8 + column_a] = a[(row_a + r) * k + column_a];
    for (int r = 0; r < 8; r += 2)
      tile_b[(row_b + r) * 128 + column_b] = b[(row_b + r) * n + column_b];
    __syncthreads();
    a += 8;
    b += 8 * n;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      for (int r = 0; r < 8; ++r) left[r] = tile_a[(y + r) * 8 + i];
      for (int s = 0; s < 8; ++s) right[s] = tile_b[i * 128 + x + s];
      for (int r = 0; r < 8; ++r)
        for (int s = 0; s < 8; ++s) sums[r][s] += left[r] * right[s];
    }
    __syncthreads();
  }
  for (int r = 0; r < 8; ++r)
    for (int s = 0; s < 8; ++s)
      c[(blockIdx.y * 128 + y + r) * n + blockIdx.x * 128 + x + s] = sums[r][s];
}

// The same with 16 bytes at a time, A turned round on its way to shared memory.
extern "C" __global__ void __launch_bounds__(256)
    rung_6_vectors(const float* a, const float* b, float* c, int n, int k) {
  __shared__ __align__(16) float tile_a[8 * 128], tile_b[8 * 128];
  const int x = threadIdx.x % 16 * 8, y = threadIdx.x / 16 * 8;
  a += blockIdx.y * 128 * k;
  b += blockIdx.x * 128;
  const int row_a = threadIdx.x / 2, column_a = threadIdx.x % 2 * 4;
  const int row_b = threadIdx.x / 32, column_b = threadIdx.x % 32 * 4;
  float sums[8][8] = {}, left[8], right[8];
  for (int first = 0; first < k; first += 8) {
    const float4 part = *reinterpret_cast<const float4*>(a + row_a * k + column_a);
    tile_a[(column_a + 0) * 128 + row_a] = part.x;
    tile_a[(column_a + 1) * 128 + row_a] = part.y;
    tile_a[(column_a + 2) * 128 + row_a] = part.z;
    tile_a[(column_a + 3) * 128 + row_a] = part.w;
    *reinterpret_cast<float4*>(tile_b + row_b * 128 + column_b) =
        *reinterpret_cast<const float4*>(b + row_b * n + column_b);
    __syncthreads();
    a += 8;
    b += 8 * n;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      for (int r = 0; r < 8; ++r) left[r] = tile_a[i * 128 + y + r];
      for (int s = 0; s < 8; ++s) right[s] = tile_b[i * 128 + x + s];
      for (int r = 0; r < 8; ++r)
        for (int s = 0; s < 8; ++s) sums[r][s] += left[r] * right[s];
    }
    __syncthreads();
  }
  for (int r = 0; r < 8; ++r)
    for (int s = 0; s < 8; s += 4)
      *reinterpret_cast<float4*>(c + (blockIdx.y * 128 + y + r) * n + blockIdx.x * 128 + x + s) =
          make_float4(sums[r][s], sums[r][s + 1], sums[r][s + 2], sums[r][s + 3]);
}
