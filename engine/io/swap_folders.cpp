#include "engine/io/swap_folders.h"

#include <fcntl.h>
#include <stdio.h>

#include <cerrno>
#include <system_error>

#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax {

void swap_folders(const std::filesystem::path& a, const std::filesystem::path& b,
                  const std::filesystem::path& between, SwapWay way) {
  const auto refuse = [&] {
    fail("[io] {}: cannot be moved aside: {}", b.string(), std::system_category().message(errno));
  };
  bool done = way == SwapWay::best &&
              ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
  const bool unknown = errno == EINVAL || errno == ENOSYS || errno == ENOTSUP;
  if (!done && way == SwapWay::best && !unknown) refuse();
  if (!done) {
    if (::rename(b.c_str(), between.c_str()) != 0) refuse();
    if (::rename(a.c_str(), b.c_str()) != 0) {
      const int error = errno;
      ::rename(between.c_str(), b.c_str());
      errno = error;
      refuse();
    }
    if (::rename(between.c_str(), a.c_str()) != 0) refuse();
  }
  sync_folder(a.has_parent_path() ? a.parent_path() : std::filesystem::path("."));
  sync_folder(b.has_parent_path() ? b.parent_path() : std::filesystem::path("."));
}

}  // namespace thorax
