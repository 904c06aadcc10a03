// Variables as text, by <<: their values (engine/tensor/print.h).
#pragma once

#include <ostream>

#include "engine/autograd/variable.h"
#include "engine/tensor/print.h"

namespace thorax {

inline std::ostream& operator<<(std::ostream& out, const Variable& variable) {
  return out << (variable.defined() ? variable.value() : Tensor{});
}

}  // namespace thorax
