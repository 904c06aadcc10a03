// What stands in tables and lists: numbers, ages, names to leave out.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/readers/readers.h"
#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax::readers {
namespace fs = std::filesystem;
namespace {

std::optional<double> finite_number(const std::string& t) {
  double v = 0;
  const auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), v);
  if (error != std::errc() || end != t.data() + t.size() || !std::isfinite(v)) return std::nullopt;
  return v;
}

}  // namespace

std::optional<double> parse_number(const std::string& text, const std::string& where,
                                   const std::string& column) {
  const std::string t = trimmed(text);
  if (t.empty()) return std::nullopt;
  const std::optional<double> v = finite_number(t);
  THORAX_CHECK(v, "[data] {}: {} '{}' is not a number", where, column, t);
  return v;
}

std::optional<double> parse_age(const std::string& text) {
  std::string t = trimmed(text);
  if (t.empty()) return std::nullopt;
  double share = 1;
  switch (t.back()) {
    case 'Y':
    case 'y':
    case '+':
      t.pop_back();
      break;
    case 'M':
    case 'm':
      t.pop_back();
      share = 1 / 12.0;
      break;
    case 'W':
    case 'w':
      t.pop_back();
      share = 7 / 365.25;
      break;
    case 'D':
    case 'd':
      t.pop_back();
      share = 1 / 365.25;
      break;
    default:
      break;
  }
  const std::optional<double> number = finite_number(trimmed(t));
  if (!number || *number < 0) return std::nullopt;
  return *number * share;
}

ExcludeList::ExcludeList(const fs::path& file) : file_(file) {
  constexpr uint64_t kMaxBytes = 64 << 20;
  std::string text;
  try {
    text = read_file(file, kMaxBytes);  // names what is no list: a Git LFS pointer, a folder
  } catch (const Error& error) {
    fail("[data] exclude={}: {}", file.string(), error.what());
  }
  THORAX_CHECK(text.find('\0') == std::string::npos,
               "[data] exclude={}: has NUL bytes: save it as text in UTF-8", file.string());
  while (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
  std::replace(text.begin(), text.end(), '\r', '\n');
  std::replace(text.begin(), text.end(), '\\', '/');
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const fs::path entry = fs::path(trimmed(text.substr(begin, end - begin))).lexically_normal();
    if (entry.has_filename()) entries_[entry.filename().string()].emplace_back(entry, false);
    begin = end + 1;
  }
  THORAX_CHECK(!entries_.empty(), "[data] exclude={}: names no file", file.string());
}

bool ExcludeList::matches(const fs::path& image) {
  const auto found = entries_.find(image.filename().string());
  if (found == entries_.end()) return false;
  bool any = false;
  for (auto& [entry, met] : found->second) {
    // As many of the path's last parts as the entry has; an absolute entry is the whole path.
    const fs::path whole = entry.is_absolute() ? fs::weakly_canonical(image) : image;
    const fs::path wanted = entry.is_absolute() ? fs::weakly_canonical(entry) : entry;
    auto part = whole.end();
    auto own = wanted.end();
    bool same = true;
    while (same && own != wanted.begin()) {
      same = part != whole.begin() && *--part == *--own;
    }
    if (same) met = any = true;
  }
  return any;
}

void ExcludeList::meet(const fs::path& name) {
  if (const auto found = entries_.find(name.filename().string()); found != entries_.end())
    for (auto& [entry, met] : found->second) met = true;
}

std::string ExcludeList::unmatched() const {
  std::vector<std::string> names;
  size_t count = 0;
  for (const auto& [name, entries] : entries_)
    for (const auto& [entry, met] : entries) {
      ++count;
      if (!met) names.push_back(entry.string());
    }
  if (names.empty()) return {};
  const std::vector<std::string> shown(names.begin(),
                                       names.begin() + std::min<size_t>(5, names.size()));
  const std::string list =
      fmt::format("'{}'{}", fmt::join(shown, "', '"), names.size() > shown.size() ? ", ..." : "");
  THORAX_CHECK(
      names.size() < count,
      "[data] exclude={}: no file of the source has any of its {} names: {}; wanted are file "
      "names, or paths that end as the images' do, one a line",
      file_.string(), count, list);
  return fmt::format("WARNING: {} of {} names in exclude={} match no file: {}", names.size(), count,
                     file_.string(), list);
}

}  // namespace thorax::readers
