// LD_PRELOAD: counts the calls that change files below one folder, logs them, and at a chosen one
// kills the process or lets the call fail (call_log.h). Goes to the kernel directly, so that no
// function of libc has to be looked up. What bypasses it (libc's own streams, shared writable
// mappings) is found by the driver: replaying the log must give the folder.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tests/reliability/call_log.h"

using thorax::reliability::Call;
using thorax::reliability::CallRecord;

namespace {

constexpr int kDescriptors = 4096;

struct Path {
  char text[PATH_MAX];
  bool watched = false;
};

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
char folder[PATH_MAX];
size_t folder_size = 0;
int log_descriptor = -1;
bool still_clock = false;
bool opened_below[kDescriptors];      // descriptors of files and folders below the watched one
char opened_path[kDescriptors][256];  // their paths, for the record of a fault
uint32_t points = 0;
uint32_t fault_point = 0;
int fault_errno = 0;
enum class Fault { none, kill, torn, shortened, fail, broken } fault = Fault::none;

struct Lock {
  Lock() { pthread_mutex_lock(&mutex); }
  ~Lock() { pthread_mutex_unlock(&mutex); }
};

[[noreturn]] void die() {
  syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
  for (;;) pause();
}

// From a child (gnuplot) nothing below the folder is expected; its calls would count as ours.
__attribute__((constructor)) void start() {
  still_clock = getenv("THORAX_FAULT_CLOCK") != nullptr;
  const char* name = getenv("THORAX_FAULT_FOLDER");
  if (name == nullptr || *name != '/' || strlen(name) >= sizeof folder) return;
  strcpy(folder, name);
  folder_size = strlen(folder);
  if (const char* file = getenv("THORAX_FAULT_LOG")) {
    const long low =
        syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    log_descriptor = static_cast<int>(syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, 900));
    syscall(SYS_close, low);
  }
  if (const char* text = getenv("THORAX_FAULT")) {
    char kind[16] = "";
    if (sscanf(text, "%u %15s %d", &fault_point, kind, &fault_errno) < 2) return;
    const char* kinds[] = {"none", "kill", "torn", "short", "fail", "broken"};
    for (int i = 1; i < 6; ++i)
      if (strcmp(kind, kinds[i]) == 0) fault = static_cast<Fault>(i);
  }
}

// Appends a component sequence to an absolute path, resolving "." and "..".
void append(char* out, const char* text) {
  size_t size = strlen(out);
  while (*text != '\0') {
    while (*text == '/') ++text;
    const char* end = strchrnul(text, '/');
    const auto length = static_cast<size_t>(end - text);
    if (length == 0 || (length == 1 && text[0] == '.')) {
    } else if (length == 2 && text[0] == '.' && text[1] == '.') {
      while (size > 0 && out[size - 1] != '/') --size;
      if (size > 0) --size;
      out[size] = '\0';
    } else if (size + 1 + length < PATH_MAX) {
      out[size++] = '/';
      memcpy(out + size, text, length);
      size += length;
      out[size] = '\0';
    }
    text = end;
  }
}

// The path relative to the watched folder, when it is below it.
void resolve(int directory, const char* name, Path& path) {
  path.watched = false;
  if (folder_size == 0 || name == nullptr) return;
  char whole[PATH_MAX];
  whole[0] = '\0';
  if (name[0] != '/') {
    char base[PATH_MAX];
    if (directory == AT_FDCWD) {
      if (syscall(SYS_getcwd, base, sizeof base) <= 0) return;
    } else {
      char link[64];
      snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
      const long size = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
      if (size <= 0) return;
      base[size] = '\0';
    }
    append(whole, base);
  }
  append(whole, name);
  if (strncmp(whole, folder, folder_size) != 0) return;
  if (whole[folder_size] == '\0') {
    strcpy(path.text, ".");
  } else if (whole[folder_size] == '/') {
    strcpy(path.text, whole + folder_size + 1);
  } else {
    return;
  }
  path.watched = true;
}

bool below(int descriptor) {
  return descriptor >= 0 && descriptor < kDescriptors && opened_below[descriptor];
}

void record(CallRecord r, const char* path, const char* other, const void* data) {
  if (log_descriptor < 0 || (fault != Fault::none && r.injected == 0)) return;
  r.path_bytes = static_cast<uint32_t>(strlen(path));
  r.other_bytes = static_cast<uint32_t>(strlen(other));
  iovec parts[] = {{&r, sizeof r},
                   {const_cast<char*>(path), r.path_bytes},
                   {const_cast<char*>(other), r.other_bytes},
                   {const_cast<void*>(data), r.data_bytes}};
  size_t wanted = sizeof r + r.path_bytes + r.other_bytes + r.data_bytes;
  if (syscall(SYS_writev, log_descriptor, parts, 4) != static_cast<long>(wanted)) abort();
}

// Whether a disk that is full or read-only refuses such a call.
bool can_fail(Call call, int flags, int error) {
  const bool makes = call == Call::mkdir || call == Call::link || call == Call::symlink ||
                     call == Call::write || (call == Call::open && (flags & O_CREAT) != 0);
  if (error == ENOSPC) return makes;
  if (error == EROFS)
    return call != Call::write && call != Call::sync &&
           (call != Call::open || (flags & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR)) != 0);
  return true;
}

// Counts the call and does what the fault wants of it; true: it fails, with errno set.
bool refused(CallRecord& r, const char* path, const char* other) {
  r.point = ++points;
  const bool here = r.point == fault_point;
  const bool later = r.point > fault_point && fault == Fault::broken &&
                     can_fail(r.call, static_cast<int>(r.flags), fault_errno);
  if (fault == Fault::none || (!here && !later)) return false;
  r.injected = 1;
  if (here && fault == Fault::kill) die();
  if (fault != Fault::fail && fault != Fault::broken) return false;
  r.error = fault_errno;
  if (here) record(r, path, other, nullptr);
  errno = fault_errno;
  return true;
}

uint64_t inode_of(int descriptor) {
  struct stat status;
  return syscall(SYS_fstat, descriptor, &status) == 0 ? status.st_ino : 0;
}

long finish(CallRecord& r, long result, const char* path, const char* other) {
  r.error = result < 0 ? errno : 0;
  record(r, path, other, nullptr);
  return result;
}

int open_file(int directory, const char* name, int flags, mode_t mode) {
  Path path;
  resolve(directory, name, path);
  if (!path.watched) {
    const long plain = syscall(SYS_openat, directory, name, flags, mode);
    if (plain >= 0 && plain < kDescriptors) opened_below[plain] = false;
    return static_cast<int>(plain);
  }
  const Lock lock;
  CallRecord r{};
  r.call = Call::open;
  r.flags = static_cast<uint32_t>(flags);
  if (refused(r, path.text, "")) return -1;
  const long result = syscall(SYS_openat, directory, name, flags, mode);
  if (result >= 0) {
    if (result >= kDescriptors) abort();
    r.inode = inode_of(static_cast<int>(result));
    opened_below[result] = true;
    strncpy(opened_path[result], path.text, sizeof opened_path[0] - 1);
  }
  return static_cast<int>(finish(r, result, path.text, ""));
}

// `offset` < 0: at the descriptor's position.
ssize_t write_file(int descriptor, const void* data, size_t size, off_t offset) {
  const auto do_write = [&](size_t count) {
    return offset < 0 ? syscall(SYS_write, descriptor, data, count)
                      : syscall(SYS_pwrite64, descriptor, data, count, offset);
  };
  if (!below(descriptor)) return do_write(size);
  const Lock lock;
  CallRecord r{};
  r.call = Call::write;
  if (refused(r, opened_path[descriptor], "")) return -1;
  const bool here = r.injected != 0;
  const bool half = here && (fault == Fault::torn || fault == Fault::shortened) && size > 1;
  const ssize_t done = do_write(half ? size / 2 : size);
  if (here && fault == Fault::torn) die();
  r.error = done < 0 ? errno : 0;
  r.inode = inode_of(descriptor);
  if (done >= 0) {
    r.offset = offset >= 0 ? static_cast<uint64_t>(offset)
                           : static_cast<uint64_t>(syscall(SYS_lseek, descriptor, 0, SEEK_CUR)) -
                                 static_cast<uint64_t>(done);
    r.data_bytes = static_cast<uint64_t>(done);
  }
  record(r, opened_path[descriptor], "", data);
  return done;
}

int sync_file(int descriptor, long number) {
  if (!below(descriptor)) return static_cast<int>(syscall(number, descriptor));
  const Lock lock;
  CallRecord r{};
  r.call = Call::sync;
  if (refused(r, opened_path[descriptor], "")) return -1;
  r.inode = inode_of(descriptor);
  return static_cast<int>(finish(r, syscall(number, descriptor), opened_path[descriptor], ""));
}

int cut_file(int descriptor, off_t size) {
  if (!below(descriptor)) return static_cast<int>(syscall(SYS_ftruncate, descriptor, size));
  const Lock lock;
  CallRecord r{};
  r.call = Call::truncate;
  r.inode = inode_of(descriptor);
  r.offset = static_cast<uint64_t>(size);
  if (refused(r, opened_path[descriptor], "")) return -1;
  return static_cast<int>(
      finish(r, syscall(SYS_ftruncate, descriptor, size), opened_path[descriptor], ""));
}

// A call on names; `act` does it.
template <class Act>
int on_names(Call call, int directory, const char* name, int to_directory, const char* to, Act act,
             unsigned flags = 0) {
  Path path, other;
  resolve(directory, name, path);
  if (to != nullptr) resolve(to_directory, to, other);
  if (!path.watched && !other.watched) return static_cast<int>(act());
  if (to != nullptr && path.watched != other.watched) abort();  // out of the folder or into it
  const Lock lock;
  CallRecord r{};
  r.call = call;
  r.flags = flags;
  const char* second = to != nullptr ? other.text : "";
  if (refused(r, path.text, second)) return -1;
  const long result = act();
  if (result == 0 && call == Call::mkdir) {
    struct stat status;
    if (syscall(SYS_newfstatat, directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
      r.inode = status.st_ino;
  }
  return static_cast<int>(finish(r, result, path.text, second));
}

}  // namespace

#define THORAX_SHIM extern "C" __attribute__((visibility("default")))

THORAX_SHIM int open(const char* name, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_file(AT_FDCWD, name, flags, mode);
}
THORAX_SHIM int open64(const char* name, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_file(AT_FDCWD, name, flags, mode);
}
THORAX_SHIM int openat(int directory, const char* name, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_file(directory, name, flags, mode);
}
THORAX_SHIM int openat64(int directory, const char* name, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_file(directory, name, flags, mode);
}
THORAX_SHIM int creat(const char* name, mode_t mode) {
  return open_file(AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC, mode);
}
THORAX_SHIM int creat64(const char* name, mode_t mode) {
  return open_file(AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC, mode);
}
THORAX_SHIM int close(int descriptor) {
  if (descriptor >= 0 && descriptor < kDescriptors) opened_below[descriptor] = false;
  return static_cast<int>(syscall(SYS_close, descriptor));
}
THORAX_SHIM ssize_t write(int descriptor, const void* data, size_t size) {
  return write_file(descriptor, data, size, -1);
}
THORAX_SHIM ssize_t pwrite(int descriptor, const void* data, size_t size, off_t offset) {
  return write_file(descriptor, data, size, offset);
}
THORAX_SHIM ssize_t pwrite64(int descriptor, const void* data, size_t size, off64_t offset) {
  return write_file(descriptor, data, size, offset);
}
THORAX_SHIM ssize_t writev(int descriptor, const iovec* parts, int count) {
  if (!below(descriptor)) return syscall(SYS_writev, descriptor, parts, count);
  ssize_t done = 0;
  for (int i = 0; i < count; ++i) {
    if (parts[i].iov_len == 0) continue;
    const ssize_t n = write_file(descriptor, parts[i].iov_base, parts[i].iov_len, -1);
    if (n < 0) return done > 0 ? done : n;
    done += n;
    if (static_cast<size_t>(n) < parts[i].iov_len) break;
  }
  return done;
}
// Copies: one write of what was read.
THORAX_SHIM ssize_t sendfile(int to, int from, off_t* offset, size_t size) {
  if (!below(to)) return syscall(SYS_sendfile, to, from, offset, size);
  static char buffer[1 << 16];
  const size_t most = size < sizeof buffer ? size : sizeof buffer;
  const off_t at = offset != nullptr ? *offset : syscall(SYS_lseek, from, 0, SEEK_CUR);
  const ssize_t got = syscall(SYS_pread64, from, buffer, most, at);
  if (got <= 0) return got;
  const ssize_t done = write_file(to, buffer, static_cast<size_t>(got), -1);
  if (done < 0) return done;
  if (offset != nullptr)
    *offset = at + done;
  else
    syscall(SYS_lseek, from, at + done, SEEK_SET);
  return done;
}
THORAX_SHIM ssize_t sendfile64(int to, int from, off64_t* offset, size_t size) {
  return sendfile(to, from, offset, size);
}
THORAX_SHIM ssize_t copy_file_range(int from, off64_t* in, int to, off64_t* out, size_t size,
                                    unsigned flags) {
  if (below(to)) {
    errno = ENOSYS;  // the caller copies in another way
    return -1;
  }
  return syscall(SYS_copy_file_range, from, in, to, out, size, flags);
}
THORAX_SHIM int fsync(int descriptor) {
  return sync_file(descriptor, SYS_fsync);
}
THORAX_SHIM int fdatasync(int descriptor) {
  return sync_file(descriptor, SYS_fdatasync);
}
THORAX_SHIM int ftruncate(int descriptor, off_t size) {
  return cut_file(descriptor, size);
}
THORAX_SHIM int ftruncate64(int descriptor, off64_t size) {
  return cut_file(descriptor, size);
}
THORAX_SHIM int truncate(const char* name, off_t size) {
  const int descriptor = open_file(AT_FDCWD, name, O_WRONLY | O_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  const int result = cut_file(descriptor, size);
  const int error = errno;
  close(descriptor);
  errno = error;
  return result;
}
THORAX_SHIM int truncate64(const char* name, off64_t size) {
  return truncate(name, size);
}

THORAX_SHIM int renameat2(int from, const char* name, int directory, const char* to,
                          unsigned flags) {
  return on_names(
      Call::rename, from, name, directory, to,
      [&] { return syscall(SYS_renameat2, from, name, directory, to, flags); }, flags);
}
THORAX_SHIM int renameat(int from, const char* name, int directory, const char* to) {
  return renameat2(from, name, directory, to, 0);
}
THORAX_SHIM int rename(const char* name, const char* to) {
  return renameat2(AT_FDCWD, name, AT_FDCWD, to, 0);
}
THORAX_SHIM int linkat(int from, const char* name, int directory, const char* to, int flags) {
  return on_names(Call::link, from, name, directory, to,
                  [&] { return syscall(SYS_linkat, from, name, directory, to, flags); });
}
THORAX_SHIM int link(const char* name, const char* to) {
  return linkat(AT_FDCWD, name, AT_FDCWD, to, 0);
}
THORAX_SHIM int unlinkat(int directory, const char* name, int flags) {
  return on_names((flags & AT_REMOVEDIR) != 0 ? Call::rmdir : Call::unlink, directory, name, 0,
                  nullptr, [&] { return syscall(SYS_unlinkat, directory, name, flags); });
}
THORAX_SHIM int unlink(const char* name) {
  return unlinkat(AT_FDCWD, name, 0);
}
THORAX_SHIM int rmdir(const char* name) {
  return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}
THORAX_SHIM int remove(const char* name) {
  struct stat status;
  if (syscall(SYS_newfstatat, AT_FDCWD, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return -1;
  return unlinkat(AT_FDCWD, name, S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0);
}
THORAX_SHIM int mkdirat(int directory, const char* name, mode_t mode) {
  return on_names(Call::mkdir, directory, name, 0, nullptr,
                  [&] { return syscall(SYS_mkdirat, directory, name, mode); });
}
THORAX_SHIM int mkdir(const char* name, mode_t mode) {
  return mkdirat(AT_FDCWD, name, mode);
}
// No command makes one; the replay would not know it.
THORAX_SHIM int symlinkat(const char* text, int directory, const char* name) {
  return on_names(Call::symlink, directory, name, 0, nullptr,
                  [&] { return syscall(SYS_symlinkat, text, directory, name); });
}
THORAX_SHIM int symlink(const char* text, const char* name) {
  return symlinkat(text, AT_FDCWD, name);
}

// Clocks that stand still: a run's times are not what is compared.
THORAX_SHIM int clock_gettime(clockid_t clock, timespec* time) noexcept {
  if (!still_clock) return static_cast<int>(syscall(SYS_clock_gettime, clock, time));
  *time = {clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ? 1767225600 : 1000, 0};
  return 0;
}
THORAX_SHIM time_t time(time_t* out) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}
THORAX_SHIM int gettimeofday(timeval* out, void*) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  *out = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}
