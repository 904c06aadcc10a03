// File names in JSON. A name is any bytes, a JSON text is UTF-8.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace thorax {

// Valid UTF-8 from which from_json_text makes the same bytes again. Text that is valid UTF-8 stays
// as it is; a byte that belongs to no valid sequence becomes U+FFFD and two hexadecimal digits, and
// so does each byte of a U+FFFD that is itself part of the text.
std::string to_json_text(std::string_view bytes);
std::string from_json_text(std::string_view text);

// The value as JSON text, `indent` < 0: on one line, with to_json_text for every text and key;
// parse_json (config.h) turns them back.
std::string dump_json(const nlohmann::json& value, int indent = -1);
std::string dump_json(const nlohmann::ordered_json& value, int indent = -1);

// Length of the well-formed UTF-8 sequence that begins at `at`, 0 when there is none (overlong
// forms, surrogates and what lies above U+10FFFF included); `code` receives its code point.
std::size_t utf8_sequence(std::string_view text, std::size_t at, char32_t& code);

}  // namespace thorax
