#include "data/csv.h"

#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;

TEST_CASE("csv: quotes, commas, newlines, CRLF and byte order mark") {
  const CsvTable t = CsvTable::parse(
      "\xEF\xBB\xBF"
      "a,b,\"c d\"\r\n1,\"x, y\",\"say \"\"hi\"\"\"\r\n2,\"two\nlines\",\r\n\r\n,,\"\"",
      "t.csv");
  CHECK(t.columns() == std::vector<std::string>{"a", "b", "c d"});
  REQUIRE(t.rows() == 3);
  CHECK(t.at(0, 1) == "x, y");
  CHECK(t.at(0, 2) == "say \"hi\"");
  CHECK(t.at(1, 1) == "two\nlines");
  CHECK(t.at(1, 2) == "");
  CHECK(t.at(2, 0) == "");
  CHECK(t.where(1) == "t.csv:3");
  CHECK(t.where(2) == "t.csv:6");
  CHECK(t.column("c d") == 2);
  CHECK(t.find_column("z") == -1);
}

TEST_CASE("csv: several byte order marks, and fields that begin with one") {
  const std::string mark = "\xEF\xBB\xBF";
  CHECK(CsvTable::parse(mark + mark + "a,b\n1,2\n", "t.csv").columns() ==
        std::vector<std::string>{"a", "b"});
  const std::vector<std::string> fields = {mark + "a", "b", mark};
  CHECK(CsvTable::parse(csv_line(fields), "t.csv").columns() == fields);
}

TEST_CASE("csv: header that splits into as many fields as the rows") {
  const CsvTable t =
      CsvTable::parse("Name,Size[W,H],Spacing[x,y]\na.png,10,20,0.1,0.2\n", "nih.csv");
  CHECK(t.columns().size() == 5);
  CHECK(t.at(0, t.column("Name")) == "a.png");
  CHECK(t.at(0, 4) == "0.2");
}

TEST_CASE("csv: every broken rule names file, line and rule") {
  CHECK_ERROR(CsvTable::parse("", "e.csv"), "e.csv: file is empty");
  CHECK_ERROR(CsvTable::parse("\n\n", "e.csv"), "e.csv: file is empty");
  CHECK_ERROR(CsvTable::parse("a,b\n1,2\n3\n", "e.csv"),
              "e.csv:3: row has 1 fields, the header has 2");
  CHECK_ERROR(CsvTable::parse("a,b\n1,2,3\n", "e.csv"), "e.csv:2: row has 3 fields");
  CHECK_ERROR(CsvTable::parse("a,b\n1,\"2\n3,4\n", "e.csv"), "e.csv:2: quote is never closed");
  CHECK_ERROR(CsvTable::parse("a,b\n1,\"2\"x\n", "e.csv"), "e.csv:2: text after a closing quote");
  CHECK_ERROR(CsvTable::parse("a,b\n1,2\"x\n", "e.csv"), "e.csv:2: quote inside an unquoted field");
  CHECK_ERROR(CsvTable::parse("a,a\n", "e.csv"), "e.csv:1: column 'a' appears twice");
  CHECK_ERROR(CsvTable::parse(std::string("a,b\n1,\0\n", 8), "e.csv"), "e.csv:2: NUL byte");
  CHECK_ERROR(CsvTable::parse("a,b\n", "e.csv").column("label"),
              "column 'label' is missing; the file has: a, b");
  CHECK_ERROR(CsvTable::read("/nowhere/x.csv"), "/nowhere/x.csv: cannot be read");
  TempFolder tmp;
  write_text(tmp / "zero.csv", "");
  CHECK_ERROR(CsvTable::read(tmp / "zero.csv"), "zero.csv: file is empty");
  CHECK_ERROR(CsvTable::read(tmp.path()), "is not a regular file");
}

TEST_CASE("csv: what csv_line writes, parse reads") {
  std::mt19937 random(7);
  const std::string alphabet = "ab,\"\n\r ;\xC3";
  for (int round = 0; round < 300; ++round) {
    const int columns = 1 + static_cast<int>(random() % 5), rows = static_cast<int>(random() % 6);
    std::vector<std::string> header;
    for (int c = 0; c < columns; ++c) header.push_back("c" + std::to_string(c));
    std::string text = csv_line(header);
    std::vector<std::vector<std::string>> fields(rows, std::vector<std::string>(columns));
    for (auto& row : fields) {
      for (auto& f : row)
        for (int n = static_cast<int>(random() % 6); n > 0; --n)
          f += alphabet[random() % alphabet.size()];
      text += csv_line(row);
    }
    const CsvTable t = CsvTable::parse(text, "round.csv");
    REQUIRE(t.rows() == rows);
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) CHECK(t.at(r, c) == fields[r][c]);
  }
}

TEST_CASE("csv: random text ends in a table or an error") {
  std::mt19937 random(11);
  const std::string alphabet("a1,,\"\"\n\n\r\0\xFF", 12);
  int tables = 0, errors = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (int n = static_cast<int>(random() % 40); n > 0; --n)
      text += alphabet[random() % alphabet.size()];
    try {
      const CsvTable t = CsvTable::parse(text, "fuzz.csv");
      for (int64_t r = 0; r < t.rows(); ++r)
        for (size_t c = 0; c < t.columns().size(); ++c)
          CHECK(t.at(r, static_cast<int>(c)).size() <= text.size());
      ++tables;
    } catch (const Error& e) {
      CHECK(contains(e.what(), "fuzz.csv"));
      ++errors;
    }
  }
  CHECK(tables > 100);
  CHECK(errors > 100);
}

TEST_CASE("no cell is a formula for a spreadsheet, and every text comes back as it was") {
  CHECK(thorax::csv_field("=1+1") == "'=1+1");
  CHECK(thorax::csv_field("@x,y") == "\"'@x,y\"");
  CHECK(thorax::csv_field("+49") == "'+49");
  CHECK(thorax::csv_field("-x.png") == "'-x.png");
  CHECK(thorax::csv_field("\tx") == "'\tx");
  CHECK(thorax::csv_field("\rx") == "\"'\rx\"");
  // Numbers stay numbers, and a name like any other stays as it is.
  for (const char* plain : {"-0.5", "-1e-300", "-3", "12", "it's", "'quoted'", "a=b", ""})
    CHECK(thorax::csv_field(plain) == plain);
  for (const std::string text : {"=1+1", "'=1", "''=1", "-x", "'-0.5", "-0.5", "@", "+", "\tx",
                                 "\rx", "'", "''", "'a", "=\"a\"", "-"}) {
    CAPTURE(text);
    const auto table = thorax::CsvTable::parse("a,b\n" + thorax::csv_line({text, "end"}), "x.csv");
    CHECK(table.at(0, 0) == text);
  }
}
