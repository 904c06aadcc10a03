#include "engine/io/crc32.h"

#include <array>
#include <cstring>

namespace thorax {
namespace {

// tables[k][b]: the remainder of byte b followed by k zero bytes, so that eight bytes are eight
// look-ups that do not wait for each other ("slicing by 8", Kounavis and Berry 2005).
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables(std::uint32_t polynomial) {
  Tables tables{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t c = b;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ (c & 1 ? polynomial : 0);
    tables[0][b] = c;
  }
  for (std::size_t k = 1; k < tables.size(); ++k)
    for (std::size_t b = 0; b < 256; ++b)
      tables[k][b] = (tables[k - 1][b] >> 8) ^ tables[0][tables[k - 1][b] & 0xFF];
  return tables;
}

constexpr Tables kIso3309 = make_tables(0xEDB88320u), kCastagnoli = make_tables(0x82F63B78u);

std::uint32_t remainder(const Tables& tables, std::span<const std::byte> bytes) {
  std::uint32_t c = 0xFFFFFFFFu;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word = 0;  // little-endian, as this program's machines are
    std::memcpy(&word, bytes.data() + i, sizeof word);
    word ^= c;
    c = 0;
    for (std::size_t k = 0; k < 8; ++k) c ^= tables[7 - k][(word >> (8 * k)) & 0xFF];
  }
  for (; i < bytes.size(); ++i)
    c = (c >> 8) ^ tables[0][(c ^ static_cast<std::uint32_t>(bytes[i])) & 0xFF];
  return ~c;
}

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes) {
  return remainder(kIso3309, bytes);
}

std::uint32_t crc32c(std::string_view bytes) {
  return remainder(kCastagnoli, std::as_bytes(std::span(bytes)));
}

}  // namespace thorax
