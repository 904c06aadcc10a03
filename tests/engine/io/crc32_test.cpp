#include "engine/io/crc32.h"

#include <doctest/doctest.h>

#include <string>

using namespace thorax;

TEST_CASE("crc32 has the check value of ISO 3309") {
  const std::string digits = "123456789";
  CHECK(crc32(std::as_bytes(std::span(digits))) == 0xcbf43926u);
  CHECK(crc32({}) == 0);
}

TEST_CASE("crc32c has the values of RFC 3720") {
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
  CHECK(crc32c("") == 0);
}
