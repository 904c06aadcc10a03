#include "engine/io/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/io/atomic_file.h"
#include "engine/io/json_text.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxBytes = 64u << 20;
constexpr int kMaxDepth = 64;

std::string kind_of(const json& value) {
  switch (value.type()) {
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "an array";
    case json::value_t::string:
      return fmt::format("the text \"{}\"", value.get<std::string>());
    case json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case json::value_t::null:
      return "null";
    default:
      return "the number " + value.dump();
  }
}

// Levenshtein distance, with a swap of neighbours counting as one change.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min(
          {d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string nearest_word(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    // Hostile words are long; nothing is near them.
    const std::size_t d = word.size() > 100 ? best_distance : distance(word, candidate);
    if (d < best_distance) {
      best = candidate;
      best_distance = d;
    }
  }
  return best;
}

namespace {

// Counts the lines of a text while it is parsed.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, int* line) : at_(at), line_(line) {}
  const char& operator*() const { return *at_; }
  CountingIterator& operator++() {
    *line_ += *at_++ == '\n' ? 1 : 0;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  int* line_;
};

// An open object or array.
struct Open {
  std::string path;  // of its members: "training.", "rows"
  bool array = false;
  std::size_t index = 0;       // of an array's next element
  std::string key;             // of an object's next value
  std::set<std::string> keys;  // of an object, so far
};

json parse(std::string_view text, std::string_view what, ConfigLines* lines) {
  int line = 1;
  std::vector<Open> open;
  // The path of the value that begins.
  const auto begins = [&]() -> std::string {
    if (open.empty()) return "";
    Open& in = open.back();
    return in.array ? fmt::format("{}[{}]", in.path, in.index++) : in.path + in.key;
  };
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth) fail("[config] {}: nested deeper than {}", what, kMaxDepth);
    switch (event) {
      case json::parse_event_t::object_start: {
        const std::string path = begins();
        open.push_back({path.empty() ? "" : path + ".", false, 0, "", {}});
        break;
      }
      case json::parse_event_t::array_start:
        open.push_back({begins(), true, 0, "", {}});
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        open.pop_back();
        break;
      case json::parse_event_t::key:
        open.back().key = parsed.get_ref<const std::string&>();
        if (!open.back().keys.insert(open.back().key).second)
          fail("[config] {}: key '{}' appears twice", what, open.back().key);
        if (lines != nullptr) lines->emplace(open.back().path + open.back().key, line);
        break;
      case json::parse_event_t::value:
        if (!open.empty()) begins();
        if (parsed.is_string()) parsed = from_json_text(parsed.get_ref<const std::string&>());
        break;
    }
    return true;
  };
  try {
    return json::parse(CountingIterator(text.data(), &line),
                       CountingIterator(text.data() + text.size(), &line), watch);
  } catch (const json::exception& error) {
    const std::string message = error.what();
    const std::size_t start = message.find("] ");
    fail("[config] {}: {}", what, start == std::string::npos ? message : message.substr(start + 2));
  }
}

}  // namespace

json parse_json(std::string_view text, std::string_view what) {
  return parse(text, what, nullptr);
}

json load_json(const std::filesystem::path& path) {
  return parse_json(read_file(path, kMaxBytes), path.string());
}

json load_config_file(const std::filesystem::path& path, ConfigLines* lines) {
  const std::string text = read_file(path, kMaxBytes);
  return path.extension() == ".toml" ? parse_toml(text, path.string(), lines)
                                     : parse(text, path.string(), lines);
}

void save_json(const std::filesystem::path& path, const json& value) {
  try {
    atomic_write(path, dump_json(value, 2) + "\n");
  } catch (const json::exception& error) {
    fail("[config] {}: {}", path.string(), error.what());
  }
}

ConfigObject::ConfigObject(const json& value, std::string file)
    : ConfigObject(std::make_shared<const json>(value), std::move(file), "", nullptr) {}

ConfigObject::ConfigObject(std::shared_ptr<const json> value, std::string file, std::string path,
                           std::shared_ptr<const ConfigLines> lines)
    : value_(std::move(value)),
      file_(std::move(file)),
      path_(std::move(path)),
      lines_(std::move(lines)) {
  const std::string self = path_.substr(0, path_.empty() ? 0 : path_.size() - 1);
  THORAX_CHECK(value_->is_object(), "[config] {}: {}{} instead of an object", place(self),
               self.empty() ? "" : self + ": ", kind_of(*value_));
}

std::string ConfigObject::place(const std::string& path) const {
  if (lines_ != nullptr)
    if (const auto found = lines_->find(path); found != lines_->end())
      return fmt::format("{}:{}", file_, found->second);
  return file_;
}

ConfigObject ConfigObject::load(const std::filesystem::path& path) {
  auto lines = std::make_shared<ConfigLines>();
  auto value = std::make_shared<const json>(load_config_file(path, lines.get()));
  return ConfigObject(std::move(value), path.string(), "", std::move(lines));
}

void ConfigObject::refuse(const char* key, std::string_view message) const {
  fail("[config] {}: {}{}: {}", place(path_ + key), path_, key, message);
}

const json* ConfigObject::find(const char* key) const {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
  const auto found = value_->find(key);
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

const json& ConfigObject::need(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) refuse(key, "is missing");
  return *value;
}

bool ConfigObject::has(const char* key) const {
  return find(key) != nullptr;
}

double ConfigObject::number(const char* key, double low, double high) const {
  const json& value = need(key);
  if (!value.is_number()) refuse(key, kind_of(value) + " instead of a number");
  const double number = value.get<double>();
  if (!(number >= low && number <= high))
    refuse(key, high == kHighest ? fmt::format("{} is below {}", number, low)
                : low == kLowest ? fmt::format("{} is above {}", number, high)
                                 : fmt::format("{} is not within {}..{}", number, low, high));
  return number;
}

double ConfigObject::number_or(const char* key, double otherwise, double low, double high) const {
  return has(key) ? number(key, low, high) : otherwise;
}

std::int64_t ConfigObject::integer(const char* key, std::int64_t low, std::int64_t high) const {
  const json& value = need(key);
  const bool too_large = value.is_number_unsigned() &&
                         value.get<std::uint64_t>() >
                             static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!value.is_number_integer() || too_large)
    refuse(key, kind_of(value) + " instead of a whole number");
  const std::int64_t number = value.get<std::int64_t>();
  if (number < low || number > high)
    refuse(key, high == INT64_MAX ? fmt::format("{} is below {}", number, low)
                                  : fmt::format("{} is not within {}..{}", number, low, high));
  return number;
}

std::int64_t ConfigObject::integer_or(const char* key, std::int64_t otherwise, std::int64_t low,
                                      std::int64_t high) const {
  return has(key) ? integer(key, low, high) : otherwise;
}

bool ConfigObject::boolean(const char* key) const {
  const json& value = need(key);
  if (!value.is_boolean()) refuse(key, kind_of(value) + " instead of true or false");
  return value.get<bool>();
}

bool ConfigObject::boolean_or(const char* key, bool otherwise) const {
  return has(key) ? boolean(key) : otherwise;
}

std::string ConfigObject::text(const char* key) const {
  const json& value = need(key);
  if (!value.is_string()) refuse(key, kind_of(value) + " instead of a text");
  return value.get<std::string>();
}

std::string ConfigObject::text_or(const char* key, std::string otherwise) const {
  return has(key) ? text(key) : std::move(otherwise);
}

std::string ConfigObject::choice(const char* key, const std::vector<std::string>& allowed) const {
  std::string value = text(key);
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
    const std::string near = nearest_word(value, allowed);
    refuse(key, fmt::format("'{}' is not one of {}{}", value, fmt::join(allowed, ", "),
                            near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
  }
  return value;
}

std::string ConfigObject::choice_or(const char* key, std::string otherwise,
                                    const std::vector<std::string>& allowed) const {
  return has(key) ? choice(key, allowed) : std::move(otherwise);
}

namespace {

// The elements of an array, each checked by `good` and described by `wanted` when it is not.
template <class T, class Good>
bool elements(const json& value, std::vector<T>& out, const Good& good) {
  if (!value.is_array()) return false;
  for (const json& element : value) {
    if (!good(element)) return false;
    out.push_back(element.get<T>());
  }
  return true;
}

}  // namespace

std::vector<double> ConfigObject::numbers_or(const char* key, std::vector<double> otherwise) const {
  const json* value = find(key);
  if (value == nullptr) return otherwise;
  std::vector<double> result;
  if (!elements(*value, result, [](const json& e) { return e.is_number(); }))
    refuse(key, value->dump() + " instead of an array of numbers");
  return result;
}

std::vector<std::int64_t> ConfigObject::integers_or(const char* key,
                                                    std::vector<std::int64_t> otherwise) const {
  const json* value = find(key);
  if (value == nullptr) return otherwise;
  std::vector<std::int64_t> result;
  if (!elements(*value, result, [](const json& e) { return e.is_number_integer(); }))
    refuse(key, value->dump() + " instead of an array of whole numbers");
  return result;
}

std::vector<std::string> ConfigObject::texts_or(const char* key,
                                                std::vector<std::string> otherwise) const {
  const json* value = find(key);
  if (value == nullptr) return otherwise;
  std::vector<std::string> result;
  if (!elements(*value, result, [](const json& e) { return e.is_string(); }))
    refuse(key, value->dump() + " instead of an array of texts");
  return result;
}

ConfigObject ConfigObject::object(const char* key) const {
  static const auto nothing = std::make_shared<const json>(json::object());
  const json* value = find(key);
  const std::string path = path_ + key + ".";
  if (value == nullptr) return ConfigObject(nothing, file_, path, lines_);
  return ConfigObject(std::shared_ptr<const json>(value_, value), file_, path, lines_);
}

std::vector<ConfigObject> ConfigObject::objects(const char* key) const {
  std::vector<ConfigObject> result;
  const json* value = find(key);
  if (value == nullptr) return result;
  if (!value->is_array()) refuse(key, kind_of(*value) + " instead of an array of objects");
  for (std::size_t i = 0; i < value->size(); ++i)
    result.push_back(ConfigObject(std::shared_ptr<const json>(value_, &(*value)[i]), file_,
                                  fmt::format("{}{}[{}].", path_, key, i), lines_));
  return result;
}

void ConfigObject::finish() const {
  for (const auto& [key, value] : value_->items()) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    std::vector<std::string> sorted = known_;
    std::sort(sorted.begin(), sorted.end());
    const std::string near = nearest_word(key, sorted);
    refuse(key.c_str(), near.empty()
                            ? fmt::format("unknown key; known are: {}", fmt::join(sorted, ", "))
                            : fmt::format("unknown key; did you mean '{}'?", near));
  }
}

}  // namespace thorax
