// The log of file system calls that the shim writes and the driver replays.
#pragma once

#include <cstdint>

namespace thorax::reliability {

enum class Call : std::uint32_t {
  open,
  write,
  sync,  // fsync, fdatasync
  rename,
  link,
  unlink,  // unlink, and unlinkat of a file
  rmdir,
  truncate,
  mkdir,
  symlink,
};

// One call, followed by `path_bytes` of its path, `other_bytes` of a second path (rename, link: the
// new name; symlink: the text) and `data_bytes` written. Paths are relative to the watched folder,
// "." is the folder itself.
struct CallRecord {
  Call call;
  std::uint32_t point;     // counts from 1
  std::uint32_t flags;     // of open and rename
  std::int32_t error;      // 0, or errno of a call that failed
  std::uint32_t injected;  // 1: the fault that was asked for
  std::uint32_t path_bytes, other_bytes;
  std::uint32_t unused;
  std::uint64_t inode;   // of what was opened, written, synced, cut or made
  std::uint64_t offset;  // of a write; new size of a truncate
  std::uint64_t data_bytes;
};

// Environment of a program that runs under the shim:
//   THORAX_FAULT_FOLDER   absolute path; calls below it are points
//   THORAX_FAULT_LOG      file for the records; with a fault only that call's is written
//   THORAX_FAULT_CLOCK    set: every clock stands still, so that two runs write the same times
//   THORAX_FAULT          "POINT KIND [ERRNO]", KIND one of
//       kill    SIGKILL before the call        torn   SIGKILL after half of a write
//       short   half of a write is done        fail   this call fails with ERRNO
//       broken  this and every later call that can fail with ERRNO does
//   THORAX_FAULT_MEMORY   "NUMBER AT_LEAST KIND": the NUMBER-th allocation of AT_LEAST bytes or
//                         more returns nothing; KIND once, or all: later ones neither
//   THORAX_MEMORY_REPORT  file for "ALLOCATIONS PEAK LARGE TENSORS" at the end: how many, most
//                         bytes of the heap at a time, how many of AT_LEAST bytes or more, most
//                         bytes of blocks with a tensor's alignment
//   THORAX_MEMORY_LEAST   AT_LEAST of that report when no fault is asked for

}  // namespace thorax::reliability
