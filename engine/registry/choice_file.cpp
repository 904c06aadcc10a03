#include "engine/registry/choice_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/io/file_lock.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormat = "thorax provider choices";
constexpr std::int64_t kVersion = 1;

// The file is JSON, but something else's.
struct ForeignFile : Error {
  using Error::Error;
};

json to_json(const ProviderChoice& c) {
  json j{{"device", c.device},       {"environment", c.environment},
         {"operation", c.operation}, {"direction", c.direction},
         {"problem", c.problem},     {"candidates", c.candidates},
         {"provider", c.provider},   {"reason", c.reason},
         {"seconds", c.seconds},     {"default_seconds", c.default_seconds}};
  if (!c.refused.empty()) j["refused"] = c.refused;
  return j;
}

ProviderChoice from_json(const ConfigObject& j) {
  ProviderChoice c;
  c.device = j.text("device");
  c.environment = j.text("environment");
  c.operation = j.text("operation");
  c.direction = j.text("direction");
  c.problem = j.text("problem");
  c.candidates = j.texts_or("candidates", {});
  c.provider = j.text("provider");
  c.reason = j.text("reason");
  c.seconds = j.number("seconds", 0);
  c.default_seconds = j.number("default_seconds", 0);
  c.refused = j.texts_or("refused", {});
  j.finish();
  if (std::find(c.candidates.begin(), c.candidates.end(), c.provider) == c.candidates.end())
    j.refuse("provider", "is not one of the candidates");
  return c;
}

std::vector<ProviderChoice> parse(const fs::path& path) {
  const json file = load_json(path);
  if (!file.is_object() || !file.contains("format") || file.at("format") != kFormat)
    throw ForeignFile(fmt::format(
        "[autotune] {}: is no file of provider choices; it is not touched", path.string()));
  if (!file.contains("version") || file.at("version") != kVersion)
    throw ForeignFile(
        fmt::format("[autotune] {}: has version {}, this program knows {}; it is not touched",
                    path.string(), file.value("version", json()).dump(), kVersion));
  const ConfigObject object(file, path.string());
  object.text("format");
  object.integer("version");
  std::vector<ProviderChoice> choices;
  for (const ConfigObject& entry : object.objects("choices")) choices.push_back(from_json(entry));
  object.finish();
  return choices;
}

// Whether the file, damaged as it may be, was once written by ChoiceFile.
bool bears_mark(const fs::path& path) {
  try {
    return read_file(path, 64u << 20).find(kFormat) != std::string::npos;
  } catch (const Error&) {
    return false;
  }
}

fs::path with_suffix(const fs::path& path, const char* suffix) {
  return path.string() + suffix;
}

}  // namespace

std::vector<ProviderChoice> read_choices(const fs::path& path) {
  try {
    return parse(path);
  } catch (const ForeignFile&) {
    throw;
  } catch (const Error& error) {
    fail("[autotune] {}: is damaged: {}", path.string(), error.what());
  }
}

ChoiceFile::ChoiceFile(fs::path path, ChoiceFileKind kind, Message message)
    : path_(std::move(path)), kind_(kind), message_(std::move(message)) {
  read();
}

std::string ChoiceFile::key(const ProviderChoice& c) const {
  std::string key = fmt::format("{}\n{}\n{}\n{}", c.device, c.operation, c.direction, c.problem);
  if (kind_ == ChoiceFileKind::cache)
    key += fmt::format("\n{}\n{}", c.environment, fmt::join(c.candidates, ","));
  return key;
}

void ChoiceFile::read() {
  std::error_code error;
  if (!fs::exists(path_, error)) return;
  if (fs::is_regular_file(path_, error) && fs::file_size(path_, error) == 0) return;
  std::vector<ProviderChoice> read;
  try {
    read = parse(path_);
  } catch (const ForeignFile&) {
    throw;
  } catch (const Error& problem) {
    if (kind_ == ChoiceFileKind::record)
      fail(
          "[autotune] {}: is damaged ({}); without it this run cannot go on with the kernels that "
          "it began with",
          path_.string(), problem.what());
    // Damaged, or never ours: whoever names a file in THORAX_CACHE may have erred.
    if (!bears_mark(path_))
      throw ForeignFile(
          fmt::format("[autotune] {}: is no file of provider choices ({}); it is not touched; name "
                      "another file in THORAX_CACHE, or remove this one",
                      path_.string(), problem.what()));
    const fs::path aside = with_suffix(path_, ".bad");
    fs::rename(path_, aside, error);
    THORAX_CHECK(!error, "[autotune] {}: is damaged ({}) and cannot be set aside: {}",
                 path_.string(), problem.what(), error.message());
    message_(fmt::format("[autotune] {}: is damaged ({}); set aside as {}, measuring anew",
                         path_.string(), problem.what(), aside.string()));
    return;
  }
  for (ProviderChoice& choice : read) choices_.emplace(key(choice), std::move(choice));
}

const ProviderChoice* ChoiceFile::find(const ProviderChoice& wanted) const {
  const auto found = choices_.find(key(wanted));
  return found == choices_.end() ? nullptr : &found->second;
}

void ChoiceFile::write() {
  // The format first: it says whose a file is of which the rest is lost.
  json choices = json::array();
  for (const auto& [text, entry] : choices_) choices.push_back(to_json(entry));
  const nlohmann::ordered_json file{
      {"format", kFormat}, {"version", kVersion}, {"choices", choices}};
  atomic_write(path_, file.dump(2) + "\n");
}

void ChoiceFile::create() {
  const FileLock lock(with_suffix(path_, ".lock"));
  if (!fs::exists(path_)) write();
}

ProviderChoice ChoiceFile::add(const ProviderChoice& choice) {
  if (writable_) {
    try {
      if (path_.has_parent_path()) fs::create_directories(path_.parent_path());
      const FileLock lock(with_suffix(path_, ".lock"));
      read();  // what others have added; nothing of ours is replaced
      choices_.emplace(key(choice), choice);
      write();
    } catch (const ForeignFile&) {
      throw;
    } catch (const std::exception& error) {
      if (kind_ == ChoiceFileKind::record) throw;
      writable_ = false;
      message_(fmt::format("[autotune] choices are not kept for later runs: {}", error.what()));
    }
  }
  return choices_.emplace(key(choice), choice).first->second;
}

}  // namespace thorax
