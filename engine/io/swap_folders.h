// Exchanging two folders.
#pragma once

#include <filesystem>

namespace thorax {

// How: at one moment (renameat2), or, for file systems that cannot do that (NFS), with three
// renames, between which `b` is missing for a moment and lies at `between`.
enum class SwapWay { best, three_renames };

// Each of the folders `a` and `b` (of one file system) gets the other's name, durably. After an
// error both are as before. A process killed between three renames leaves `between` and, perhaps,
// no `b`. Throws Error "[io] B: ..." when the system refuses: another file system, a mount point.
void swap_folders(const std::filesystem::path& a, const std::filesystem::path& b,
                  const std::filesystem::path& between, SwapWay way = SwapWay::best);

}  // namespace thorax
