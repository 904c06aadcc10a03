#include "data/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// Whether a spreadsheet could take the text for a formula, apostrophes before it left aside.
bool like_formula(std::string_view text) {
  const size_t first = text.find_first_not_of('\'');
  return first != std::string_view::npos &&
         std::string_view("=+-@\t\r").find(text[first]) != std::string_view::npos;
}

bool is_number(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && rest == end;
}

// One pass over the text, one record at a time.
class CsvScanner {
 public:
  CsvScanner(std::string_view text, const std::string& name) : text_(text), name_(name) {
    // Joined and re-saved files have several.
    while (text_.substr(at_).starts_with(kByteOrderMark)) at_ += kByteOrderMark.size();
  }

  // False at the end of the text. A line without any character is skipped.
  bool next(std::vector<std::string>& record, int64_t& line) {
    record.clear();
    while (at_ < text_.size() && (text_[at_] == '\n' || text_[at_] == '\r')) end_line();
    if (at_ >= text_.size()) return false;
    line = line_;
    for (;;) {
      record.emplace_back();
      if (peek() == '"')
        quoted(record.back());
      else
        unquoted(record.back());
      if (record.back().starts_with('\'') && like_formula(record.back())) record.back().erase(0, 1);
      if (at_ >= text_.size()) return true;
      if (text_[at_] != ',') break;
      ++at_;
    }
    end_line();
    return true;
  }

 private:
  int peek() const { return at_ < text_.size() ? static_cast<unsigned char>(text_[at_]) : -1; }

  void end_line() {
    if (text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') ++at_;
    ++at_;
    ++line_;
  }

  void check_char(char c) const {
    THORAX_CHECK(c != '\0', "[csv] {}:{}: NUL byte: this is not a text file", name_, line_);
  }

  void unquoted(std::string& field) {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == ',' || c == '\n' || c == '\r') return;
      check_char(c);
      THORAX_CHECK(c != '"', "[csv] {}:{}: quote inside an unquoted field", name_, line_);
      field += c;
    }
  }

  void quoted(std::string& field) {
    const int64_t opened = line_;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      check_char(c);
      if (c == '"') {
        if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
          field += '"';
          ++at_;
          continue;
        }
        ++at_;
        const int after = peek();
        THORAX_CHECK(after == -1 || after == ',' || after == '\n' || after == '\r',
                     "[csv] {}:{}: text after a closing quote", name_, line_);
        return;
      }
      if (c == '\n') ++line_;
      field += c;
    }
    fail("[csv] {}:{}: quote is never closed", name_, opened);
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

}  // namespace

CsvTable CsvTable::read(const std::filesystem::path& path, int64_t max_bytes) {
  return parse(read_file(path, static_cast<uint64_t>(max_bytes)), path.string());
}

CsvTable CsvTable::parse(std::string_view text, const std::string& name) {
  CsvTable table;
  table.name_ = name;
  CsvScanner scanner(text, name);
  std::vector<std::string> record;
  int64_t line = 0;
  THORAX_CHECK(scanner.next(record, line), "[csv] {}: file is empty: a header row is wanted", name);
  for (const std::string& title : record) table.columns_.push_back(trimmed(title));
  std::set<std::string> seen;
  for (const std::string& title : table.columns_)
    THORAX_CHECK(title.empty() || seen.insert(title).second,
                 "[csv] {}:{}: column '{}' appears twice", name, line, title);
  while (scanner.next(record, line)) {
    THORAX_CHECK(record.size() == table.columns_.size(),
                 "[csv] {}:{}: row has {} fields, the header has {}", name, line, record.size(),
                 table.columns_.size());
    table.lines_.push_back(line);
    std::move(record.begin(), record.end(), std::back_inserter(table.fields_));
  }
  return table;
}

int CsvTable::find_column(std::string_view title) const {
  const auto found = std::find(columns_.begin(), columns_.end(), title);
  return found == columns_.end() ? -1 : static_cast<int>(found - columns_.begin());
}

int CsvTable::column(std::string_view title) const {
  const int at = find_column(title);
  THORAX_CHECK(at >= 0, "[csv] {}: column '{}' is missing; the file has: {}", name_, title,
               fmt::join(columns_, ", "));
  return at;
}

const std::string& CsvTable::at(int64_t row, int column) const {
  THORAX_CHECK(
      row >= 0 && row < rows() && column >= 0 && column < static_cast<int>(columns_.size()),
      "[csv] {}: no row {} column {}", name_, row, column);
  return fields_[static_cast<size_t>(row) * columns_.size() + static_cast<size_t>(column)];
}

std::string CsvTable::where(int64_t row) const {
  return fmt::format("{}:{}", name_, lines_.at(static_cast<size_t>(row)));
}

std::string csv_field(std::string_view plain) {
  const std::string text =
      like_formula(plain) && !is_number(plain) ? "'" + std::string(plain) : std::string(plain);
  // A field that begins with the mark would lose it as the first of a file.
  if (text.find_first_of(",\"\r\n") == std::string_view::npos && !text.starts_with(kByteOrderMark))
    return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string csv_line(const std::vector<std::string>& fields) {
  std::string out;
  for (size_t i = 0; i < fields.size(); ++i) {
    if (i) out += ',';
    // A record of one empty field would be an empty line, which readers skip.
    out += fields.size() == 1 && fields[i].empty() ? "\"\"" : csv_field(fields[i]);
  }
  return out + '\n';
}

std::string trimmed(std::string_view text) {
  const auto blank = " \t\r\n";
  const size_t first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(blank) - first + 1));
}

}  // namespace thorax
