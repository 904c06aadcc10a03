#include "data/stb_bridge.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "engine/tensor/error.h"

namespace {

// Largest single block the decoder of this thread may ask for; 0 outside of a decode.
thread_local size_t allocation_limit = 0;

// A machine without memory is no corrupt image, and the writer does not look whether it got any.
void* there(void* block) {
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

// Zeroed, because stb 2.27 reads Huffman and quantization tables that a broken JPEG never defined:
// an image must not depend on what the memory held before.
void* limited_malloc(size_t n) {
  if (allocation_limit && n > allocation_limit) return nullptr;
  return there(std::calloc(1, n ? n : 1));
}

void* limited_realloc(void* p, size_t old_size, size_t n) {
  if (allocation_limit && n > allocation_limit) return nullptr;
  void* q = there(std::realloc(p, n ? n : 1));
  if (n > old_size) std::memset(static_cast<char*>(q) + old_size, 0, n - old_size);
  return q;
}

[[noreturn]] void throw_broken_invariant(const char* what) {
  thorax::fail("[decode] corrupt image: decoder check failed: {}", what);
}

struct AllocationLimit {
  explicit AllocationLimit(size_t n) { allocation_limit = n; }
  ~AllocationLimit() { allocation_limit = 0; }
};

}  // namespace

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 65536
// A broken invariant inside the decoder is a corrupt file, not a reason to go on or to abort.
#define STBI_ASSERT(x) ((x) ? (void)0 : throw_broken_invariant(#x))
#define STBI_MALLOC(n) limited_malloc(n)
#define STBI_REALLOC_SIZED(p, old_size, n) limited_realloc(p, old_size, n)
#define STBI_FREE(p) std::free(p)
#define STBIW_MALLOC(n) there(std::malloc((n) ? (n) : 1))
#define STBIW_REALLOC_SIZED(p, old_size, n) there(std::realloc(p, (n) ? (n) : 1))
#define STBIW_FREE(p) std::free(p)
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#include <stb_image.h>
#include <stb_image_write.h>
#pragma GCC diagnostic pop

namespace thorax {

PixelBuffer stb_decode(std::span<const uint8_t> bytes, const ImageInfo& info, int& width,
                       int& height, int& channels, std::string& reason, int wanted) {
  // Room for four 16-bit samples a pixel, rows padded to whole MCUs, doubled because inflate grows
  // its buffer by doubling.
  const size_t padded =
      (static_cast<size_t>(info.width) + 64) * (static_cast<size_t>(info.height) + 64);
  const AllocationLimit limit(std::max<size_t>(padded * 16, size_t{1} << 20));
  const int size = static_cast<int>(bytes.size());
  PixelBuffer pixels;
  if (info.bits == 16)
    pixels.reset(stbi_load_16_from_memory(bytes.data(), size, &width, &height, &channels, wanted));
  else
    pixels.reset(stbi_load_from_memory(bytes.data(), size, &width, &height, &channels, wanted));
  if (wanted) channels = wanted;
  if (!pixels) {
    const char* why = stbi_failure_reason();
    reason = why ? why : "unknown reason";
  }
  return pixels;
}

namespace {
void append(void* context, void* data, int size) {
  auto* out = static_cast<std::vector<uint8_t>*>(context);
  const auto* p = static_cast<const uint8_t*>(data);
  out->insert(out->end(), p, p + size);
}
}  // namespace

std::vector<uint8_t> stb_encode_png(const uint8_t* pixels, int height, int width, int channels) {
  std::vector<uint8_t> out;
  if (!stbi_write_png_to_func(append, &out, width, height, channels, pixels, width * channels))
    out.clear();
  return out;
}

std::vector<uint8_t> stb_encode_jpeg(const uint8_t* pixels, int height, int width, int channels,
                                     int quality) {
  std::vector<uint8_t> out;
  if (!stbi_write_jpg_to_func(append, &out, width, height, channels, pixels, quality)) out.clear();
  return out;
}

std::vector<uint8_t> stb_zlib(const std::vector<uint8_t>& bytes) {
  int size = 0;
  // stb takes a mutable pointer but only reads.
  unsigned char* p = stbi_zlib_compress(const_cast<uint8_t*>(bytes.data()),
                                        static_cast<int>(bytes.size()), &size, 8);
  std::vector<uint8_t> out;
  if (p) out.assign(p, p + size);
  std::free(p);
  return out;
}

int64_t stb_inflate(std::span<const uint8_t> deflated, std::span<uint8_t> out) {
  constexpr size_t kMost = 0x7fffffff;
  if (deflated.size() > kMost || out.size() > kMost) return -1;
  return stbi_zlib_decode_noheader_buffer(
      reinterpret_cast<char*>(out.data()), static_cast<int>(out.size()),
      reinterpret_cast<const char*>(deflated.data()), static_cast<int>(deflated.size()));
}

}  // namespace thorax
