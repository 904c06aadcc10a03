#include "engine/io/file_name.h"

#include <algorithm>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr std::size_t kLongest = 150;

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

bool is_separator(char c) {
  return c == '/' || c == '\\';
}

// The text without what a terminal would obey.
std::string shown(std::string_view text) {
  std::string result(text.substr(0, kLongest));
  std::replace_if(result.begin(), result.end(), is_control, '?');
  return result;
}

}  // namespace

FileName::FileName(std::string text, std::string_view what) : text_(std::move(text)) {
  const auto refuse = [&](std::string_view rule) {
    fail("[name] {}: '{}' becomes a file or folder name and {}; give it another name", what,
         shown(text_), rule);
  };
  if (text_.empty()) refuse("is empty");
  if (text_.size() > kLongest)
    refuse(fmt::format("has {} bytes, the limit is {}", text_.size(), kLongest));
  if (std::any_of(text_.begin(), text_.end(), is_separator)) refuse("holds a '/' or '\\'");
  if (std::any_of(text_.begin(), text_.end(), is_control)) refuse("holds a control character");
  if (text_ == "." || text_ == "..") refuse("means another folder");
  if (text_.front() == '-') refuse("begins with '-'");
}

FileName output_name(std::string_view text) {
  std::string name(text.substr(0, kLongest));
  // Not in the middle of a character of UTF-8.
  if (text.size() > kLongest && (static_cast<unsigned char>(text[kLongest]) & 0xc0) == 0x80) {
    while (!name.empty() && (static_cast<unsigned char>(name.back()) & 0xc0) == 0x80)
      name.pop_back();
    if (!name.empty()) name.pop_back();
  }
  for (char& c : name)
    if (is_control(c) || is_separator(c)) c = '_';
  if (name.empty() || name == "." || name == "..") name = "_" + name;
  if (name.front() == '-') name.front() = '_';
  return FileName(std::move(name), "output");
}

}  // namespace thorax
