// A log of one JSON object per line that can be cut back to what a checkpoint knows of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace thorax {

class JsonLines {
 public:
  // Opens or creates the file and keeps its first `keep` lines; what follows, and a last line
  // without its newline, is cut off. Throws Error "[io] PATH: ..." when the file has fewer lines or
  // cannot be written.
  JsonLines(std::filesystem::path path, std::int64_t keep);
  ~JsonLines();
  JsonLines(const JsonLines&) = delete;
  JsonLines& operator=(const JsonLines&) = delete;

  // Appends one line and makes it durable. After an error (a full disk) the file holds whole lines
  // only.
  void append(const nlohmann::json& object);
  std::int64_t lines() const { return lines_; }

  // Number of complete lines of a file; 0 when there is none.
  static std::int64_t count(const std::filesystem::path& path);

 private:
  std::filesystem::path path_;
  std::int64_t lines_ = 0;
  std::int64_t bytes_ = 0;
  int descriptor_ = -1;
};

}  // namespace thorax
