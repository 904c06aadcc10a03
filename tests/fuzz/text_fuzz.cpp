// Texts: JSON and what is configured by it, CSV, the "--data" argument.
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/bench/sass.h"
#include "data/augment.h"
#include "data/csv.h"
#include "data/dataset.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"
#include "engine/optim/schedule.h"
#include "tests/fuzz/harness.h"

namespace thorax::fuzz {
namespace {

void json(Bytes bytes) {
  const std::string name = "input.json";
  nlohmann::json value;
  if (!accepted(name, [&] { value = parse_json(as_text(bytes), name); })) return;
  FUZZ_REQUIRE(parse_json(value.dump(), name) == value, "other values when written and read again");
  // Every getter on every key; each takes the value or refuses it.
  if (!accepted(name, [&] { ConfigObject(value, name); })) return;
  const ConfigObject object(value, name);
  for (const auto& [text, held] : value.items()) {
    const char* key = text.c_str();
    accepted(name, [&] {
      const double number = object.number(key);
      FUZZ_REQUIRE(std::isfinite(number), "{} is taken for a number", number);
    });
    accepted(name, [&] {
      const std::int64_t whole = object.integer(key, -5, 1000);
      FUZZ_REQUIRE(whole >= -5 && whole <= 1000, "{} is outside of the range", whole);
    });
    accepted(name, [&] { object.boolean(key); });
    accepted(name, [&] { object.text(key); });
    accepted(name, [&] { object.choice(key, {"adam", "sgd"}); });
    accepted(name, [&] { object.numbers_or(key, {}); });
    accepted(name, [&] { object.integers_or(key, {}); });
    accepted(name, [&] { object.texts_or(key, {}); });
    accepted(name, [&] { object.object(key).finish(); });
    accepted(name, [&] {
      for (const ConfigObject& one : object.objects(key)) accepted(name, [&] { one.finish(); });
    });
  }
}
const Enter enter_json("json", {json});

void sass(Bytes bytes) {
  const std::string name = "input.sass";
  std::vector<app::SassKernel> kernels;
  if (!accepted(name, [&] { kernels = app::parse_sass(as_text(bytes), name); })) return;
  for (const app::SassKernel& kernel : kernels)
    for (const app::SassLoop& loop : kernel.loops()) {
      FUZZ_REQUIRE(loop.depth >= 1 && loop.blocks >= 1, "depth {}, {} blocks", loop.depth,
                   loop.blocks);
      FUZZ_REQUIRE(loop.instructions() >= loop.blocks &&
                       loop.instructions() <= static_cast<int>(kernel.instructions.size()),
                   "{} instructions", loop.instructions());
      bool begins = false;
      for (const app::SassInstruction& i : kernel.instructions) begins |= i.address == loop.head;
      FUZZ_REQUIRE(begins, "a loop at {:#x}", loop.head);
    }
}
const Enter enter_sass("sass", {sass});

// What is taken is something that JSON can hold, and has a line for each key.
void toml(Bytes bytes) {
  const std::string name = "input.toml";
  nlohmann::json value;
  ConfigLines lines;
  if (!accepted(name, [&] { value = parse_toml(as_text(bytes), name, &lines); })) return;
  FUZZ_REQUIRE(value.is_object(), "{} is no object", value.type_name());
  FUZZ_REQUIRE(parse_json(dump_json(value), name) == value, "other values as JSON");
  for (const auto& [key, held] : value.items())
    FUZZ_REQUIRE(lines.count(key) == 1, "no line of a key");
}
const Enter enter_toml("toml", {toml});

// A learning-rate schedule and an augmentation, as configuration files give them.
void settings(Bytes bytes) {
  const std::string name = "input.json";
  nlohmann::json value;
  if (!accepted(name, [&] { value = parse_json(as_text(bytes), name); })) return;
  accepted("", [&] {
    const ConfigObject object(value, name);
    const Schedule schedule(schedule_options(object), 3, 30);
    object.finish();
    for (std::int64_t step = 0; step <= 30; ++step)
      FUZZ_REQUIRE(!std::isnan(schedule.lr(step)), "no learning rate at step {}", step);
  });
  accepted("", [&] {
    const AugmentConfig config = augment_from_json(value);
    const nlohmann::json written = augment_to_json(config);
    FUZZ_REQUIRE(augment_to_json(augment_from_json(written)) == written,
                 "another augmentation when written and read again");
  });
}
const Enter enter_settings("settings", {settings});

std::vector<std::vector<std::string>> rows_of(const CsvTable& table) {
  std::vector<std::vector<std::string>> rows;
  for (std::int64_t r = 0; r < table.rows(); ++r) {
    rows.emplace_back();
    for (int c = 0; c < static_cast<int>(table.columns().size()); ++c)
      rows.back().push_back(table.at(r, c));
  }
  return rows;
}

// What is taken is the same when written and read again; and any fields whatever (between bytes
// 0xFF in the input) are read as they were written.
void csv(Bytes bytes) {
  const std::string name = "input.csv";
  CsvTable table;
  if (accepted(name, [&] { table = CsvTable::parse(as_text(bytes), name); })) {
    std::string text = csv_line(table.columns());
    for (const auto& row : rows_of(table)) text += csv_line(row);
    const CsvTable again = CsvTable::parse(text, name);
    FUZZ_REQUIRE(again.columns() == table.columns(), "other columns when read again");
    FUZZ_REQUIRE(rows_of(again) == rows_of(table), "other rows when read again");
  }
  constexpr std::size_t kColumns = 3;
  std::vector<std::string> fields = pieces(bytes, '\xFF', 64);
  fields.resize((fields.size() + kColumns - 1) / kColumns * kColumns);
  std::string text = csv_line({"a", "b", "c"});
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < fields.size(); i += kColumns) {
    rows.emplace_back(fields.begin() + static_cast<std::ptrdiff_t>(i),
                      fields.begin() + static_cast<std::ptrdiff_t>(i + kColumns));
    text += csv_line(rows.back());
  }
  const bool zero = as_text(bytes).find('\0') != std::string_view::npos;
  const bool taken = accepted(name, [&] { table = CsvTable::parse(text, name); });
  FUZZ_REQUIRE(taken != zero, "what csv_line writes is read, unless it holds a NUL byte");
  if (taken) FUZZ_REQUIRE(rows_of(table) == rows, "other fields than were written");
}
const Enter enter_csv("csv", {csv});

void source_spec(Bytes bytes) {
  const std::string text(as_text(bytes));
  if (text.find('\0') != text.npos) return;  // no argument holds one
  SourceSpec spec;
  if (!accepted(text, [&] { spec = parse_source_spec(text); })) return;
  // Written as a person would, with the commas of path and values masked. A backslash at an end
  // would mask the next comma, so that option, of which there can be only one, goes last.
  const auto masked = [](const std::string& plain) {
    std::string out;
    for (const char c : plain) out += c == ',' ? std::string("\\,") : std::string(1, c);
    return out;
  };
  std::string written = spec.kind + ":" + masked(spec.path.string()), last;
  for (const auto& [key, value] : spec.options)
    (value.ends_with('\\') ? last : written) += "," + key + "=" + masked(value);
  written += last;
  const SourceSpec again = parse_source_spec(written);
  FUZZ_REQUIRE(again.kind == spec.kind && again.path == spec.path && again.options == spec.options,
               "another source when written and read again");
  // The path is replaced: the reader must not walk the file system as the input pleases.
  spec.path = scratch() / "nothing";
  const auto drop = [&](const char* key) { spec.options.erase(key); };
  drop("exclude");
  drop("masks");
  drop("table");
  const bool taken = accepted("", [&] { load_dataset(spec); });
  FUZZ_REQUIRE(!taken, "a source that is not there is read");
}
const Enter enter_source_spec("source_spec", {source_spec});

}  // namespace
}  // namespace thorax::fuzz
