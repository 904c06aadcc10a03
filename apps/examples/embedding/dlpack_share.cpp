// A library of two functions that share tensors with Python (dlpack_share.py) and copy nothing:
//   g++ -shared -fPIC dlpack_share.cpp $(pkg-config --cflags --libs thorax) -o libdlpack_share.so
#include "engine/tensor/dlpack.h"

using namespace thorax;

// 0, 1, 2, ... as 2 x 3 x 4, for somebody else.
extern "C" dlpack::Managed* share_counting() {
  const Tensor t = Tensor::empty({2, 3, 4});
  for (std::int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = static_cast<float>(i);
  return to_dlpack_unversioned(t);
}

// Doubles the floats of somebody else where they are. 0, or 1 if they cannot be taken; they are
// then still the caller's.
extern "C" int share_double(dlpack::Managed* given) {
  try {
    const Tensor t = from_dlpack(given);
    for (std::int64_t p = 0; p < t.pixels(); ++p)
      for (std::int64_t c = 0; c < t.channels(); ++c)
        t.data<float>()[p * t.pixel_stride() + c] *= 2;
    return 0;
  } catch (const Error&) {
    return 1;
  }
}
