// The phantom's shapes in body coordinates: x to the right of the image, y down, the thorax within
// about -1..1. The patient's right lung is on the image's left.
#pragma once

#include <algorithm>
#include <vector>

#include "engine/runtime/philox.h"

namespace thorax::phantom {

// A function on [0, 1] sampled once and interpolated: the shapes below cost powers and sines that
// need not be taken again for every pixel.
class Profile {
 public:
  template <class F>
  void sample(const F& f) {
    values_.resize(kSamples + 2);
    for (int i = 0; i < kSamples + 2; ++i)
      values_[static_cast<size_t>(i)] = f(std::min(1.0, static_cast<double>(i) / kSamples));
  }
  double at(double t) const {
    const double position = std::clamp(t, 0.0, 1.0) * kSamples;
    const auto i = static_cast<size_t>(position);
    return values_[i] + (position - static_cast<double>(i)) * (values_[i + 1] - values_[i]);
  }

 private:
  static constexpr int kSamples = 400;
  std::vector<double> values_;
};

struct Lung {
  double side = 1;  // -1: image left, +1: image right
  double apex_x = 0.33, apex_y = -0.72;
  double base_y = 0.62;  // where the outer wall would end without diaphragm
  double outer = 0.40;   // reach of the outer wall beyond the apex
  double inner = 0.22;   // reach of the inner wall towards the spine
  // diaphragm: y = dome_y + fall * (x - dome_x)^2
  double dome_x = 0.34, dome_y = 0.36, dome_fall = 1.6;
  Profile wall, hilum;  // x of the outer and inner edge, by share of the way from apex to base
};

struct Rib {
  double side = 1;
  double start_y = 0, arch = 0, drop = 0, wall_x = 0.7;
  double front_drop = 0, front_end = 0.2;
  double thickness = 0.028, strength = 1;
  // By share of the way from spine to chest wall: y and projected radius behind and in front, and
  // fading.
  Profile back, back_radius, back_weight, front, front_radius, front_weight;
};

struct Vessel {
  double x = 0, y = 0, radius = 0;
};

struct Opacity {
  double x = 0, y = 0, rx = 0.1, ry = 0.1, strength = 0.5, phase = 0;
};

// What stays with a patient.
struct Anatomy {
  double width = 1, height = 1;  // of the whole body
  Lung lungs[2];
  double heart_x = 0.13, heart_y = 0.24, heart_rx = 0.33, heart_ry = 0.25, heart_tilt = 0.5;
  double mediastinum = 0.11;
  double aorta_r = 0.085;
  double fat = 1;  // soft tissue over the chest
  double bone = 1;
  std::vector<Rib> ribs;
  std::vector<Vessel> vessels;  // discs along branching paths
};

Anatomy make_anatomy(Philox& random);

// Distance-like value, positive inside: exact zero line, grows to about the distance to the nearest
// edge.
double inside_lung(const Lung& lung, double x, double y);
// Same for the silhouette of heart and great vessels; positive inside.
double inside_heart(const Anatomy& body, double x, double y);
double inside_mediastinum(const Anatomy& body, double x, double y);

// Sum of bone (ribs, spine, collar bones) at a point, about 0..2.
double bone_at(const Anatomy& body, double x, double y);

// Smooth noise of about -1..1 with `octaves` octaves, a function of position and `key`.
double fractal_noise(uint64_t key, double x, double y, int octaves);

std::vector<Opacity> make_opacities(const Anatomy& body, Philox& random);

}  // namespace thorax::phantom
