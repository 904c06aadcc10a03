#include "engine/io/json_lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>

#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 32;
}

std::int64_t JsonLines::count(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return 0;
  const std::string text = read_file(path, kMaxBytes);
  return std::count(text.begin(), text.end(), '\n');
}

JsonLines::JsonLines(std::filesystem::path path, std::int64_t keep) : path_(std::move(path)) {
  std::string text;
  if (std::filesystem::exists(path_)) text = read_file(path_, kMaxBytes);
  std::size_t end = 0;
  for (std::int64_t i = 0; i < keep; ++i) {
    const std::size_t newline = text.find('\n', end);
    THORAX_CHECK(newline != std::string::npos, "[io] {}: has {} lines, {} were written",
                 path_.string(), i, keep);
    end = newline + 1;
  }
  lines_ = keep;
  bytes_ = static_cast<std::int64_t>(end);
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0)
    fail("[io] {}: cannot be written: {}", path_.string(), std::system_category().message(errno));
  if (::ftruncate(descriptor_, bytes_) != 0) {
    const int error = errno;
    ::close(descriptor_);
    fail("[io] {}: cannot be cut back: {}", path_.string(), std::system_category().message(error));
  }
}

JsonLines::~JsonLines() {
  ::close(descriptor_);
}

void JsonLines::append(const nlohmann::json& object) {
  const std::string line =
      object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = ::write(descriptor_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = n < 0 ? errno : ENOSPC;
      const bool restored = ::ftruncate(descriptor_, bytes_) == 0;
      fail("[io] {}: write failed: {}{}", path_.string(), std::system_category().message(error),
           restored ? "" : "; its last line is incomplete");
    }
    done += static_cast<std::size_t>(n);
  }
  if (::fsync(descriptor_) != 0)
    fail("[io] {}: could not be made durable: {}", path_.string(),
         std::system_category().message(errno));
  bytes_ += static_cast<std::int64_t>(line.size());
  ++lines_;
}

}  // namespace thorax
