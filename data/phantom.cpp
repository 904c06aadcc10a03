#include "data/phantom.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <mutex>
#include <string_view>
#include <thread>

#include "data/draw.h"
#include "data/encode.h"
#include "data/phantom_anatomy.h"
#include "engine/io/output_folder.h"
#include "engine/runtime/philox.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace fs = std::filesystem;
using namespace phantom;
namespace {

// Streams of a patient: 0 decides count and class, 1 the anatomy, 16 + n image n (then + pixel
// noise).
Philox patient_random(const PhantomConfig& c, int patient, uint64_t purpose) {
  return Philox(c.seed, uint64_t{1} << 61 | static_cast<uint64_t>(patient) << 16 | purpose);
}

// What belongs to one exposure.
struct View {
  double shift_x = 0, shift_y = 0, turn = 0, zoom = 1;
  double gain = 1, gamma = 1, lift = 0, noise = 0.01, tilt = 0;
  bool tubes = false;
  std::string_view marker, text;
  uint64_t key = 0;
};

View make_view(const PhantomConfig& c, bool positive, Philox& random) {
  View v;
  v.shift_x = random.uniform(-0.05, 0.05);
  v.shift_y = random.uniform(-0.05, 0.05);
  v.turn = random.uniform(-0.06, 0.06);
  v.zoom = random.uniform(1.06, 1.18);
  v.gain = random.uniform(0.85, 1.2);
  v.gamma = random.uniform(0.8, 1.3);
  v.lift = random.uniform(0.0, 0.06);
  v.noise = random.uniform(0.006, 0.02);
  v.tilt = random.uniform(-0.08, 0.08);
  v.tubes = random.uniform() < 0.25;
  v.marker = random.uniform() < 0.7 ? (random.uniform() < 0.5 ? "L" : "R") : "";
  const double kind = random.uniform();
  v.text = kind < 0.2 ? "PORTABLE" : kind < 0.4 ? "AP" : kind < 0.5 ? "PA ERECT" : "";
  const bool confounded = random.uniform() < c.confounding;
  if (confounded) {
    v.text = positive ? "PORTABLE" : "PA ERECT";
    v.gain = positive ? 1.2 : 0.9;
  }
  v.key = random.next_u64();
  return v;
}

// Soft tissue seen along the ray: 0 outside of the body.
double body_at(const Anatomy& a, double x, double y) {
  const double ax = std::abs(x) / a.width;
  // Shoulders slope down from the neck; below the armpit the arms part from the trunk.
  const double slope = -0.90 + 0.34 * std::max(0.0, ax - 0.17) - 0.10 * std::exp(-ax * ax * 18);
  const double below = std::clamp((y - slope) * 9, 0.0, 1.0);
  const double trunk_half = 0.93 + 0.06 * y;
  const double trunk = below * std::clamp((trunk_half - ax) * 6, 0.0, 1.0);
  const double gap = trunk_half + std::max(-0.2, 0.35 * (y + 0.05));
  const double arm = below * std::clamp((ax - gap) * 8, 0.0, 1.0);
  const double neck = std::clamp((0.25 + 0.05 * std::max(0.0, y + 0.95) - ax) * 8, 0.0, 1.0);
  const double outline = std::max({trunk, arm, neck});
  const double round = std::sqrt(std::max(0.12, 1 - 0.6 * ax * ax));
  return outline * (0.60 + 0.16 * a.fat * (0.4 + 0.6 * std::max(0.0, y + 0.3))) * round;
}

double smooth(double value, double width) {
  const double t = std::clamp(value / width, 0.0, 1.0);
  return t * t * (3 - 2 * t);
}

// Discs of the vessel tree as a picture, so that drawing costs their area and not all pixels times
// all discs.
Image draw_vessels(const Anatomy& a, int size, const View& v) {
  Image out(size, size, 1);
  const double c = std::cos(v.turn), s = std::sin(v.turn), half = size / 2.0;
  for (const Vessel& p : a.vessels) {
    const double bx = p.x * a.width * v.zoom, by = p.y * a.height * v.zoom;
    const double px = (c * bx - s * by + v.shift_x + 1) * half - 0.5,
                 py = (s * bx + c * by + v.shift_y + 1) * half - 0.5;
    const double r = std::max(0.6, p.radius * half);
    const int reach = static_cast<int>(r * 2.2) + 1;
    for (int y = static_cast<int>(py) - reach; y <= static_cast<int>(py) + reach; ++y)
      for (int x = static_cast<int>(px) - reach; x <= static_cast<int>(px) + reach; ++x) {
        if (x < 0 || y < 0 || x >= size || y >= size) continue;
        const double d2 = ((x - px) * (x - px) + (y - py) * (y - py)) / (r * r);
        const float w = static_cast<float>(std::exp(-d2) * std::min(1.0, p.radius / 0.016));
        out.at(y, x) = std::max(out.at(y, x), w);
      }
  }
  return out;
}

void draw_marks(Image& image, const View& v, Philox& random) {
  const int size = image.height, unit = std::max(1, size / 170);
  ImageU8 marks(size, size, 1);
  const int left = static_cast<int>(size * random.uniform(0.03, 0.08)),
            top = static_cast<int>(size * random.uniform(0.03, 0.12));
  if (!v.marker.empty()) {
    const int x = v.marker == "L" ? size - left - text_width("L", 2 * unit) : left;
    draw_text(marks, v.marker, top, x, {230, 230, 230}, 2 * unit);
  }
  if (!v.text.empty()) {
    const int x = random.uniform() < 0.5 ? left : size - left - text_width(v.text, unit);
    draw_text(marks, v.text, size - top - kGlyphHeight * unit, x, {220, 220, 220}, unit);
  }
  if (v.tubes) {  // a monitoring lead: a thin bright curve
    const double y0 = random.uniform(0.1, 0.4), bend = random.uniform(-0.25, 0.25),
                 x0 = random.uniform(0.1, 0.3), x1 = random.uniform(0.6, 0.9);
    for (double t = 0; t <= 1; t += 0.25 / size) {
      const int x = static_cast<int>(size * (x0 + (x1 - x0) * t)),
                y = static_cast<int>(size * (y0 + 0.35 * t + bend * std::sin(3.1 * t)));
      fill_rectangle(marks, y, x, std::max(1, size / 256), std::max(1, size / 256),
                     {200, 200, 200});
    }
  }
  for (size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = std::max(image.pixels[i], static_cast<float>(marks.pixels[i]) / 255.f);
}

}  // namespace

bool is_positive(const PhantomConfig& c, int patient) {
  // Evenly spread over the patients, so that small sets have the share asked for.
  return std::floor((patient + 1) * c.positive_share) > std::floor(patient * c.positive_share);
}

int images_of_patient(const PhantomConfig& c, int patient) {
  Philox random = patient_random(c, patient, 0);
  return 1 + static_cast<int>(random.below(static_cast<uint64_t>(std::max(1, c.max_images))));
}

std::vector<std::pair<int, int>> phantom_list(const PhantomConfig& c) {
  std::vector<std::pair<int, int>> out;
  for (int p = 0; p < c.patients; ++p)
    for (int n = 0; n < images_of_patient(c, p); ++n) out.emplace_back(p, n);
  return out;
}

Phantom make_phantom(const PhantomConfig& config, int patient, int number) {
  THORAX_CHECK(config.size >= 32 && config.size <= 4096, "[phantom] size {} is not in 32..4096",
               config.size);
  THORAX_CHECK(config.positive_share >= 0 && config.positive_share <= 1 &&
                   config.confounding >= 0 && config.confounding <= 1,
               "[phantom] positive_share {} and confounding {} must be in 0..1",
               config.positive_share, config.confounding);
  THORAX_CHECK(patient >= 0 && number >= 0, "[phantom] no patient {} image {}", patient, number);
  const int size = config.size;
  Phantom out;
  out.positive = is_positive(config, patient);
  out.patient = fmt::format("P{:04}", patient);
  out.name = fmt::format("PHANTOM_{:04}_{}_{}", patient, number, out.positive ? 1 : 0);
  out.image = Image(size, size, 1);
  out.lungs = out.whole_lungs = out.heart = ImageU8(size, size, 1);

  Philox anatomy_random = patient_random(config, patient, 1);
  const Anatomy body = make_anatomy(anatomy_random);
  Philox random = patient_random(config, patient, 16 + static_cast<uint64_t>(number));
  const View view = make_view(config, out.positive, random);
  std::vector<Opacity> opacities;
  if (out.positive) opacities = make_opacities(body, random);
  const Image vessels = draw_vessels(body, size, view);
  const double c = std::cos(view.turn), s = std::sin(view.turn);

  for (int py = 0; py < size; ++py)
    for (int px = 0; px < size; ++px) {
      // Pixel to body coordinates: shift, turn back, scale.
      const double ix = (px + 0.5) * 2 / size - 1 - view.shift_x,
                   iy = (py + 0.5) * 2 / size - 1 - view.shift_y;
      const double x = (c * ix + s * iy) / (view.zoom * body.width),
                   y = (-s * ix + c * iy) / (view.zoom * body.height);

      const double heart = inside_heart(body, x, y), middle = inside_mediastinum(body, x, y);
      const double lung =
          std::max(inside_lung(body.lungs[0], x, y), inside_lung(body.lungs[1], x, y));
      // What is left between heart and spine below the heart's middle is no visible lung.
      const bool below_heart = x > 0 && x < body.heart_x && y > body.heart_y;
      const double field = below_heart ? -1 : std::min({lung, -heart, -middle});
      if (field > 0) out.lungs.at(py, px) = 255;
      if (lung > 0) out.whole_lungs.at(py, px) = 255;
      if (heart > 0) out.heart.at(py, px) = 255;

      double dense = body_at(body, x, y);
      // Air takes the place of tissue; behind the heart and below the domes some lung still shows
      // through.
      const double air = (0.5 * smooth(lung, 0.035) + 0.3 * smooth(lung, 0.14)) *
                         (1 - 0.82 * smooth(heart, 0.05)) * (1 - 0.5 * smooth(middle, 0.04));
      dense *= 1 - 0.84 * air;
      dense +=
          0.20 * smooth(heart, 0.22) + 0.09 * smooth(heart, 0.02) + 0.10 * smooth(middle, 0.08);
      // Windpipe down to its fork; gas in the stomach below the left dome.
      const double pipe = 0.048 - std::abs(x - 0.012 * std::sin(3 * y));
      dense -= 0.15 * smooth(pipe, 0.045) * std::clamp((-0.17 - y) * 10, 0.0, 1.0);
      const double stomach =
          1 - std::hypot((x - 0.33) / 0.13, (y - body.lungs[1].dome_y - 0.12) / 0.065);
      dense -= 0.22 * smooth(stomach, 0.5) * (1 - smooth(lung, 0.02));
      if (lung < 0 && y > 0.2) dense += 0.12 * smooth(y - 0.3, 0.3);  // liver and bowel
      dense += 0.09 * bone_at(body, x, y) * smooth(dense, 0.1);
      const double lung_share = smooth(lung, 0.05) * (1 - smooth(heart, 0.02));
      dense += 0.16 * vessels.at(py, px) * lung_share;
      // Fine markings of the lung and the uneven soft tissue in front of it.
      dense += lung_share * 0.025 * fractal_noise(view.key, x * 26, y * 26, 3);
      dense += 0.03 * fractal_noise(view.key + 1, x * 3.5, y * 3.5, 3);
      for (const Opacity& o : opacities) {
        const double wobble = 0.45 * fractal_noise(view.key + 2, x * 7 + o.phase, y * 7, 3);
        const double r = std::hypot((x - o.x) / o.rx, (y - o.y) / o.ry) + wobble;
        if (r > 1.6) continue;
        const double patch = std::exp(-r * r * 1.6) *
                             (0.8 + 0.4 * fractal_noise(view.key + 3, x * 18 + o.phase, y * 18, 3));
        dense += config.severity * 0.42 * o.strength * patch * lung_share;
      }
      dense *= 1 + view.tilt * x;
      // Film: density saturates; then the exposure of this view.
      const double film = 1 - std::exp(-2.1 * view.gain * std::max(0.0, dense - 0.04));
      out.image.at(py, px) =
          static_cast<float>(view.lift + (1 - view.lift) * std::pow(film, 1.25 * view.gamma));
    }

  Philox mark_random = patient_random(config, patient, 4096 + static_cast<uint64_t>(number));
  draw_marks(out.image, view, mark_random);
  // Quantum noise: stronger where fewer quanta arrive.
  const uint64_t stream =
      uint64_t{1} << 60 | static_cast<uint64_t>(patient) << 16 | static_cast<uint64_t>(number);
  for (size_t i = 0; i < out.image.pixels.size(); ++i) {
    const auto w = philox4x32(config.seed, stream, i);
    // Sum of four uniforms: near enough to a normal, standard deviation 1/sqrt(3).
    const float n = unit_float(w[0]) + unit_float(w[1]) + unit_float(w[2]) + unit_float(w[3]) - 2.f;
    float& p = out.image.pixels[i];
    p = std::clamp(p + static_cast<float>(view.noise) * 1.732f * n * (0.5f + 0.5f * p), 0.f, 1.f);
  }
  return out;
}

PhantomMasks parse_phantom_masks(const std::string& text) {
  if (text == "lungs") return PhantomMasks::lungs;
  if (text == "labels") return PhantomMasks::labels;
  THORAX_CHECK(text == "organs", "[phantom] masks '{}': must be lungs, labels or organs", text);
  return PhantomMasks::organs;
}

namespace {

void save_masks(const Phantom& p, PhantomMasks kind, const fs::path& folder, Sample& s) {
  if (kind == PhantomMasks::organs) {
    s.organs = parse_organs("lungs,heart");
    for (std::size_t k = 0; k < s.organs.organs.size(); ++k) {
      OrganMask& organ = s.organs.organs[k];
      organ.files = {k};
      s.masks.push_back(folder / "masks" / organ.name / (p.name + ".png"));
      save_image(s.masks.back(), k == 0 ? p.whole_lungs : p.heart);
    }
    return;
  }
  s.masks = {folder / "mask" / (p.name + "_mask.png")};
  if (kind == PhantomMasks::lungs) {
    save_image(s.masks[0], p.lungs);
    return;
  }
  s.organs = parse_organs("lungs:1,heart:2");
  ImageU8 labels(p.lungs.height, p.lungs.width);
  for (std::size_t i = 0; i < labels.pixels.size(); ++i)
    labels.pixels[i] = p.lungs.pixels[i] ? 1 : p.heart.pixels[i] ? 2 : 0;
  save_image(s.masks[0], labels);
}

}  // namespace

fs::path write_phantoms(const PhantomConfig& config, const fs::path& folder, int threads) {
  THORAX_CHECK(config.patients > 0, "[phantom] {} patients", config.patients);
  std::vector<fs::path> places{folder, folder / "CXR_png"};
  if (config.masks == PhantomMasks::organs)
    for (const char* name : {"masks", "masks/lungs", "masks/heart"})
      places.push_back(folder / name);
  else
    places.push_back(folder / "mask");
  for (const fs::path& place : places) open_output_folder(place);
  const auto list = phantom_list(config);
  Dataset dataset;
  dataset.samples.resize(list.size());
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto work = [&] {
    try {
      for (size_t i = next++; i < list.size(); i = next++) {
        const Phantom p = make_phantom(config, list[i].first, list[i].second);
        Sample& s = dataset.samples[i];
        s.image = folder / "CXR_png" / (p.name + ".png");
        s.patient = "phantom/" + p.patient;
        s.source = "phantom";
        s.class_name = s.finding = p.positive ? "COVID-19" : "non-COVID";
        s.view = "PA";
        save_image(s.image, p.image);
        save_masks(p, config.masks, folder, s);
      }
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = list.size();
    }
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < threads; ++t) pool.emplace_back(work);
  work();
  for (std::thread& t : pool) t.join();
  if (error) std::rethrow_exception(error);
  write_manifest(dataset, folder / "manifest.csv");
  return folder / "manifest.csv";
}

}  // namespace thorax
