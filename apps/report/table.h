// A table of results once, shown everywhere: aligned text, CSV, JSON, HTML.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <variant>
#include <vector>

namespace thorax::app {

enum class CellKind {
  text,
  integer,
  number,   // `digits` after the point
  percent,  // a share, 0..1, shown as 100 times that with `digits` after the point
};

struct TableColumn {
  std::string name;  // with the unit, if any: "time (s)"; percent columns are shown as "name (%)"
  CellKind kind = CellKind::text;
  int digits = 2;
};

// A value with the interval that it is known to lie in, or a spread around it.
struct Interval {
  double value = 0, low = 0, high = 0;
};

// Nothing (shown as "-"), a text, a whole number, a number, a number with its interval. NaN is
// nothing. An integer column takes integers only; in number and percent columns a whole number is a
// count (of the folds that a mean is of, say) and shown as it is.
using Cell = std::variant<std::monostate, std::string, std::int64_t, double, Interval>;

// Nothing where the value is NaN; a number alone where only its ends are.
Cell number_cell(double value);
Cell interval_cell(const Interval& interval);

struct Table {
  std::string title;  // may be empty
  std::vector<TableColumn> columns;
  std::vector<std::vector<Cell>> rows = {};
  int summary_rows = 0;                 // the last rows are means or sums: set off from the others
  std::vector<std::string> notes = {};  // sentences below the table

  // Throws Error "[table] TITLE: ..." when a row has another number of cells than there are
  // columns, a cell does not fit its column's kind, a column name is empty or occurs twice, or
  // `summary_rows` exceeds the rows. The functions below call it.
  void check() const;
};

// One cell as text and HTML show it: "97.56", "97.56 (95.10 to 99.02)", "-".
std::string cell_text(const Cell& cell, const TableColumn& column);

// For a terminal: title, names, values; texts to the left, numbers to the right. Ends in a newline.
std::string to_text(const Table& table);

// RFC 4180, one line of names, without title and notes. Numbers in full precision, shares as 0..1,
// nothing as an empty field. A column with an Interval in it becomes three: "name", "name low",
// "name high".
std::string to_csv(const Table& table);

// {"title", "columns": [{"name", "kind"}], "rows": [{name: value}], "summary_rows": [...], "notes"}
// with values as in CSV; an Interval is {"value", "low", "high"}, nothing is null.
nlohmann::ordered_json to_json(const Table& table);

// A <table> with caption and scopes, every text escaped; the page gives it its style (report.h).
std::string to_html(const Table& table);

// Writes STEM.csv, STEM.json and STEM.txt atomically.
void save_table(const Table& table, const std::filesystem::path& stem);

}  // namespace thorax::app
