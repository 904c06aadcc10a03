#include "apps/inference/mirror.h"

#include "engine/tensor/error.h"

namespace thorax {

bool parse_tta(const std::string& text) {
  THORAX_CHECK(text == "none" || text == "flip", "[tta] '{}' is neither none nor flip", text);
  return text == "flip";
}

}  // namespace thorax
