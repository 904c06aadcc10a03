#include "data/formats/dicom/gray.h"

#include <algorithm>
#include <cmath>

namespace thorax::dicom {

double Lut::at(double input) const {
  const double place = std::floor(input - first);
  const double last = static_cast<double>(entries.size()) - 1;
  return entries[static_cast<size_t>(std::clamp(place, 0., last))];
}

double Modality::at(int stored) const {
  return lut.entries.empty() ? slope * stored + intercept : lut.at(stored);
}

double Voi::at(double x) const {
  if (!lut.entries.empty())
    return std::min(1., lut.at(x) / static_cast<double>((1 << lut.bits) - 1));
  switch (function) {
    case Function::linear: {  // C.11.2.1.2.1
      const double c = centre - 0.5, w = width - 1;
      return x <= c - w / 2 ? 0 : x > c + w / 2 ? 1 : (x - c) / w + 0.5;
    }
    case Function::linear_exact:  // C.11.2.1.3.2
      return x <= centre - width / 2 ? 0 : x > centre + width / 2 ? 1 : (x - centre) / width + 0.5;
    default:  // C.11.2.1.3.1
      return 1 / (1 + std::exp(-4 * (x - centre) / width));
  }
}

std::string Voi::name() const {
  if (!lut.entries.empty()) return "VOI LUT";
  return function == Function::linear         ? "window (LINEAR)"
         : function == Function::linear_exact ? "window (LINEAR_EXACT)"
                                              : "window (SIGMOID)";
}

std::vector<float> brightness(const Stored& stored, const Modality& modality, const Voi& voi,
                              bool inverted) {
  std::vector<float> out(static_cast<size_t>(stored.count()));
  for (int s = 0; s < stored.count(); ++s) {
    const double v = voi.at(modality.at(s + stored.lowest()));
    out[static_cast<size_t>(s)] = static_cast<float>(inverted ? 1 - v : v);
  }
  return out;
}

}  // namespace thorax::dicom
