// Zip archives made by hand, right or wrong in one place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/crc32.h"

namespace thorax::test {

struct ZipPart {
  std::string name, data;
  int method = 0;
};

template <class T>
void put_number(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Stored entries. With `zip64` sizes, offsets and counts stand in the 64-bit fields.
inline std::string make_zip(const std::vector<ZipPart>& parts, bool zip64 = false) {
  std::string out, directory;
  for (const ZipPart& part : parts) {
    const auto size = static_cast<std::uint32_t>(part.data.size());
    const std::uint32_t crc = crc32(std::as_bytes(std::span(part.data)));
    const auto name = static_cast<std::uint16_t>(part.name.size());
    const auto method = static_cast<std::uint16_t>(part.method);
    const std::uint64_t begin = out.size();
    put_number(out, 0x04034b50u);
    for (const std::uint16_t v :
         {std::uint16_t{20}, std::uint16_t{0}, method, std::uint16_t{0}, std::uint16_t{33}})
      put_number(out, v);
    for (const std::uint32_t v : {crc, size, size}) put_number(out, v);
    put_number(out, name);
    put_number(out, std::uint16_t{0});
    out += part.name + part.data;

    put_number(directory, 0x02014b50u);
    for (const std::uint16_t v : {std::uint16_t{20}, std::uint16_t{20}, std::uint16_t{0}, method,
                                  std::uint16_t{0}, std::uint16_t{33}})
      put_number(directory, v);
    put_number(directory, crc);
    for (int i = 0; i < 2; ++i) put_number(directory, zip64 ? 0xFFFFFFFFu : size);
    put_number(directory, name);
    put_number(directory, static_cast<std::uint16_t>(zip64 ? 28 : 0));
    for (int i = 0; i < 3; ++i) put_number(directory, std::uint16_t{0});
    put_number(directory, std::uint32_t{0});
    put_number(directory, zip64 ? 0xFFFFFFFFu : static_cast<std::uint32_t>(begin));
    directory += part.name;
    if (zip64) {
      put_number(directory, std::uint16_t{1});
      put_number(directory, std::uint16_t{24});
      for (const std::uint64_t v : {std::uint64_t{size}, std::uint64_t{size}, begin})
        put_number(directory, v);
    }
  }
  const std::uint64_t begin = out.size(), length = directory.size(), count = parts.size();
  out += directory;
  if (zip64) {
    const std::uint64_t record = out.size();
    put_number(out, 0x06064b50u);
    put_number(out, std::uint64_t{44});
    for (int i = 0; i < 2; ++i) put_number(out, std::uint16_t{45});
    for (int i = 0; i < 2; ++i) put_number(out, std::uint32_t{0});
    for (const std::uint64_t v : {count, count, length, begin}) put_number(out, v);
    put_number(out, 0x07064b50u);
    put_number(out, std::uint32_t{0});
    put_number(out, record);
    put_number(out, std::uint32_t{1});
  }
  put_number(out, 0x06054b50u);
  for (int i = 0; i < 2; ++i) put_number(out, std::uint16_t{0});
  for (int i = 0; i < 2; ++i)
    put_number(out, zip64 ? std::uint16_t{0xFFFF} : static_cast<std::uint16_t>(count));
  put_number(out, zip64 ? 0xFFFFFFFFu : static_cast<std::uint32_t>(length));
  put_number(out, zip64 ? 0xFFFFFFFFu : static_cast<std::uint32_t>(begin));
  put_number(out, std::uint16_t{0});
  return out;
}

}  // namespace thorax::test
