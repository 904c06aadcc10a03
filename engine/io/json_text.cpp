#include "engine/io/json_text.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

namespace thorax {
namespace {
constexpr std::string_view kMark = "\xEF\xBF\xBD";  // U+FFFD, the replacement character
constexpr char32_t kMarkCode = 0xFFFD;

template <class Json>
Json with_texts(const Json& value) {
  if (value.is_string()) return to_json_text(value.template get_ref<const std::string&>());
  if (value.is_array()) {
    Json result = Json::array();
    for (const Json& element : value) result.push_back(with_texts(element));
    return result;
  }
  if (!value.is_object()) return value;
  Json result = Json::object();
  for (const auto& [key, element] : value.items()) result[to_json_text(key)] = with_texts(element);
  return result;
}

}  // namespace

std::string dump_json(const nlohmann::json& value, int indent) {
  return with_texts(value).dump(indent);
}
std::string dump_json(const nlohmann::ordered_json& value, int indent) {
  return with_texts(value).dump(indent);
}

std::size_t utf8_sequence(std::string_view text, std::size_t at, char32_t& code) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char first = byte(at);
  if (first < 0x80) {
    code = first;
    return 1;
  }
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || at + length > text.size()) return 0;
  code = first & (0xFFu >> (length + 1));
  for (std::size_t k = 1; k < length; ++k) {
    if ((byte(at + k) & 0xC0) != 0x80) return 0;
    code = code << 6 | (byte(at + k) & 0x3Fu);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return 0;
  return length;
}

std::string to_json_text(std::string_view bytes) {
  std::string result;
  for (std::size_t i = 0; i < bytes.size();) {
    char32_t code = 0;
    const std::size_t length = utf8_sequence(bytes, i, code);
    const std::size_t count = length == 0 ? 1 : length;
    if (length > 0 && code != kMarkCode) {
      result += bytes.substr(i, count);
    } else {
      for (std::size_t k = 0; k < count; ++k)
        result += fmt::format("{}{:02x}", kMark, static_cast<unsigned char>(bytes[i + k]));
    }
    i += count;
  }
  return result;
}

std::string from_json_text(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t digits = i + kMark.size();
    unsigned value = 0;
    if (text.substr(i, kMark.size()) == kMark && digits + 2 <= text.size()) {
      const char* end = text.data() + digits + 2;
      const auto [rest, error] = std::from_chars(text.data() + digits, end, value, 16);
      if (error == std::errc() && rest == end) {
        result += static_cast<char>(value);
        i = digits + 2;
        continue;
      }
    }
    result += text[i++];
  }
  return result;
}

}  // namespace thorax
