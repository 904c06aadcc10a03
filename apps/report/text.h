// Text from outside (file names, labels, error messages) made fit for a terminal, HTML and SVG.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace thorax::app {

// Valid UTF-8 without control characters: a malformed byte becomes U+FFFD, a line break or tab a
// space, any other control character (escape sequences of terminals, what XML forbids) U+FFFD.
std::string clean_text(std::string_view text);

// clean_text, but line breaks stay.
std::string clean_lines(std::string_view text);

// For a terminal, so that nothing is lost: control characters as \u001b, malformed bytes as \xff.
std::string visible(std::string_view text);
// The same, but line breaks and tabs stay.
std::string visible_lines(std::string_view text);

// Columns on a terminal: the number of code points, without combining marks.
std::size_t text_columns(std::string_view text);

// For HTML and XML, inside elements and inside quoted attributes: & < > " ' as references, the rest
// as clean_lines gives it.
std::string escape_html(std::string_view text);

// Standard alphabet with padding, one line (RFC 4648).
std::string base64(std::string_view bytes);

}  // namespace thorax::app
