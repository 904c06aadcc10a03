// One process at a time: a lock that the system releases when its holder ends, however it ends.
#pragma once

#include <filesystem>
#include <optional>

namespace thorax {

// An advisory lock on a file (flock(2)), held until destruction. The file stays, empty.
class FileLock {
 public:
  // Waits until nobody else holds it. Throws Error "[io] ..." when the file cannot be made.
  explicit FileLock(const std::filesystem::path& path);
  // Nothing when another process holds it.
  static std::optional<FileLock> try_lock(const std::filesystem::path& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace thorax
