// Words of PTX text ("Lexical Elements").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace thorax::ptx {

class Lexer {
 public:
  Lexer(const std::string& path, std::string_view text, std::uint32_t line)
      : path_(path), text_(text), line_(line) {
    next();
  }

  // An identifier or number with its dots, one character of punctuation, or a string with its
  // quotes; empty at the end.
  std::string_view word() const { return word_; }
  std::uint32_t line() const { return word_line_; }
  std::size_t position() const { return word_begin_; }
  bool done() const { return word_.empty(); }
  bool at(std::string_view expected) const { return word_ == expected; }
  void next();
  std::string_view take() {
    const std::string_view taken = word_;
    next();
    return taken;
  }
  bool skip(std::string_view expected) {
    if (word_ != expected) return false;
    next();
    return true;
  }
  void expect(std::string_view expected);
  std::uint64_t number();  // an integer without sign
  // Ahead to what follows the next `end`.
  void skip_past(std::string_view end);
  // Ahead to what follows the brace that closes one which has been read.
  void skip_block();

  [[noreturn]] void wrong(const std::string& what) const;

 private:
  void skip_space();

  const std::string& path_;
  std::string_view text_;
  std::size_t at_ = 0, word_begin_ = 0;
  std::uint32_t line_, word_line_ = 0;
  std::string_view word_;
};

// An integer constant: decimal, 0x, octal, 0b, with a U at its end ("Integer Constants").
bool read_integer(std::string_view word, std::uint64_t& value);

}  // namespace thorax::ptx
