// LD_PRELOAD: counts allocated bytes and lets one allocation fail (call_log.h).
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* block, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* block);
}

namespace {

std::atomic<bool> counting{false};
std::atomic<unsigned long> allocations{0}, large{0};
struct Bytes {
  std::atomic<long> live{0}, peak{0};  // from main() on
  void add(long bytes) {
    const long now = live.fetch_add(bytes) + bytes;
    long before = peak.load();
    while (now > before && !peak.compare_exchange_weak(before, now)) {
    }
  }
} heap, tensors;
unsigned long fault_number = 0, at_least = 0;
bool fault_all = false;
char report[4096];

__attribute__((constructor)) void start() {
  if (const char* text = getenv("THORAX_MEMORY_LEAST")) at_least = strtoul(text, nullptr, 10);
  if (const char* text = getenv("THORAX_FAULT_MEMORY")) {
    char kind[8] = "";
    if (sscanf(text, "%lu %lu %7s", &fault_number, &at_least, kind) == 3)
      fault_all = strcmp(kind, "all") == 0;
  }
  if (const char* file = getenv("THORAX_MEMORY_REPORT"))
    if (strlen(file) < sizeof report) strcpy(report, file);
}

// Runs last: what was live at the end does not matter, the highest sum does.
__attribute__((destructor)) void finish() {
  if (report[0] == '\0') return;
  char text[100];
  const int size = snprintf(text, sizeof text, "%lu %ld %lu %ld\n", allocations.load(),
                            heap.peak.load(), large.load(), tensors.peak.load());
  const long file = syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  syscall(SYS_write, file, text, size);
  syscall(SYS_close, file);
}

int (*real_main)(int, char**, char**);

// Nothing can be told to a user before main() begins.
int counted_main(int argc, char** argv, char** environment) {
  counting = fault_number > 0 || report[0] != '\0';
  return real_main(argc, argv, environment);
}

bool refused(size_t size) {
  if (!counting.load(std::memory_order_relaxed)) return false;
  ++allocations;
  if (size < at_least) return false;
  const unsigned long number = ++large;
  if (fault_number == 0 || number < fault_number || (number > fault_number && !fault_all))
    return false;
  errno = ENOMEM;
  return true;
}

// What aligned_alloc was asked for with a tensor's alignment, byte for byte: blocks by address, in
// open addressing.
constexpr size_t kTensorAlignment = 64, kSlots = 1 << 16;
std::atomic<void*> blocks[kSlots];
size_t sizes[kSlots];
pthread_mutex_t blocks_mutex = PTHREAD_MUTEX_INITIALIZER;
void* const kTaken = &blocks_mutex;  // a slot that was given back

size_t slot_of(void* block) {
  return (reinterpret_cast<size_t>(block) >> 6) * 0x9e3779b97f4a7c15u >> 48;
}

void note_tensor(void* block, size_t size) {
  if (block == nullptr || !counting.load(std::memory_order_relaxed)) return;
  tensors.add(static_cast<long>(size));
  pthread_mutex_lock(&blocks_mutex);
  size_t slot = slot_of(block);
  while (blocks[slot] != nullptr && blocks[slot] != kTaken) slot = (slot + 1) % kSlots;
  sizes[slot] = size;
  blocks[slot] = block;
  pthread_mutex_unlock(&blocks_mutex);
}

void forget_tensor(void* block) {
  if (reinterpret_cast<size_t>(block) % kTensorAlignment != 0 || tensors.live == 0) return;
  pthread_mutex_lock(&blocks_mutex);
  size_t slot = slot_of(block);
  for (size_t i = 0; i < kSlots && blocks[slot] != nullptr && blocks[slot] != block; ++i)
    slot = (slot + 1) % kSlots;
  if (blocks[slot] == block) {
    tensors.live -= static_cast<long>(sizes[slot]);
    blocks[slot] = kTaken;
  }
  pthread_mutex_unlock(&blocks_mutex);
}

void* counted(void* block) {
  if (block != nullptr && counting.load(std::memory_order_relaxed))
    heap.add(static_cast<long>(malloc_usable_size(block)));
  return block;
}

void* aligned(size_t alignment, size_t size) {
  return refused(size) ? nullptr : counted(__libc_memalign(alignment, size));
}

}  // namespace

#define THORAX_SHIM extern "C" __attribute__((visibility("default")))

THORAX_SHIM int __libc_start_main(int (*program)(int, char**, char**), int argc, char** argv,
                                  void (*init)(), void (*fini)(), void (*linker_fini)(),
                                  void* stack_end) {
  real_main = program;
  const auto real =
      reinterpret_cast<decltype(&__libc_start_main)>(dlsym(RTLD_NEXT, "__libc_start_main"));
  return real(counted_main, argc, argv, init, fini, linker_fini, stack_end);
}

THORAX_SHIM void* malloc(size_t size) {
  return refused(size) ? nullptr : counted(__libc_malloc(size));
}
THORAX_SHIM void* calloc(size_t count, size_t size) {
  size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) bytes = static_cast<size_t>(-1);
  return refused(bytes) ? nullptr : counted(__libc_calloc(count, size));
}
THORAX_SHIM void free(void* block) {
  if (block != nullptr && counting.load(std::memory_order_relaxed)) {
    heap.live -= static_cast<long>(malloc_usable_size(block));
    forget_tensor(block);
  }
  __libc_free(block);
}
THORAX_SHIM void* realloc(void* block, size_t size) {
  if (refused(size)) return nullptr;
  const long before = block != nullptr ? static_cast<long>(malloc_usable_size(block)) : 0;
  void* moved = __libc_realloc(block, size);
  if (counting.load(std::memory_order_relaxed) && (moved != nullptr || size == 0))
    heap.add((moved != nullptr ? static_cast<long>(malloc_usable_size(moved)) : 0) - before);
  return moved;
}
THORAX_SHIM void* memalign(size_t alignment, size_t size) {
  return aligned(alignment, size);
}
THORAX_SHIM void* aligned_alloc(size_t alignment, size_t size) {
  void* block = aligned(alignment, size);
  if (alignment >= kTensorAlignment) note_tensor(block, size);
  return block;
}
THORAX_SHIM int posix_memalign(void** block, size_t alignment, size_t size) {
  *block = aligned(alignment, size);
  return *block != nullptr ? 0 : ENOMEM;
}
THORAX_SHIM void* mmap(void* where, size_t size, int protection, int flags, int descriptor,
                       off_t offset) noexcept {
  const bool memory = (flags & MAP_ANONYMOUS) != 0;
  if (memory && refused(size)) return MAP_FAILED;
  return reinterpret_cast<void*>(
      syscall(SYS_mmap, where, size, protection, flags, descriptor, offset));
}
THORAX_SHIM void* mmap64(void* where, size_t size, int protection, int flags, int descriptor,
                         off64_t offset) noexcept {
  return mmap(where, size, protection, flags, descriptor, offset);
}
