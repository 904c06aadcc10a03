#include "engine/io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

// The descriptor, or -1 when `wait` is off and another process holds the lock.
int acquire(const std::filesystem::path& path, bool wait) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  THORAX_CHECK(descriptor >= 0, "[io] {}: cannot be opened to lock it: {}", path.string(),
               std::strerror(errno));
  int status = 0;
  do {
    status = ::flock(descriptor, LOCK_EX | (wait ? 0 : LOCK_NB));
  } while (status != 0 && errno == EINTR);
  if (status == 0) return descriptor;
  const int error = errno;
  ::close(descriptor);
  THORAX_CHECK(error == EWOULDBLOCK, "[io] {}: cannot be locked: {}", path.string(),
               std::strerror(error));
  return -1;
}

}  // namespace

FileLock::FileLock(const std::filesystem::path& path) : descriptor_(acquire(path, true)) {}

std::optional<FileLock> FileLock::try_lock(const std::filesystem::path& path) {
  const int descriptor = acquire(path, false);
  if (descriptor < 0) return std::nullopt;
  return FileLock(descriptor);
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace thorax
