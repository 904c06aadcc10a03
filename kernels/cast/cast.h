// The same values in another element type.
#pragma once

#include "engine/autograd/variable.h"

namespace thorax {

// y[i] = x[i] in another floating-point type, to nearest, ties to even; too large for it becomes
// infinite. Any shape, channel slices included; y is contiguous. The gradient is cast back to x's
// type. x itself when it has that type already. f16 and bf16 need no provider: the tensor's own
// copy does it on every device. Throws Error "[cast] ..." for types that are not floating point.
Variable cast(const Variable& x, DType dtype);

}  // namespace thorax
