// Arithmetic in the rounding modes that C++ has no expression for.
#pragma once

namespace thorax::ptx {

// 32 lanes of a * b + c towards minus infinity (.rm), of a + b towards zero (.rz).
void fma_down(const float* a, const float* b, const float* c, float* to);
void add_towards_zero(const float* a, const float* b, float* to);

}  // namespace thorax::ptx
