#include "engine/runtime/ptx/lexer.h"

#include <charconv>

#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

bool in_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || c == '%' || c == '.' || c == ':';
}

}  // namespace

void Lexer::skip_space() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '\n') {
      ++line_;
      ++at_;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      ++at_;
    } else if (c == '/' && at_ + 1 < text_.size() && text_[at_ + 1] == '/') {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (c == '/' && at_ + 1 < text_.size() && text_[at_ + 1] == '*') {
      const std::size_t end = text_.find("*/", at_ + 2);
      if (end == std::string_view::npos) wrong("a comment without end");
      for (; at_ < end + 2; ++at_) line_ += text_[at_] == '\n';
    } else {
      return;
    }
  }
}

void Lexer::next() {
  skip_space();
  word_line_ = line_;
  word_begin_ = at_;
  if (at_ >= text_.size()) {
    word_ = {};
    return;
  }
  if (text_[at_] == '"') {
    const std::size_t end = text_.find('"', at_ + 1);
    if (end == std::string_view::npos) wrong("a string without end");
    at_ = end + 1;
  } else if (in_word(text_[at_])) {
    // A colon ends a label and belongs to it; "::" is part of a modifier.
    while (at_ < text_.size() && in_word(text_[at_])) {
      if (text_[at_] == ':') {
        if (at_ + 1 < text_.size() && text_[at_ + 1] == ':') {
          at_ += 2;
          continue;
        }
        ++at_;
        break;
      }
      ++at_;
    }
  } else {
    ++at_;
  }
  word_ = text_.substr(word_begin_, at_ - word_begin_);
}

void Lexer::expect(std::string_view expected) {
  if (!skip(expected)) wrong(fmt::format("'{}' where '{}' must stand", word_, expected));
}

std::uint64_t Lexer::number() {
  std::uint64_t value = 0;
  if (!read_integer(word_, value)) wrong(fmt::format("'{}' where a number must stand", word_));
  next();
  return value;
}

void Lexer::skip_past(std::string_view end) {
  while (!done() && !at(end)) next();
  expect(end);
}

// Character by character: most of a file is passed over here.
void Lexer::skip_block() {
  int depth = at("{") ? 2 : at("}") ? 0 : 1;
  for (; depth > 0; ++at_) {
    if (at_ >= text_.size()) wrong("a '{' without '}'");
    const char c = text_[at_];
    if (c == '\n') ++line_;
    if (c == '{') ++depth;
    if (c == '}') --depth;
    if (c == '/' && text_.substr(at_, 2) == "//")
      at_ = std::min(text_.find('\n', at_), text_.size()) - 1;
  }
  next();
}

void Lexer::wrong(const std::string& what) const {
  fail("[ptx] {}:{}: {}", path_, word_line_, what);
}

bool read_integer(std::string_view word, std::uint64_t& value) {
  if (!word.empty() && word.back() == 'U') word.remove_suffix(1);
  int base = 10;
  if (word.size() > 1 && word[0] == '0') {
    const char kind = word[1];
    base = kind == 'x' || kind == 'X' ? 16 : kind == 'b' || kind == 'B' ? 2 : 8;
    word.remove_prefix(base == 8 ? 1 : 2);
  }
  const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  return error == std::errc() && rest == word.data() + word.size() && !word.empty();
}

}  // namespace thorax::ptx
