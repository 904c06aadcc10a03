#include "apps/report/text.h"

#include <fmt/format.h>

#include <cstdint>

#include "engine/io/json_text.h"

namespace thorax::app {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Control characters of ASCII and Latin-1, those that turn the direction of writing (a file name
// could show itself backwards), and the two code points that XML forbids.
bool is_control(char32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x202A && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0xFFFE || code == 0xFFFF;
}

std::string clean(std::string_view text, bool keep_lines) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    char32_t code = 0;
    const std::size_t length = utf8_sequence(text, i, code);
    if (length == 0) {
      out += kReplacement;
      ++i;
      continue;
    }
    if (code == '\n' && keep_lines)
      out += '\n';
    else if (code == '\n' || code == '\t' || code == '\r')
      out += ' ';
    else if (is_control(code))
      out += kReplacement;
    else
      out += text.substr(i, length);
    i += length;
  }
  return out;
}

std::string made_visible(std::string_view text, bool keep_lines) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    char32_t code = 0;
    const std::size_t length = utf8_sequence(text, i, code);
    if (length == 0)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i]));
    else if (is_control(code) && !(keep_lines && (code == '\n' || code == '\t')))
      out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(code));
    else
      out += text.substr(i, length);
    i += length == 0 ? 1 : length;
  }
  return out;
}

}  // namespace

std::string visible(std::string_view text) {
  return made_visible(text, false);
}

std::string visible_lines(std::string_view text) {
  return made_visible(text, true);
}

std::string clean_text(std::string_view text) {
  return clean(text, false);
}

std::string clean_lines(std::string_view text) {
  return clean(text, true);
}

std::size_t text_columns(std::string_view text) {
  std::size_t columns = 0;
  for (std::size_t i = 0; i < text.size();) {
    char32_t code = 0;
    const std::size_t length = utf8_sequence(text, i, code);
    const bool combining = code >= 0x300 && code < 0x370;
    if (length == 0 || !combining) ++columns;
    i += length == 0 ? 1 : length;
  }
  return columns;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : clean_lines(text)) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  return out;
}

std::string base64(std::string_view bytes) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t here = bytes.size() - i < 3 ? bytes.size() - i : 3;
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < here ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      out += k <= here ? kAlphabet[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

}  // namespace thorax::app
