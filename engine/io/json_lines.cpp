#include "engine/io/json_lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>

#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 32;

// Calls until it is not interrupted by a signal.
template <class Call>
auto uninterrupted(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

std::string line_of(const nlohmann::json& object) {
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

nlohmann::json JsonLines::read(const std::filesystem::path& path) {
  nlohmann::json lines = nlohmann::json::array();
  if (!std::filesystem::exists(path)) return lines;
  const std::string text = read_file(path, kMaxBytes);
  for (std::size_t start = 0, end; (end = text.find('\n', start)) != std::string::npos;
       start = end + 1)
    lines.push_back(parse_json(std::string_view(text).substr(start, end - start),
                               fmt::format("{}: line {}", path.string(), lines.size() + 1)));
  return lines;
}

JsonLines::JsonLines(std::filesystem::path path, const nlohmann::json& known)
    : path_(std::move(path)) {
  std::string found, wanted;
  if (std::filesystem::exists(path_)) found = read_file(path_, kMaxBytes);
  std::int64_t number = 0;
  for (const nlohmann::json& object : known) {
    ++number;
    const std::string line = line_of(object);
    if (first_wrong_ == 0 && found.compare(wanted.size(), line.size(), line) != 0)
      first_wrong_ = number;
    wanted += line;
  }
  if (first_wrong_ != 0) atomic_write(path_, wanted);
  const bool fresh = !std::filesystem::exists(path_);
  bytes_ = static_cast<std::int64_t>(wanted.size());
  descriptor_ = uninterrupted([&] {
    return ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666);
  });
  if (descriptor_ < 0)
    fail("[io] {}: cannot be written: {}", path_.string(), std::system_category().message(errno));
  if (uninterrupted([&] { return ::ftruncate(descriptor_, bytes_); }) != 0) {
    const int error = errno;
    ::close(descriptor_);
    fail("[io] {}: cannot be cut back: {}", path_.string(), std::system_category().message(error));
  }
  if (fresh) sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

JsonLines::~JsonLines() {
  ::close(descriptor_);
}

void JsonLines::append(const nlohmann::json& object) {
  const std::string line = line_of(object);
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = ::write(descriptor_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = n < 0 ? errno : ENOSPC;
      const bool restored = uninterrupted([&] { return ::ftruncate(descriptor_, bytes_); }) == 0;
      fail("[io] {}: write failed: {}{}", path_.string(), std::system_category().message(error),
           restored ? "" : "; its last line is incomplete");
    }
    done += static_cast<std::size_t>(n);
  }
  if (uninterrupted([&] { return ::fsync(descriptor_); }) != 0)
    fail("[io] {}: could not be made durable: {}", path_.string(),
         std::system_category().message(errno));
  bytes_ += static_cast<std::int64_t>(line.size());
}

}  // namespace thorax
