#include "data/atomic_write.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include "engine/tensor/error.h"

namespace thorax {
namespace fs = std::filesystem;

void write_atomically(const fs::path& path, std::span<const uint8_t> bytes) {
  static std::atomic<unsigned> counter{0};
  const std::string temporary =
      path.string() + ".tmp" + std::to_string(getpid()) + "_" + std::to_string(counter++);
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  THORAX_CHECK(fd >= 0, "[write] {}: {}", path.string(), std::strerror(errno));
  int error = 0;
  for (size_t done = 0; done < bytes.size() && !error;) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n > 0)
      done += static_cast<size_t>(n);
    else if (errno != EINTR)
      error = errno ? errno : EIO;
  }
  if (!error && ::fsync(fd) != 0) error = errno;
  if (::close(fd) != 0 && !error) error = errno;
  if (!error && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error) {
    ::unlink(temporary.c_str());
    fail("[write] {}: {}", path.string(), std::strerror(error));
  }
}

void write_atomically(const fs::path& path, std::string_view text) {
  write_atomically(path, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

}  // namespace thorax
