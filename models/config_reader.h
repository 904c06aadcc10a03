// Reads a JSON object key by key and refuses what nobody asked for.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "engine/tensor/error.h"

namespace thorax {

class ConfigReader {
 public:
  // `what` names the object in errors: "[model] 'unet': ...". Throws when it is not an object.
  ConfigReader(const nlohmann::json& object, std::string what)
      : object_(object), what_(std::move(what)) {
    THORAX_CHECK(object.is_object(), "[model] {}: wants a JSON object, got {}", what_,
                 object.dump());
  }
  // Leaves `value` alone when the key is absent.
  void get(const std::string& key, std::int64_t& value) { read(key, value, "a whole number"); }
  void get(const std::string& key, double& value) { read(key, value, "a number"); }
  void get(const std::string& key, bool& value) { read(key, value, "true or false"); }
  void get(const std::string& key, std::string& value) { read(key, value, "a string"); }
  void get(const std::string& key, std::vector<std::int64_t>& value) {
    known_.insert(key);
    if (!object_.contains(key)) return;
    std::vector<std::int64_t> fresh;
    bool good = object_[key].is_array();
    for (std::size_t i = 0; good && i < object_[key].size(); ++i) {
      std::int64_t element = 0;
      good = convert(object_[key][i], element);
      fresh.push_back(element);
    }
    THORAX_CHECK(good, "[model] {}: '{}' wants an array of whole numbers, got {}", what_, key,
                 object_[key].dump());
    value = std::move(fresh);
  }
  // The raw value of a nested object or array; null when absent.
  nlohmann::json nested(const std::string& key) {
    known_.insert(key);
    return object_.contains(key) ? object_[key] : nlohmann::json();
  }
  // To be called last: throws for keys that were never asked for.
  void finish() const {
    for (const auto& [key, value] : object_.items()) {
      std::string all;
      for (const std::string& name : known_) all += (all.empty() ? "" : ", ") + name;
      THORAX_CHECK(known_.contains(key), "[model] {}: unknown key '{}'; known: {}", what_, key,
                   all);
    }
  }

 private:
  static bool convert(const nlohmann::json& json, std::int64_t& value) {
    if (!json.is_number_integer()) return false;
    // Channel counts and the like: a bound well inside 64 bits keeps their products there.
    if (json.is_number_unsigned() && json.get<std::uint64_t>() > kLimit) return false;
    value = json.get<std::int64_t>();
    return value >= -static_cast<std::int64_t>(kLimit);
  }
  static bool convert(const nlohmann::json& json, double& value) {
    if (!json.is_number()) return false;
    value = json.get<double>();
    return true;
  }
  static bool convert(const nlohmann::json& json, bool& value) {
    if (!json.is_boolean()) return false;
    value = json.get<bool>();
    return true;
  }
  static bool convert(const nlohmann::json& json, std::string& value) {
    if (!json.is_string()) return false;
    value = json.get<std::string>();
    return true;
  }
  template <class T>
  void read(const std::string& key, T& value, const char* wanted) {
    known_.insert(key);
    if (!object_.contains(key)) return;
    THORAX_CHECK(convert(object_[key], value), "[model] {}: '{}' wants {}, got {}", what_, key,
                 wanted, object_[key].dump());
  }

  static constexpr std::uint64_t kLimit = 1 << 20;
  const nlohmann::json object_;
  std::string what_;
  std::set<std::string> known_;
};

}  // namespace thorax
