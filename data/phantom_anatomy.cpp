#include "data/phantom_anatomy.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace thorax::phantom {
namespace {

constexpr double kPi = std::numbers::pi;
constexpr double kSpine = 0.05;  // where ribs begin

double square(double v) {
  return v * v;
}

// One quarter of a superellipse, from 0 at u = 0 to 1 at u = 1, rising steeply at first.
double bulge(double u, double power) {
  const double v = std::clamp(1 - u, 0.0, 1.0);
  return std::pow(std::max(0.0, 1 - std::pow(v, power)), 1 / power);
}

// A tube seen from the side: bright rims (cortical bone) around a fainter middle. `d` = distance /
// radius.
double tube(double d) {
  d = std::abs(d);
  if (d >= 1.25) return 0;
  const double body = d < 1 ? std::sqrt(1 - d * d) : 0;
  const double rim = std::exp(-square((d - 0.85) / 0.2));
  return 0.55 * body + 0.45 * rim * (d < 1.25 ? 1 : 0);
}

void grow_vessel(std::vector<Vessel>& out, Philox& random, double x, double y, double angle,
                 double radius, double length, int depth) {
  const double step = 0.008;
  const int steps = static_cast<int>(length / step);
  for (int i = 0; i < steps; ++i) {
    x += step * std::cos(angle);
    y += step * std::sin(angle);
    angle += 0.09 * random.normal();
    radius *= 0.988;
    if (radius < 0.0022) return;
    out.push_back({x, y, radius});
  }
  if (depth == 0) return;
  const double spread = random.uniform(0.3, 0.55);
  grow_vessel(out, random, x, y, angle + spread, radius * 0.8, length * random.uniform(0.6, 0.95),
              depth - 1);
  grow_vessel(out, random, x, y, angle - spread, radius * 0.8, length * random.uniform(0.6, 0.95),
              depth - 1);
}

void sample_lung(Lung& l) {
  // The outer wall bends in again towards the base.
  l.wall.sample([&](double u) {
    return l.apex_x + l.outer * bulge(u * 1.15, 2.1) - 0.09 * square(std::max(0.0, u - 0.55));
  });
  l.hilum.sample([&](double u) { return l.apex_x - l.inner * bulge(u * 2.2, 2.4); });
}

void sample_rib(Rib& r) {
  const double reach = r.wall_x - kSpine;
  const auto end = [](double t) { return std::clamp((1 - t) * 14, 0.0, 1.0); };
  const auto radius = [&](double t) { return r.thickness * (1 - 0.25 * t); };
  // Behind: out from the spine, up a little, then down to the wall.
  r.back.sample([&](double t) {
    return r.start_y - r.arch * std::sin(kPi * std::min(1.0, t * 1.25)) +
           r.drop * t * t * (1 + 0.8 * t * t);
  });
  r.back_radius.sample([&](double t) {
    const double slope =
        (-r.arch * 1.25 * kPi * std::cos(kPi * std::min(1.0, t * 1.25)) + 2 * r.drop * t) / reach;
    return radius(t) * std::sqrt(1 + slope * slope);
  });
  r.back_weight.sample(
      [&](double t) { return r.strength * std::clamp(t * 12, 0.0, 1.0) * end(t); });
  // In front: from the wall down towards the breastbone, fainter, ending where cartilage begins.
  const double wall_y = r.start_y + r.drop * 1.8;
  r.front.sample(
      [&](double t) { return wall_y + r.front_drop * std::sqrt(1 - t) * (0.6 + 0.6 * (1 - t)); });
  r.front_radius.sample([&](double t) { return radius(t) * 1.2 * 1.22; });
  const bool seen = r.start_y < 0.25;
  r.front_weight.sample([&](double t) {
    const double across = kSpine + t * reach;
    return seen ? 0.5 * r.strength * std::clamp((across - r.front_end) * 12, 0.0, 1.0) * end(t)
                : 0.0;
  });
}

}  // namespace

Anatomy make_anatomy(Philox& random) {
  Anatomy a;
  const auto vary = [&](double center, double spread) {
    return center + random.uniform(-spread, spread);
  };
  a.width = vary(1.0, 0.06);
  a.height = vary(1.0, 0.06);
  a.fat = vary(1.0, 0.3);
  a.bone = vary(1.0, 0.25);
  a.heart_x = vary(0.13, 0.04);
  a.heart_y = vary(0.22, 0.04);
  a.heart_rx = vary(0.31, 0.05);
  a.heart_ry = vary(0.24, 0.03);
  a.heart_tilt = vary(0.55, 0.15);
  a.mediastinum = vary(0.115, 0.02);
  a.aorta_r = vary(0.09, 0.02);
  const double apex = vary(-0.74, 0.04), dome = vary(0.36, 0.06), wide = vary(0.40, 0.035);
  for (int i = 0; i < 2; ++i) {
    Lung& l = a.lungs[i];
    l.side = i == 0 ? -1 : 1;
    l.apex_x = vary(0.31, 0.02);
    l.apex_y = apex + random.uniform(-0.015, 0.015);
    l.outer = wide + random.uniform(-0.015, 0.015);
    l.inner = l.apex_x - vary(0.085, 0.015);
    // The liver pushes the patient's right dome up.
    l.dome_y = dome + (i == 0 ? -0.02 : 0.025) + random.uniform(-0.015, 0.015);
    l.dome_x = vary(0.30, 0.03);
    l.dome_fall = vary(1.15, 0.3);
    l.base_y = l.dome_y + vary(0.42, 0.05);
    sample_lung(l);
  }
  for (int side = -1; side <= 1; side += 2)
    for (int i = 0; i < 10; ++i) {
      Rib r;
      r.side = side;
      r.start_y = -0.70 + 0.128 * i + random.uniform(-0.008, 0.008);
      r.arch = 0.055 + 0.006 * i;
      r.drop = 0.02 + 0.036 * i;
      r.wall_x = 0.30 + wide * bulge(std::clamp((i + 1.2) / 9.0, 0.0, 1.0), 2.1) + 0.045;
      r.front_drop = 0.20 + 0.012 * i;
      r.front_end = 0.24 + 0.012 * i;
      r.thickness = vary(0.026, 0.003);
      r.strength = vary(1.0, 0.15);
      sample_rib(r);
      a.ribs.push_back(std::move(r));
    }
  for (int side = -1; side <= 1; side += 2)
    for (int i = 0; i < 7; ++i) {
      const double angle = -1.25 + 2.6 * i / 6.0 + random.uniform(-0.12, 0.12);
      const double forward = side < 0 ? kPi - angle : angle;
      grow_vessel(a.vessels, random, side * 0.13, -0.06 + 0.03 * (i - 3), forward,
                  random.uniform(0.013, 0.021), random.uniform(0.13, 0.2), 3);
    }
  return a;
}

double inside_lung(const Lung& lung, double x, double y) {
  const double across = x * lung.side;  // positive towards the lung's side
  const double u = (y - lung.apex_y) / (lung.base_y - lung.apex_y);
  if (u <= 0 || u >= 1.05) return -1;
  const double wall = lung.wall.at(u), inner = lung.hilum.at(u);
  const double dome = lung.dome_y + lung.dome_fall * square(across - lung.dome_x);
  return std::min({wall - across, across - inner, dome - y});
}

double inside_heart(const Anatomy& body, double x, double y) {
  const double c = std::cos(body.heart_tilt), s = std::sin(body.heart_tilt);
  const double dx = x - body.heart_x, dy = y - body.heart_y;
  const double u = (c * dx + s * dy) / body.heart_rx, v = (-s * dx + c * dy) / body.heart_ry;
  const double heart = (1 - std::sqrt(u * u + v * v)) * body.heart_ry;
  const double aorta = body.aorta_r - std::hypot(x - 0.085, (y + 0.30) * 0.8);
  const double trunk = 0.075 - std::hypot((x - 0.135), (y + 0.10) * 0.6);
  return std::max({heart, aorta, trunk});
}

double inside_mediastinum(const Anatomy& body, double x, double y) {
  const double half = body.mediastinum * (1 + 0.25 * std::clamp(y + 0.2, -0.4, 0.8));
  return half - std::abs(x - 0.01);
}

double bone_at(const Anatomy& body, double x, double y) {
  double sum = 0;
  for (const Rib& r : body.ribs) {
    const double t = (x * r.side - kSpine) / (r.wall_x - kSpine);
    if (t < 0 || t > 1) continue;
    const double back = (y - r.back.at(t)) / r.back_radius.at(t);
    if (std::abs(back) < 1.25) sum += r.back_weight.at(t) * tube(back);
    const double front = (y - r.front.at(t)) / r.front_radius.at(t);
    if (std::abs(front) < 1.25) sum += r.front_weight.at(t) * tube(front);
  }
  sum *= std::clamp((0.62 - y) * 4, 0.15, 1.0);  // little contrast against the belly
  // Spine: vertebral bodies with darker discs between, seen through the mediastinum.
  const double vertebra = 0.5 + 0.5 * std::cos((y + 0.05) * 2 * kPi / 0.135);
  const double spine = std::clamp((0.068 - std::abs(x)) / 0.02, 0.0, 1.0);
  sum += spine * (0.28 + 0.34 * std::pow(vertebra, 0.4));
  sum += 0.25 * std::exp(-square((std::abs(x) - 0.062) / 0.012)) * vertebra;
  // Collar bones: from the breastbone out and up.
  for (int side = -1; side <= 1; side += 2) {
    const double across = x * side;
    if (across < 0.07 || across > 0.78) continue;
    const double t = (across - 0.07) / 0.71;
    const double line = -0.60 - 0.20 * t - 0.045 * std::sin(kPi * 1.6 * t);
    const double thick = 0.032 + 0.02 * square(1 - t) + 0.008 * t;
    sum += 0.95 * tube((y - line) / thick) * std::clamp((0.78 - across) * 10, 0.0, 1.0) *
           std::clamp((across - 0.07) * 25, 0.0, 1.0);
  }
  // Shoulder blades: faint sheets with a denser inner border.
  for (int side = -1; side <= 1; side += 2) {
    const double across = x * side;
    const double border = 0.70 + 0.10 * (y + 0.3);
    if (y < -0.62 || y > 0.12 || across < border - 0.03) continue;
    const double sheet =
        std::clamp((across - border) * 30, 0.0, 1.0) * std::clamp((1.02 - across) * 8, 0.0, 1.0) *
        std::clamp((y + 0.62) * 8, 0.0, 1.0) * std::clamp((0.12 - y) * 6, 0.0, 1.0);
    sum += 0.22 * sheet + 0.25 * sheet * std::exp(-square((across - border - 0.02) / 0.018));
  }
  return sum * body.bone;
}

double fractal_noise(uint64_t key, double x, double y, int octaves) {
  double sum = 0, amplitude = 0.5;
  for (int o = 0; o < octaves; ++o) {
    const double fx = std::floor(x), fy = std::floor(y);
    const auto corner = [&](int dx, int dy) {
      const uint64_t cell = static_cast<uint64_t>(static_cast<uint32_t>(static_cast<int>(fx) + dx))
                                << 32 |
                            static_cast<uint32_t>(static_cast<int>(fy) + dy);
      // One multiply-xor round is random enough for texture and much cheaper than Philox.
      uint64_t h =
          (cell ^ (key + static_cast<uint64_t>(o) * 0x9E3779B97F4A7C15ull)) * 0xD6E8FEB86659FD93ull;
      h = (h ^ (h >> 32)) * 0xD6E8FEB86659FD93ull;
      return static_cast<double>(h >> 40) * 0x1p-23 - 1.0;
    };
    const double u = x - fx, v = y - fy;
    const double su = u * u * (3 - 2 * u), sv = v * v * (3 - 2 * v);
    const double top = corner(0, 0) + su * (corner(1, 0) - corner(0, 0));
    const double bottom = corner(0, 1) + su * (corner(1, 1) - corner(0, 1));
    sum += amplitude * (top + sv * (bottom - top));
    amplitude *= 0.5;
    x *= 2;
    y *= 2;
  }
  return sum;
}

std::vector<Opacity> make_opacities(const Anatomy& body, Philox& random) {
  // Hazy patches in both lungs, more of them low and towards the chest wall.
  std::vector<Opacity> out;
  const int count = 4 + static_cast<int>(random.below(5));
  for (int tries = 0; static_cast<int>(out.size()) < count && tries < 400; ++tries) {
    Opacity o;
    o.x = random.uniform(-0.78, 0.78);
    o.y = random.uniform(-0.45, 0.5);
    const double depth =
        std::max(inside_lung(body.lungs[0], o.x, o.y), inside_lung(body.lungs[1], o.x, o.y));
    o.rx = random.uniform(0.08, 0.19);
    o.ry = random.uniform(0.07, 0.16);
    o.strength = random.uniform(0.35, 0.75);
    o.phase = random.uniform(0, 100);
    const bool peripheral = depth < 0.14 || random.uniform() < 0.35;
    const bool low = o.y > -0.1 || random.uniform() < 0.4;
    if (depth > 0.02 && peripheral && low && inside_heart(body, o.x, o.y) < 0) out.push_back(o);
  }
  return out;
}

}  // namespace thorax::phantom
