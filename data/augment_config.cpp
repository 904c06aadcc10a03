// Presets of the augmentation and its JSON form.
#include <cmath>
#include <functional>
#include <vector>

#include "data/augment.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

// One place that names every key: reading, writing and refusing unknown keys use it.
struct Key {
  const char* name;
  double AugmentConfig::*value;
};
const std::vector<Key>& keys() {
  static const std::vector<Key> all = {
      {"scale_x_min", &AugmentConfig::scale_x_min},
      {"scale_x_max", &AugmentConfig::scale_x_max},
      {"scale_x_probability", &AugmentConfig::scale_x_probability},
      {"rotate_min", &AugmentConfig::rotate_min},
      {"rotate_max", &AugmentConfig::rotate_max},
      {"rotate_probability", &AugmentConfig::rotate_probability},
      {"shear_x_min", &AugmentConfig::shear_x_min},
      {"shear_x_max", &AugmentConfig::shear_x_max},
      {"shear_x_probability", &AugmentConfig::shear_x_probability},
      {"flip_x_probability", &AugmentConfig::flip_x_probability},
      {"gamma_min", &AugmentConfig::gamma_min},
      {"gamma_max", &AugmentConfig::gamma_max},
      {"gamma_probability", &AugmentConfig::gamma_probability},
      {"salt_pepper_amount", &AugmentConfig::salt_pepper_amount},
      {"salt_pepper_probability", &AugmentConfig::salt_pepper_probability},
      {"blur_sigma", &AugmentConfig::blur_sigma},
      {"blur_probability", &AugmentConfig::blur_probability},
      {"noise_percent", &AugmentConfig::noise_percent},
      {"noise_probability", &AugmentConfig::noise_probability},
  };
  return all;
}

void check(const AugmentConfig& c) {
  for (const Key& key : keys()) {
    const double v = c.*key.value;
    THORAX_CHECK(std::isfinite(v), "[augment] {} is not a finite number", key.name);
    if (std::string(key.name).ends_with("_probability"))
      THORAX_CHECK(v >= 0 && v <= 1, "[augment] {} = {} is not in 0..1", key.name, v);
  }
  THORAX_CHECK(c.scale_x_min > 0 && c.scale_x_min <= c.scale_x_max,
               "[augment] scale_x_min..scale_x_max = {}..{} is no range above 0", c.scale_x_min,
               c.scale_x_max);
  THORAX_CHECK(c.rotate_min <= c.rotate_max,
               "[augment] rotate_min..rotate_max = {}..{} is no range", c.rotate_min, c.rotate_max);
  THORAX_CHECK(c.shear_x_min <= c.shear_x_max,
               "[augment] shear_x_min..shear_x_max = {}..{} is no range", c.shear_x_min,
               c.shear_x_max);
  THORAX_CHECK(c.gamma_min > 0 && c.gamma_min <= c.gamma_max,
               "[augment] gamma_min..gamma_max = {}..{} is no range above 0", c.gamma_min,
               c.gamma_max);
  THORAX_CHECK(c.salt_pepper_amount >= 0 && c.salt_pepper_amount <= 1,
               "[augment] salt_pepper_amount = {} is not in 0..1", c.salt_pepper_amount);
  THORAX_CHECK(c.blur_sigma > 0, "[augment] blur_sigma = {} is not above 0", c.blur_sigma);
  THORAX_CHECK(c.blur_kernel > 0 && c.blur_kernel % 2 == 1 && c.blur_kernel <= 101,
               "[augment] blur_kernel = {} is not odd and in 1..101", c.blur_kernel);
  THORAX_CHECK(c.noise_percent >= 0, "[augment] noise_percent = {} is below 0", c.noise_percent);
}

}  // namespace

bool AugmentConfig::any() const {
  return scale_x_probability > 0 || rotate_probability > 0 || shear_x_probability > 0 ||
         flip_x_probability > 0 || gamma_probability > 0 || salt_pepper_probability > 0 ||
         blur_probability > 0 || noise_probability > 0;
}

AugmentConfig augment_preset(const std::string& name) {
  AugmentConfig c;
  if (name == "none") return c;
  if (name == "study") {
    c.scale_x_min = 0.8, c.scale_x_max = 1.1, c.scale_x_probability = 1;
    c.rotate_min = -45, c.rotate_max = 45, c.rotate_probability = 1;
    c.shear_x_min = -0.2, c.shear_x_max = 0.2, c.shear_x_probability = 0.7;
    c.gamma_min = 0.5, c.gamma_max = 3, c.gamma_probability = 1;
    c.salt_pepper_amount = 0.01, c.salt_pepper_probability = 0.3;
    c.blur_sigma = 0.5, c.blur_kernel = 11, c.blur_probability = 0.5;
    c.noise_percent = 0.5, c.noise_probability = 0.3;
    return c;
  }
  if (name == "light") {
    c.scale_x_min = 0.95, c.scale_x_max = 1.05, c.scale_x_probability = 1;
    c.rotate_min = -7, c.rotate_max = 7, c.rotate_probability = 1;
    c.shear_x_min = -0.05, c.shear_x_max = 0.05, c.shear_x_probability = 0.5;
    c.gamma_min = 0.8, c.gamma_max = 1.25, c.gamma_probability = 0.8;
    c.noise_percent = 0.5, c.noise_probability = 0.3;
    return c;
  }
  fail("[augment] '{}' is no preset; known: study, light, none", name);
}

AugmentConfig augment_from_json(const nlohmann::json& json, const AugmentConfig& base) {
  if (json.is_string()) return augment_preset(json.get<std::string>());
  THORAX_CHECK(json.is_object(), "[augment] an object of settings or a preset name is wanted");
  AugmentConfig c = base;
  for (const auto& [name, value] : json.items()) {
    if (name == "preset") {
      THORAX_CHECK(value.is_string(), "[augment] preset is not a name");
      c = augment_preset(value.get<std::string>());
    }
  }
  for (const auto& [name, value] : json.items()) {
    if (name == "preset") continue;
    if (name == "blur_kernel") {
      THORAX_CHECK(value.is_number_integer(), "[augment] blur_kernel is not a whole number");
      c.blur_kernel = value.get<int>();
      continue;
    }
    bool known = false;
    for (const Key& key : keys()) {
      if (name != key.name) continue;
      THORAX_CHECK(value.is_number(), "[augment] {} is not a number", name);
      c.*key.value = value.get<double>();
      known = true;
    }
    THORAX_CHECK(known, "[augment] unknown setting '{}'", name);
  }
  check(c);
  return c;
}

nlohmann::json augment_to_json(const AugmentConfig& config) {
  nlohmann::json json = nlohmann::json::object();
  for (const Key& key : keys()) json[key.name] = config.*key.value;
  json["blur_kernel"] = config.blur_kernel;
  return json;
}

}  // namespace thorax
