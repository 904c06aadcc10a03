// Strictly read configuration, JSON or TOML: what is not known is an error, not a silent default.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace thorax {

// Parses JSON text; texts that dump_json (json_text.h) made of file names are those names again.
// Throws Error "[config] WHAT: ..." for invalid JSON, a key that appears twice,
// or nesting deeper than 64.
nlohmann::json parse_json(std::string_view text, std::string_view what);
// The same for a file of at most 64 MiB.
nlohmann::json load_json(const std::filesystem::path& path);
// The line of each key of a configuration file, by its path: "schedule.lr", "rows[1].name".
using ConfigLines = std::map<std::string, int>;
// A configuration that a person wrote: TOML (toml.io, comments after #) if its name ends with
// .toml, else JSON; the same values either way. Throws the errors of load_json, and Error
// "[config] FILE:LINE: ..." for what is no TOML and for what JSON has not: dates, inf, nan.
nlohmann::json load_config_file(const std::filesystem::path& path, ConfigLines* lines = nullptr);
nlohmann::json parse_toml(std::string_view text, std::string_view what,
                          ConfigLines* lines = nullptr);
// Writes JSON, indented, atomically.
void save_json(const std::filesystem::path& path, const nlohmann::json& value);

// One object of a configuration. Each getter names a key that may be there, and checks its value;
// finish() then refuses every key that no getter asked for, naming the nearest one that was. Errors
// read "[config] FILE:LINE: training.epochs: ...", without the line where it is not known. Objects
// taken out of it by object() are finished by their reader.
class ConfigObject {
 public:
  // `file` says in messages where the configuration came from ("run.json", "command line").
  ConfigObject(const nlohmann::json& value, std::string file);
  // By load_config_file.
  static ConfigObject load(const std::filesystem::path& path);

  bool has(const char* key) const;
  // The one-argument forms require the key. A JSON null counts as absent.
  double number(const char* key, double low = kLowest, double high = kHighest) const;
  double number_or(const char* key, double otherwise, double low = kLowest,
                   double high = kHighest) const;
  std::int64_t integer(const char* key, std::int64_t low = INT64_MIN,
                       std::int64_t high = INT64_MAX) const;
  std::int64_t integer_or(const char* key, std::int64_t otherwise, std::int64_t low = INT64_MIN,
                          std::int64_t high = INT64_MAX) const;
  bool boolean(const char* key) const;
  bool boolean_or(const char* key, bool otherwise) const;
  std::string text(const char* key) const;
  std::string text_or(const char* key, std::string otherwise) const;
  // A text that must be one of `allowed`.
  std::string choice(const char* key, const std::vector<std::string>& allowed) const;
  std::string choice_or(const char* key, std::string otherwise,
                        const std::vector<std::string>& allowed) const;
  std::vector<double> numbers_or(const char* key, std::vector<double> otherwise) const;
  std::vector<std::int64_t> integers_or(const char* key, std::vector<std::int64_t> otherwise) const;
  std::vector<std::string> texts_or(const char* key, std::vector<std::string> otherwise) const;
  // A nested object; empty when absent.
  ConfigObject object(const char* key) const;
  std::vector<ConfigObject> objects(const char* key) const;

  // Throws Error when the object holds a key that was never asked for.
  void finish() const;
  // Throws Error "[config] FILE: PATH.key: message".
  [[noreturn]] void refuse(const char* key, std::string_view message) const;
  const nlohmann::json& value() const { return *value_; }

 private:
  static constexpr double kLowest = std::numeric_limits<double>::lowest();
  static constexpr double kHighest = std::numeric_limits<double>::max();

  ConfigObject(std::shared_ptr<const nlohmann::json> value, std::string file, std::string path,
               std::shared_ptr<const ConfigLines> lines);
  // "FILE:LINE" of a path, "FILE" where the line is not known.
  std::string place(const std::string& path) const;
  // The value of a key, noted as known; null when absent.
  const nlohmann::json* find(const char* key) const;
  const nlohmann::json& need(const char* key) const;

  std::shared_ptr<const nlohmann::json> value_;
  std::string file_;
  std::string path_;  // "training.", empty at the top
  std::shared_ptr<const ConfigLines> lines_;
  mutable std::vector<std::string> known_;
};

// The candidate that is most like `word` by edit distance, or an empty string when none is close.
std::string nearest_word(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace thorax
