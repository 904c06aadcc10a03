#include "data/organ_masks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <set>
#include <sstream>

#include "data/csv.h"
#include "data/organs.h"
#include "engine/io/file_name.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr const char* kBackground = "background";

std::vector<int> parse_values(const std::string& list, const std::string& text) {
  std::vector<int> values;
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, '+');) {
    const std::string number = trimmed(part);
    int value = 0;
    const auto [rest, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    THORAX_CHECK(error == std::errc() && rest == number.data() + number.size() && value >= 0 &&
                     value <= 65535,
                 "[organs] organs={}: '{}' is no value of a label map (0 to 65535, several joined "
                 "by +)",
                 text, number);
    values.push_back(value);
  }
  THORAX_CHECK(!values.empty(), "[organs] organs={}: a name without a value after its ':'", text);
  std::sort(values.begin(), values.end());
  return values;
}

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

OrganMasks parse_organs(const std::string& text) {
  OrganMasks out;
  if (text == "auto") {
    out.label_map = out.by_values = true;
    return out;
  }
  std::map<std::string, std::string> names;  // by the name in lower case
  std::set<int> values;
  std::istringstream parts(text);
  bool some_without = false;
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t colon = part.find(':');
    const std::string name = trimmed(part.substr(0, colon));
    THORAX_CHECK(!name.empty(), "[organs] organs={}: an organ without a name", text);
    FileName(name, "organs=" + text + ": an organ");
    THORAX_CHECK(name.find_first_of(";+=") == std::string::npos,
                 "[organs] organs={}: the name '{}' has one of ; + =, which organs and columns are "
                 "written with",
                 text, name);
    const auto [other, fresh] = names.emplace(lower_case(name), name);
    THORAX_CHECK(fresh,
                 "[organs] organs={}: '{}' and '{}' are one organ: names that differ in case "
                 "only would share folders and columns",
                 text, other->second, name);
    if (colon == std::string::npos) {
      some_without = true;
      THORAX_CHECK(name != kBackground, "[organs] organs={}: the background is no organ", text);
      out.organs.push_back({name, {}, {}, {}});
      continue;
    }
    out.label_map = true;
    const std::vector<int> own = parse_values(part.substr(colon + 1), text);
    THORAX_CHECK(
        name == kBackground || own.front() != 0,
        "[organs] organs={}: '{}' is given the value 0, which is the background of a label "
        "map; give the values that the organ is written with",
        text, name);
    for (const int value : own)
      THORAX_CHECK(values.insert(value).second, "[organs] organs={}: value {} is given twice", text,
                   value);
    if (name == kBackground)
      out.outside = own;
    else
      out.organs.push_back({name, own, {}, {}});
  }
  THORAX_CHECK(!out.organs.empty(),
               "[organs] organs={}: names no organ; write NAME:VALUE,... for a label map, NAME,... "
               "for masks of their own, or auto",
               text);
  THORAX_CHECK(!(some_without && out.label_map),
               "[organs] organs={}: either every organ has its values (a label map) or none has "
               "(masks of their own)",
               text);
  THORAX_CHECK(out.organs.size() <= kMaxOrgans, "[organs] organs={}: {} organs; {} at most", text,
               out.organs.size(), kMaxOrgans);
  return out;
}

std::string to_string(const OrganMasks& organs) {
  if (organs.by_values && organs.organs.empty()) return "auto";
  std::vector<std::string> parts;
  for (const OrganMask& organ : organs.organs)
    parts.push_back(organs.label_map
                        ? fmt::format("{}:{}", organ.name, fmt::join(organ.values, "+"))
                        : organ.name);
  if (!organs.outside.empty())
    parts.push_back(fmt::format("{}:{}", kBackground, fmt::join(organs.outside, "+")));
  return fmt::format("{}", fmt::join(parts, ","));
}

}  // namespace thorax
