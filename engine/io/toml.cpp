// TOML as JSON values, by toml++.
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/io/config.h"
#include "engine/io/json_text.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;  // as of JSON

struct Converter {
  std::string_view what;
  ConfigLines* lines;

  [[noreturn]] void refuse(const toml::node& node, const std::string& path,
                           std::string_view message) const {
    fail("[config] {}:{}: {}: {}", what, node.source().begin.line, path, message);
  }

  json convert(const toml::node& node, const std::string& path, int depth) const {
    if (depth > kMaxDepth) fail("[config] {}: nested deeper than {}", what, kMaxDepth);
    if (const toml::table* table = node.as_table()) {
      json object = json::object();
      for (const auto& [key, value] : *table) {
        const std::string name(key.str()), inner = path.empty() ? name : path + "." + name;
        if (lines != nullptr) lines->emplace(inner, static_cast<int>(key.source().begin.line));
        object[name] = convert(value, inner, depth + 1);
      }
      return object;
    }
    if (const toml::array* array = node.as_array()) {
      json all = json::array();
      for (const toml::node& value : *array)
        all.push_back(convert(value, fmt::format("{}[{}]", path, all.size()), depth + 1));
      return all;
    }
    if (const auto* text = node.as_string()) return from_json_text(text->get());
    if (const auto* whole = node.as_integer()) return whole->get();
    if (const auto* truth = node.as_boolean()) return truth->get();
    if (const auto* number = node.as_floating_point()) {
      if (!std::isfinite(number->get())) refuse(node, path, "is no finite number");
      return number->get();
    }
    refuse(node, path, "is a date or a time, which no setting is; a text stands between quotes");
  }
};

}  // namespace

json parse_toml(std::string_view text, std::string_view what, ConfigLines* lines) {
  // toml++ 3.3 is undefined for some letters outside ASCII between keys.
  int line = 1;
  for (const char c : text) {
    line += c == '\n' ? 1 : 0;
    if ((c & 0x80) != 0)
      fail("[config] {}:{}: a character outside ASCII; in a text it is written \\u00e9", what,
           line);
  }
  try {
    return Converter{what, lines}.convert(toml::parse(text), "", 0);
  } catch (const toml::parse_error& error) {
    fail("[config] {}:{}: {}", what, error.source().begin.line, error.description());
  }
}

}  // namespace thorax
