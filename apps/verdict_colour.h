// In which colour the lungs of an image are drawn, by what was said of it.
#pragma once

#include "apps/inference/predictor.h"
#include "data/overlay.h"

namespace thorax::app {

// Blue: the negative or first class; orange: the positive one or another; red: rejected.
inline Rgb verdict_colour(const Prediction& p) {
  return !p.predicted ? kVermillion : *p.predicted > 0 ? kOrange : kBlue;
}

}  // namespace thorax::app
