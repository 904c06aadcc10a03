#include "engine/io/atomic_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr std::string_view kMark = ".tmp-";

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

std::string reason(int error) {
  return std::system_category().message(error);
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  static std::atomic<unsigned> counter{0};
  THORAX_CHECK(path_.has_filename(), "[io] '{}' names no file", path_.string());
  temporary_ = path_;
  temporary_ += fmt::format("{}{}-{}", kMark, ::getpid(), counter++);
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0)
    fail("[io] {}: cannot be written: {} ({})", path_.string(), reason(errno), temporary_.string());
}

AtomicFile::~AtomicFile() {
  discard();
}

void AtomicFile::discard() noexcept {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    descriptor_ = -1;
  }
  if (!temporary_.empty()) {
    ::unlink(temporary_.c_str());
    temporary_.clear();
  }
}

void AtomicFile::give_up(const char* what) {
  const int error = errno;
  const std::string path = path_.string();
  discard();
  fail("[io] {}: {}: {}; the file is left as it was", path, what, reason(error));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  THORAX_CHECK(descriptor_ >= 0, "[io] {}: written to after it was closed", path_.string());
  while (!bytes.empty()) {
    // One call never takes more than 2 GiB anyway; a smaller limit keeps interruptions short.
    const ssize_t done =
        ::write(descriptor_, bytes.data(), std::min<std::size_t>(bytes.size(), 1u << 30));
    if (done < 0) {
      if (errno == EINTR) continue;
      give_up("write failed");
    }
    if (done == 0) {
      errno = ENOSPC;
      give_up("write failed");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void AtomicFile::commit() {
  THORAX_CHECK(descriptor_ >= 0, "[io] {}: committed after it was closed", path_.string());
  if (::fsync(descriptor_) != 0) give_up("could not be made durable");
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) give_up("close failed");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) give_up("rename failed");
  temporary_.clear();
  sync_folder(folder_of(path_));
}

void atomic_write(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void atomic_write(const std::filesystem::path& path, std::string_view text) {
  atomic_write(path, std::as_bytes(std::span(text.data(), text.size())));
}

void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail("[io] {}: {}", folder.string(), reason(errno));
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  // Some file systems cannot sync a folder and say so; there is nothing more to be done then.
  if (result != 0 && error != EINVAL && error != ENOTSUP)
    fail("[io] {}: fsync failed: {}", folder.string(), reason(error));
}

void remove_leftovers(const std::filesystem::path& path) {
  const std::string start = path.filename().string() + std::string(kMark);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(path), error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(start)) continue;
    const char* digits = name.c_str() + start.size();
    long process = 0;
    const auto [end, wrong] = std::from_chars(digits, name.c_str() + name.size(), process);
    if (wrong != std::errc{} || *end != '-' || process <= 0) continue;
    // EPERM: it lives and is somebody else's.
    const bool alive =
        process != ::getpid() && (::kill(static_cast<pid_t>(process), 0) == 0 || errno == EPERM);
    if (!alive) std::filesystem::remove(entry.path(), error);
  }
}

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail("[io] {}: cannot be read: {}", path_.string(), reason(errno));
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    fail("[io] {}: is not a regular file", path_.string());
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() {
  ::close(descriptor_);
}

void InputFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t done =
        ::pread(descriptor_, out.data(), std::min<std::size_t>(out.size(), 1u << 30),
                static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("[io] {}: read failed: {}", path_.string(), reason(errno));
    if (done == 0)
      fail("[io] {}: ends at byte {}, {} more expected", path_.string(), offset, out.size());
    out = out.subspan(static_cast<std::size_t>(done));
    offset += static_cast<std::uint64_t>(done);
  }
}

namespace {

template <class Bytes>
Bytes read_whole(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const InputFile file(path);
  if (file.size() > max_bytes)
    fail("[io] {}: {} bytes, the limit is {}", path.string(), file.size(), max_bytes);
  Bytes content;
  content.resize(static_cast<std::size_t>(file.size()));
  file.read(0, std::as_writable_bytes(std::span(content)));
  return content;
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  return read_whole<std::string>(path, max_bytes);
}

std::vector<std::byte> read_bytes(const std::filesystem::path& path, std::uint64_t max_bytes) {
  return read_whole<std::vector<std::byte>>(path, max_bytes);
}

}  // namespace thorax
