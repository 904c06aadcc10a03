// A log of one JSON object per line that can be cut back to what a checkpoint knows of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace thorax {

class JsonLines {
 public:
  // Opens or creates the file, which then holds the lines of the array `known` and no more: what
  // follows them is cut off; when one of them is not there as it was written, all are written anew
  // (first_wrong()). Throws Error "[io] PATH: ..." when the file cannot be written.
  JsonLines(std::filesystem::path path, const nlohmann::json& known);
  ~JsonLines();
  JsonLines(const JsonLines&) = delete;
  JsonLines& operator=(const JsonLines&) = delete;

  // Appends one line and makes it durable. After an error (a full disk) the file holds whole lines
  // only.
  void append(const nlohmann::json& object);
  // The first known line, from 1, that was lost or altered; 0 when all were there.
  std::int64_t first_wrong() const { return first_wrong_; }

  // The complete lines of a file, as an array; none when there is no file. Throws Error
  // "[io] PATH: line 3: ..." for one that is no JSON.
  static nlohmann::json read(const std::filesystem::path& path);

 private:
  std::filesystem::path path_;
  std::int64_t first_wrong_ = 0;
  std::int64_t bytes_ = 0;
  int descriptor_ = -1;
};

}  // namespace thorax
