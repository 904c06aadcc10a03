// One process at a time: a lock that the system releases when its holder ends, however it ends.
#pragma once

#include <filesystem>
#include <optional>

namespace thorax {

enum class LockMode { alone, shared };

// An advisory lock on a file (flock(2)), held until destruction. The file stays, empty. A lock file
// that was removed or replaced while one waited for it is no lock: the one that is there then is
// taken. Symbolic links are not followed.
class FileLock {
 public:
  // Waits until nobody else holds it. Throws Error "[io] ..." when the file cannot be made.
  explicit FileLock(const std::filesystem::path& path);
  // Nothing when another process holds it; several may hold it `shared`.
  static std::optional<FileLock> try_lock(const std::filesystem::path& path,
                                          LockMode mode = LockMode::alone);
  // Changes the mode. False when others hold the lock and it cannot be had alone; it is then held
  // as before, or at least shared.
  bool change(LockMode mode);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace thorax
