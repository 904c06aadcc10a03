#include "engine/io/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>

#include "engine/io/file_kind.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = ".tmp-";
constexpr std::size_t kDigits = 16;
constexpr std::size_t kLongestName = 255;  // bytes, of every file system in use

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

std::string reason(int error) {
  return std::system_category().message(error);
}

// Calls until it is not interrupted by a signal.
template <class Call>
auto uninterrupted(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

bool all_of(std::string_view text, std::string_view allowed) {
  return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

// "NAME.tmp-<16 hexadecimal digits>"
bool is_temporary(std::string_view name) {
  if (name.size() <= kMark.size() + kDigits) return false;
  const std::string_view end = name.substr(name.size() - kMark.size() - kDigits);
  return end.starts_with(kMark) && all_of(end.substr(kMark.size()), "0123456789abcdef");
}

// "NAME.tmp-PID-N"
bool is_old_temporary(std::string_view name) {
  const std::size_t mark = name.rfind(kMark);
  if (mark == std::string_view::npos || mark == 0) return false;
  const std::string_view numbers = name.substr(mark + kMark.size());
  const std::size_t dash = numbers.find('-');
  return dash != std::string_view::npos && all_of(numbers.substr(0, dash), "0123456789") &&
         all_of(numbers.substr(dash + 1), "0123456789");
}

// Longer names than the file system allows are cut; the digits tell them apart.
fs::path temporary_name(const fs::path& path) {
  const std::string name = path.filename().string();
  const std::size_t room = kLongestName - kMark.size() - kDigits;
  return folder_of(path) / (name.substr(0, room) + std::string(kMark) + random_digits());
}

// Creates a file of that name and locks it. -1 with errno; EAGAIN when the name is not to be had:
// it exists, or whoever clears leftovers was quicker than our lock.
int create_locked(const fs::path& path) {
  const int descriptor = uninterrupted([&] {
    return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  });
  if (descriptor < 0) {
    if (errno == EEXIST) errno = EAGAIN;
    return -1;
  }
  const int locked = uninterrupted([&] { return ::flock(descriptor, LOCK_EX | LOCK_NB); });
  struct stat status {};
  const bool gone = ::fstat(descriptor, &status) == 0 && status.st_nlink == 0;
  // A file system without locks: nobody will take the file for a leftover.
  if (!gone && (locked == 0 || errno != EWOULDBLOCK)) return descriptor;
  ::close(descriptor);
  errno = EAGAIN;
  return -1;
}

void remove_leftover(const fs::path& path) {
  const std::string name = path.filename().string();
  const bool old = is_old_temporary(name);
  if (!old && !is_temporary(name)) return;
  const int descriptor = uninterrupted(
      [&] { return ::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC); });
  if (descriptor < 0) return;
  struct stat status {};
  bool orphan = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) &&
                uninterrupted([&] { return ::flock(descriptor, LOCK_EX | LOCK_NB); }) == 0;
  if (old) {
    const auto now = std::chrono::system_clock::now();
    orphan = orphan &&
             std::chrono::system_clock::from_time_t(status.st_mtime) < now - std::chrono::hours(1);
  }
  if (orphan) ::unlink(path.c_str());
  ::close(descriptor);
}

}  // namespace

std::string random_digits() {
  std::uint64_t number = 0;
  const auto got = uninterrupted([&] { return ::getrandom(&number, sizeof number, 0); });
  if (got != static_cast<ssize_t>(sizeof number))
    fail("[io] no random number for a file's name: {}", reason(errno));
  return fmt::format("{:016x}", number);
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  THORAX_CHECK(path_.has_filename(), "[io] '{}' names no file", path_.string());
  for (int attempt = 0; attempt < 100 && descriptor_ < 0; ++attempt) {
    temporary_ = temporary_name(path_);
    descriptor_ = create_locked(temporary_);
    if (descriptor_ < 0 && errno != EAGAIN) break;
  }
  if (descriptor_ < 0) {
    const int error = errno;
    const std::string name = temporary_.string();
    temporary_.clear();
    fail("[io] {}: cannot be written: {} ({})", path_.string(), reason(error), name);
  }
}

AtomicFile::~AtomicFile() {
  discard();
}

void AtomicFile::discard() noexcept {
  // Removed while it is locked, so that nobody meets it unlocked.
  if (!temporary_.empty()) {
    ::unlink(temporary_.c_str());
    temporary_.clear();
  }
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    descriptor_ = -1;
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
  if (uninterrupted([&] { return ::fsync(descriptor_); }) != 0)
    give_up("could not be made durable");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) give_up("rename failed");
  temporary_.clear();
  // Only now, for the lock; what close() could report has been reported by fsync().
  ::close(descriptor_);
  descriptor_ = -1;
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

void atomic_copy(const fs::path& from, const fs::path& to) {
  const InputFile input(from);
  AtomicFile output(to);
  std::vector<std::byte> piece(std::size_t{1} << 20);
  for (std::uint64_t at = 0; at < input.size();) {
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), input.size() - at));
    input.read(at, std::span(piece.data(), count));
    output.write(std::span<const std::byte>(piece.data(), count));
    at += count;
  }
  output.commit();
}

void sync_folder(const fs::path& folder) {
  const int descriptor =
      uninterrupted([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (descriptor < 0) fail("[io] {}: {}", folder.string(), reason(errno));
  const int result = uninterrupted([&] { return ::fsync(descriptor); });
  const int error = errno;
  ::close(descriptor);
  // Some file systems cannot sync a folder and say so; there is nothing more to be done then.
  if (result != 0 && error != EINVAL && error != ENOTSUP)
    fail("[io] {}: fsync failed: {}", folder.string(), reason(error));
}

void create_folders(const fs::path& folder) {
  std::error_code error;
  if (folder.empty() || fs::is_directory(folder, error)) return;
  // "a/b/" is the folder "a/b".
  if (!folder.has_filename()) return create_folders(folder.parent_path());
  create_folders(folder.parent_path());
  if (::mkdir(folder.c_str(), 0777) != 0) {
    const int problem = errno;
    // Somebody else may have been quicker.
    if (problem == EEXIST && fs::is_directory(folder, error)) return;
    fail("[io] {}: cannot be created: {}", folder.string(),
         problem == EEXIST ? "a file of that name, which is no folder, is in the way"
                           : reason(problem));
  }
  sync_folder(folder_of(folder));
}

void remove_leftovers(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error))
    files.push_back(at->path());
  for (const fs::path& file : files) remove_leftover(file);
}

void remove_leftovers_of(const fs::path& path) {
  std::error_code error;
  const std::string start = path.filename().string() + std::string(kMark);
  std::vector<fs::path> files;
  for (fs::directory_iterator at(folder_of(path), error), end; !error && at != end;
       at.increment(error))
    if (at->path().filename().string().starts_with(start)) files.push_back(at->path());
  for (const fs::path& file : files) remove_leftover(file);
}

InputFile::InputFile(std::filesystem::path path, Pointer pointer) : path_(std::move(path)) {
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  descriptor_ =
      uninterrupted([&] { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (descriptor_ < 0) fail("[io] {}: cannot be read: {}", path_.string(), reason(errno));
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    fail("[io] {}: is not a regular file", path_.string());
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
  // Whatever was to be read: the format's own reader would only say that it makes no sense.
  constexpr std::uint64_t kMaxPointer = 1024;  // by the specification
  if (pointer == Pointer::accept || size_ >= kMaxPointer) return;
  std::byte start[128];
  const ssize_t got = ::pread(descriptor_, start, sizeof(start), 0);
  if (got > 0 && is_lfs_pointer(std::span(start, static_cast<std::size_t>(got)))) {
    ::close(descriptor_);
    fail("[io] {}: {}", path_.string(),
         foreign_kind(std::span(start, static_cast<std::size_t>(got))));
  }
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
