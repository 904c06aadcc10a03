#include "apps/report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/report/text.h"
#include "data/csv.h"
#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

constexpr const char* kNothing = "-";

const char* name_of(CellKind kind) {
  switch (kind) {
    case CellKind::text:
      return "text";
    case CellKind::integer:
      return "integer";
    case CellKind::number:
      return "number";
    case CellKind::percent:
      return "percent";
  }
  return "";
}

bool is_number(CellKind kind) {
  return kind == CellKind::number || kind == CellKind::percent;
}

bool is_nothing(const Cell& cell) {
  if (const double* number = std::get_if<double>(&cell)) return std::isnan(*number);
  if (const Interval* interval = std::get_if<Interval>(&cell)) return std::isnan(interval->value);
  return std::holds_alternative<std::monostate>(cell);
}

bool fits(const Cell& cell, CellKind kind) {
  if (std::holds_alternative<std::monostate>(cell)) return true;
  if (std::holds_alternative<std::string>(cell)) return kind == CellKind::text;
  if (std::holds_alternative<std::int64_t>(cell)) return kind != CellKind::text;
  return is_number(kind);
}

std::string fixed(double value, const TableColumn& column) {
  if (std::isnan(value)) return kNothing;
  const double shown = column.kind == CellKind::percent ? 100 * value : value;
  std::string text = fmt::format("{:.{}f}", shown, column.digits);
  // Minus zero says nothing to a reader.
  if (text.find_first_not_of("-0.") == std::string::npos && text[0] == '-') text.erase(0, 1);
  return text;
}

std::string heading(const TableColumn& column) {
  return clean_text(column.name) + (column.kind == CellKind::percent ? " (%)" : "");
}

// Full precision: reading it back gives the same double.
std::string exact(double value) {
  return std::isnan(value) ? "" : fmt::format("{}", value);
}

bool has_interval(const Table& table, std::size_t column) {
  return std::any_of(table.rows.begin(), table.rows.end(), [&](const std::vector<Cell>& row) {
    return std::holds_alternative<Interval>(row[column]);
  });
}

nlohmann::ordered_json json_number(double value) {
  if (std::isfinite(value)) return value;
  return nullptr;
}

nlohmann::ordered_json json_cell(const Cell& cell) {
  if (is_nothing(cell)) return nullptr;
  if (const auto* text = std::get_if<std::string>(&cell)) return clean_lines(*text);
  if (const auto* integer = std::get_if<std::int64_t>(&cell)) return *integer;
  if (const auto* number = std::get_if<double>(&cell)) return json_number(*number);
  const Interval& i = std::get<Interval>(cell);
  return {
      {"value", json_number(i.value)}, {"low", json_number(i.low)}, {"high", json_number(i.high)}};
}

std::string padded(const std::string& text, std::size_t width, bool left) {
  const std::string blanks(width - std::min(width, text_columns(text)), ' ');
  return left ? text + blanks : blanks + text;
}

}  // namespace

Cell number_cell(double value) {
  return std::isnan(value) ? Cell{} : Cell{value};
}

Cell interval_cell(const Interval& interval) {
  if (std::isnan(interval.value)) return {};
  return std::isnan(interval.low) ? Cell{interval.value} : Cell{interval};
}

void Table::check() const {
  const std::string name = clean_text(title);
  THORAX_CHECK(!columns.empty(), "[table] {}: has no columns", name);
  std::set<std::string> names;
  for (const TableColumn& column : columns) {
    THORAX_CHECK(!column.name.empty(), "[table] {}: a column has no name", name);
    THORAX_CHECK(names.insert(column.name).second, "[table] {}: two columns are named '{}'", name,
                 clean_text(column.name));
    THORAX_CHECK(column.digits >= 0 && column.digits <= 17,
                 "[table] {}: column '{}' wants {} digits; there may be 0 to 17", name,
                 clean_text(column.name), column.digits);
  }
  THORAX_CHECK(summary_rows >= 0 && static_cast<std::size_t>(summary_rows) <= rows.size(),
               "[table] {}: {} summary rows of {} rows", name, summary_rows, rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    THORAX_CHECK(rows[r].size() == columns.size(), "[table] {}: row {} has {} cells for {} columns",
                 name, r + 1, rows[r].size(), columns.size());
    for (std::size_t c = 0; c < columns.size(); ++c)
      THORAX_CHECK(fits(rows[r][c], columns[c].kind),
                   "[table] {}: row {}: a cell of column '{}' is no {}", name, r + 1,
                   clean_text(columns[c].name), name_of(columns[c].kind));
  }
}

std::string cell_text(const Cell& cell, const TableColumn& column) {
  if (is_nothing(cell)) return kNothing;
  if (const auto* text = std::get_if<std::string>(&cell)) return clean_text(*text);
  if (const auto* integer = std::get_if<std::int64_t>(&cell)) return fmt::format("{}", *integer);
  if (const auto* number = std::get_if<double>(&cell)) return fixed(*number, column);
  const Interval& i = std::get<Interval>(cell);
  return fmt::format("{} ({} to {})", fixed(i.value, column), fixed(i.low, column),
                     fixed(i.high, column));
}

std::string to_text(const Table& table) {
  table.check();
  const std::size_t count = table.columns.size();
  std::vector<std::vector<std::string>> lines(1);
  for (const TableColumn& column : table.columns) lines[0].push_back(heading(column));
  for (const std::vector<Cell>& row : table.rows) {
    lines.emplace_back();
    for (std::size_t c = 0; c < count; ++c)
      lines.back().push_back(cell_text(row[c], table.columns[c]));
  }
  std::vector<std::size_t> widths(count, 0);
  for (const std::vector<std::string>& line : lines)
    for (std::size_t c = 0; c < count; ++c) widths[c] = std::max(widths[c], text_columns(line[c]));
  std::size_t total = 2 * (count - 1);
  for (const std::size_t width : widths) total += width;
  const std::string rule(total, '-');
  std::string out = table.title.empty() ? "" : clean_text(table.title) + "\n";
  for (std::size_t l = 0; l < lines.size(); ++l) {
    if (l == 1 || (table.summary_rows > 0 &&
                   l == lines.size() - static_cast<std::size_t>(table.summary_rows) && l > 1))
      out += rule + "\n";
    std::string line;
    for (std::size_t c = 0; c < count; ++c)
      line += (c == 0 ? "" : "  ") +
              padded(lines[l][c], widths[c], table.columns[c].kind == CellKind::text);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  for (const std::string& note : table.notes) out += clean_text(note) + "\n";
  return out;
}

std::string to_csv(const Table& table) {
  table.check();
  std::vector<std::string> names;
  std::vector<bool> wide;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const std::string name = clean_text(table.columns[c].name);
    names.push_back(name);
    wide.push_back(has_interval(table, c));
    if (wide.back()) names.insert(names.end(), {name + " low", name + " high"});
  }
  std::string out = csv_line(names);
  for (const std::vector<Cell>& row : table.rows) {
    std::vector<std::string> fields;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const Interval* interval = std::get_if<Interval>(&row[c]);
      if (const auto* text = std::get_if<std::string>(&row[c]))
        fields.push_back(clean_lines(*text));
      else if (const auto* integer = std::get_if<std::int64_t>(&row[c]))
        fields.push_back(fmt::format("{}", *integer));
      else if (const auto* number = std::get_if<double>(&row[c]))
        fields.push_back(exact(*number));
      else
        fields.push_back(interval ? exact(interval->value) : "");
      if (wide[c]) {
        fields.push_back(interval ? exact(interval->low) : "");
        fields.push_back(interval ? exact(interval->high) : "");
      }
    }
    out += csv_line(fields);
  }
  return out;
}

nlohmann::ordered_json to_json(const Table& table) {
  table.check();
  using Json = nlohmann::ordered_json;
  Json out{{"title", clean_text(table.title)}};
  for (const char* list : {"columns", "rows", "summary_rows", "notes"}) out[list] = Json::array();
  for (const TableColumn& column : table.columns)
    out["columns"].push_back({{"name", clean_text(column.name)}, {"kind", name_of(column.kind)}});
  const std::size_t body = table.rows.size() - static_cast<std::size_t>(table.summary_rows);
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    Json row = Json::object();
    for (std::size_t c = 0; c < table.columns.size(); ++c)
      row[clean_text(table.columns[c].name)] = json_cell(table.rows[r][c]);
    out[r < body ? "rows" : "summary_rows"].push_back(std::move(row));
  }
  for (const std::string& note : table.notes) out["notes"].push_back(clean_text(note));
  return out;
}

std::string to_html(const Table& table) {
  table.check();
  std::string out = "<div class=\"table\"><table>\n";
  if (!table.title.empty()) out += "<caption>" + escape_html(table.title) + "</caption>\n";
  const auto kind = [&](std::size_t c) {
    return table.columns[c].kind == CellKind::text ? "" : " class=\"number\"";
  };
  out += "<thead><tr>";
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    out +=
        fmt::format("<th scope=\"col\"{}>{}</th>", kind(c), escape_html(heading(table.columns[c])));
  out += "</tr></thead>\n<tbody>\n";
  const std::size_t body = table.rows.size() - static_cast<std::size_t>(table.summary_rows);
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    if (r == body) out += "</tbody>\n<tbody class=\"summary\">\n";
    out += "<tr>";
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      // The first text of a row names it.
      const bool names = c == 0 && table.columns[c].kind == CellKind::text;
      const auto* text = std::get_if<std::string>(&table.rows[r][c]);
      const std::string shown =
          escape_html(text ? *text : cell_text(table.rows[r][c], table.columns[c]));
      out += names ? fmt::format("<th scope=\"row\">{}</th>", shown)
                   : fmt::format("<td{}>{}</td>", kind(c), shown);
    }
    out += "</tr>\n";
  }
  out += "</tbody>\n</table>\n";
  for (const std::string& note : table.notes)
    out += "<p class=\"table-note\">" + escape_html(note) + "</p>\n";
  return out + "</div>\n";
}

void save_table(const Table& table, const std::filesystem::path& stem) {
  const auto with = [&](const char* extension) {
    std::filesystem::path path = stem;
    path += extension;
    return path;
  };
  atomic_write(with(".csv"), to_csv(table));
  atomic_write(with(".json"), to_json(table).dump(2) + "\n");
  atomic_write(with(".txt"), to_text(table));
}

}  // namespace thorax::app
