// Files, classes, patients and findings whose names are markup, formulas, commands, or instructions
// to a terminal, through the commands: nothing runs them, and they arrive whole.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "data/csv.h"
#include "data/encode.h"
#include "tests/support/program.h"
#include "tests/support/run_program.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// File names; none holds a slash or a NUL byte, which no file system takes.
std::vector<std::string> hostile_names() {
  return {"=cmd|' &C calc'!A1.png",
          "+1+1.png",
          "-2+3.png",
          "@SUM(1).png",
          "<img src=x onerror=alert(1)>.png",
          "\"quoted\", 'twice'.png",
          "`touch canary`.png",
          "$(touch canary).png",
          "';system('touch canary');'.png",
          "two\nlines.png",
          "red\x1b[31m\x1b]0;title\x07.png",
          "\xE2\x80\xAEgnp.exe.png",
          "\xC2\x9B"
          "2J.png",
          "a;b&c|d>e.png",
          "%s%n%d{}.png",
          "\\..\\back.png"};
}

ImageU8 noise(std::size_t seed) {
  ImageU8 image(40, 40);
  std::uint32_t state = static_cast<std::uint32_t>(seed) * 2654435761u + 1;
  for (std::uint8_t& pixel : image.pixels) {
    state = state * 1664525u + 1013904223u;
    pixel = static_cast<std::uint8_t>(state >> 24);
  }
  return image;
}

// A manifest of one image per name, patients and findings named alike, in two classes. Gives its
// path.
std::string hostile_data(const TemporaryFolder& t) {
  std::string manifest = csv_line({"path", "label", "patient", "finding", "view"});
  const std::vector<std::string> names = hostile_names();
  fs::create_directories(t / "data");
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto png = encode_png(noise(i));
    std::ofstream(fs::path(t / "data") / names[i], std::ios::binary)
        .write(reinterpret_cast<const char*>(png.data()), static_cast<std::streamsize>(png.size()));
    const std::string stem = names[i].substr(0, names[i].size() - 4);
    manifest +=
        csv_line({names[i], i % 2 ? "=2+5<svg onload=alert(1)>" : "+a'\"`b`", stem, stem, stem});
  }
  const std::string path = t / "data/manifest.csv";
  std::ofstream(path, std::ios::binary) << manifest;
  return path;
}

// What a terminal would obey, or show as something else: control characters other than the newline
// (in UTF-8: C1, too) and marks that turn the direction of writing.
std::string terminal_orders(const std::string& text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = [&](std::size_t k) {
      return k < text.size() ? static_cast<unsigned char>(text[k]) : 0u;
    };
    const bool c0 = (byte(i) < 0x20 && text[i] != '\n' && text[i] != '\t' && text[i] != '\r') ||
                    byte(i) == 0x7F;
    const bool c1 = byte(i) == 0xC2 && byte(i + 1) >= 0x80 && byte(i + 1) < 0xA0;
    const bool turn =
        byte(i) == 0xE2 && ((byte(i + 1) == 0x80 && byte(i + 2) >= 0xAA && byte(i + 2) <= 0xAE) ||
                            (byte(i + 1) == 0x81 && byte(i + 2) >= 0xA6 && byte(i + 2) <= 0xA9));
    if (c0 || c1 || turn) return text.substr(i > 40 ? i - 40 : 0, 80);
  }
  return "";
}

// A cell that a spreadsheet would compute: it begins with one of = + - @ TAB CR, and is no number.
std::string formula(const fs::path& file) {
  const CsvTable table = CsvTable::read(file);
  const auto computes = [](const std::string& cell) {
    if (cell.empty() || std::string("=+-@\t\r").find(cell[0]) == std::string::npos) return false;
    char* end = nullptr;
    std::strtod(cell.c_str(), &end);
    return *end != '\0';
  };
  // As a spreadsheet sees them: the raw text between the separators.
  for (const std::string& title : table.columns())
    if (computes(title)) return title;
  std::string text = file_text(file), cell;
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == ',' || c == '\n')) {
      if (computes(cell)) return cell;
      cell.clear();
    } else {
      cell += c;
    }
  }
  return computes(cell) ? cell : "";
}

void check_files(const fs::path& folder) {
  int tables = 0, pages = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const fs::path& file = entry.path();
    INFO(file.string());
    if (file.extension() == ".csv") {
      CHECK(formula(file) == "");
      ++tables;
    } else if (file.extension() == ".html") {
      const std::string text = file_text(file);
      CHECK(text.find("<script") == text.npos);
      CHECK(text.find("<img src=x") == text.npos);
      CHECK(terminal_orders(text) == "");
      ++pages;
    } else if (file.extension() == ".json") {
      CHECK_NOTHROW(nlohmann::json::parse(file_text(file)));
    }
  }
  CHECK(tables > 0);
  CHECK(pages > 0);
}

}  // namespace

TEST_CASE("hostile names: a data set is described and drawn, and read again from its manifest") {
  const TemporaryFolder t;
  const std::string manifest = hostile_data(t);
  const Outcome described =
      run_thorax({"data", "describe", "--data", "manifest:" + manifest, "--out", t / "described"});
  INFO(described.output);
  REQUIRE(described.exit_code == 0);
  CHECK(terminal_orders(described.output) == "");
  const Outcome drawn =
      run_thorax({"data", "figures", "--data", "manifest:" + manifest, "--out", t / "figures"});
  INFO(drawn.output);
  REQUIRE(drawn.exit_code == 0);
  CHECK(terminal_orders(drawn.output) == "");
  CHECK(formula(t / "described/manifest.csv") == "");
  check_files(t / "figures");
  CHECK_FALSE(fs::exists("canary"));
  // Every image is still there under its own name.
  const Outcome json = run_thorax(
      {"data", "describe", "--json", "--data", "manifest:" + (t / "described/manifest.csv")});
  INFO(json.output);
  REQUIRE(json.exit_code == 0);
  CHECK(nlohmann::json::parse(json.output).at("images") == hostile_names().size());
}

TEST_CASE("hostile names: cross-validation, its tables and its report") {
  const TemporaryFolder t;
  const std::string manifest = hostile_data(t);
  const Outcome folds =
      run_thorax({"kfold", "classifier", "--data", "manifest:" + manifest + ",positive=+a'\"`b`",
                  "--model", "resnet18", "--size", "32", "--folds", "2", "--batch", "4", "--epochs",
                  "1", "--heatmaps", "1", "--out", t / "run"});
  INFO(folds.output);
  REQUIRE(folds.exit_code == 0);
  CHECK(terminal_orders(folds.output) == "");
  check_files(t / "run");
  CHECK_FALSE(fs::exists("canary"));
  std::set<std::string> seen;
  for (const char* fold : {"run/fold_0/predictions.csv", "run/fold_1/predictions.csv"}) {
    const CsvTable table = CsvTable::read(t / fold);
    for (std::int64_t row = 0; row < table.rows(); ++row)
      seen.insert(table.at(row, table.column("image")));
  }
  CHECK(seen.size() == hostile_names().size());
}
