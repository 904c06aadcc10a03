// RFC 4180 tables: quoted fields, embedded commas, quotes and newlines, CRLF, byte order mark.
//
// Spreadsheets take a cell for a formula when it begins with = + - @ TAB or CR, and a file or class
// name may. Written, such a field gets an apostrophe in front, as a person would type it, unless
// the whole of it is a number (-0.5); read, an apostrophe before one of these characters is taken
// off. A field that begins so by itself ('=x) gets one more, so that every text comes back as it
// was.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace thorax {

// A whole table in memory. Every row has as many fields as the header.
class CsvTable {
 public:
  // Both throw Error "[csv] FILE:LINE: rule" (or "[io] FILE: reason") for: missing or empty file,
  // ragged row, unterminated quote, text after a closing quote, a quote inside an unquoted field,
  // NUL byte, repeated column name.
  static CsvTable read(const std::filesystem::path& path, int64_t max_bytes = int64_t{1} << 30);
  static CsvTable parse(std::string_view text, const std::string& name);

  const std::string& name() const { return name_; }
  const std::vector<std::string>& columns() const { return columns_; }
  int64_t rows() const { return static_cast<int64_t>(lines_.size()); }

  // Position of a column; throws (naming the file and all columns) if there is none.
  int column(std::string_view title) const;
  // The same, or -1.
  int find_column(std::string_view title) const;

  const std::string& at(int64_t row, int column) const;
  // "FILE:LINE" where the row begins, for messages.
  std::string where(int64_t row) const;

 private:
  std::string name_;
  std::vector<std::string> columns_;
  std::vector<std::string> fields_;  // rows * columns
  std::vector<int64_t> lines_;       // first line of each row, from 1
};

// A field as RFC 4180 wants it, quoted only where it must be, and no formula.
std::string csv_field(std::string_view text);
// Fields joined by commas, ended by "\n".
std::string csv_line(const std::vector<std::string>& fields);

// Text without blanks at both ends.
std::string trimmed(std::string_view text);

}  // namespace thorax
