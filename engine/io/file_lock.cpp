#include "engine/io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

int lock(int descriptor, int operation) {
  int status = 0;
  do {
    status = ::flock(descriptor, operation);
  } while (status != 0 && errno == EINTR);
  return status;
}

int operation_of(LockMode mode) {
  return mode == LockMode::alone ? LOCK_EX : LOCK_SH;
}

bool is_still(const std::filesystem::path& path, int descriptor) {
  struct stat ours {
  }, there{};
  return ::fstat(descriptor, &ours) == 0 && ::lstat(path.c_str(), &there) == 0 &&
         ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

// The descriptor, or -1 when `wait` is off and another process holds the lock.
int acquire(const std::filesystem::path& path, LockMode mode, bool wait) {
  for (;;) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (descriptor < 0 && errno == EINTR) continue;
    THORAX_CHECK(descriptor >= 0, "[io] {}: cannot be opened to lock it: {}", path.string(),
                 std::strerror(errno));
    if (lock(descriptor, operation_of(mode) | (wait ? 0 : LOCK_NB)) == 0) {
      if (is_still(path, descriptor)) return descriptor;
      ::close(descriptor);
      continue;
    }
    const int error = errno;
    ::close(descriptor);
    THORAX_CHECK(error == EWOULDBLOCK, "[io] {}: cannot be locked: {}", path.string(),
                 std::strerror(error));
    return -1;
  }
}

}  // namespace

FileLock::FileLock(const std::filesystem::path& path)
    : descriptor_(acquire(path, LockMode::alone, true)) {}

std::optional<FileLock> FileLock::try_lock(const std::filesystem::path& path, LockMode mode) {
  const int descriptor = acquire(path, mode, false);
  if (descriptor < 0) return std::nullopt;
  return FileLock(descriptor);
}

bool FileLock::change(LockMode mode) {
  if (lock(descriptor_, operation_of(mode) | LOCK_NB) == 0) return true;
  // flock(2) may give the old lock up before it finds that it cannot have the new one.
  lock(descriptor_, LOCK_SH | LOCK_NB);
  return false;
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace thorax
