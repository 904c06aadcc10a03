#include "engine/runtime/ptx/steps.h"

namespace thorax::ptx {

const StepTables& steps_v3() {
  return kTables;
}

}  // namespace thorax::ptx
