// TensorBoard's event files; tests/check_tensorboard.sh has TensorBoard itself read them.
#include "apps/report/event_file.h"

#include <doctest/doctest.h>

#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "data/encode.h"
#include "engine/io/crc32.h"
#include "engine/tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace thorax;
using namespace thorax::app;

namespace {

std::uint64_t number(const std::string& bytes, std::size_t at, int size) {
  std::uint64_t value = 0;
  for (int i = size; i-- > 0;)
    value = value << 8 | static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(i)]);
  return value;
}

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// The checksum of a record as its format defines it, from the plain CRC.
std::uint32_t masked(std::uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

}  // namespace

TEST_CASE("event files: every record has its length and both checksums") {
  EventLog events(1000);
  events.scalar("validation/auc", 3, 0.75);
  events.text("configuration", 0, "    {}");
  const std::string& bytes = events.bytes();
  int records = 0;
  for (std::size_t at = 0; at < bytes.size(); ++records) {
    REQUIRE(at + 12 <= bytes.size());
    const std::size_t length = number(bytes, at, 8);
    CHECK(number(bytes, at + 8, 4) == masked(crc32c(bytes.substr(at, 8))));
    REQUIRE(at + 16 + length <= bytes.size());
    CHECK(number(bytes, at + 12 + length, 4) == masked(crc32c(bytes.substr(at + 12, length))));
    at += 16 + length;
  }
  CHECK(records == 3);  // the first says which version of the format it is
  CHECK(bytes.find("brain.Event:2") != std::string::npos);
  // wall_time 1000.0, step 3 and the value 0.75 as they lie on the wire.
  const std::string wall_time("\x09\0\0\0\0\0\x40\x8f\x40", 9);
  CHECK(bytes.find(wall_time + std::string("\x10\x03", 2)) != std::string::npos);
  CHECK(bytes.find(std::string("\x15\0\0\x40\x3f", 5)) != std::string::npos);
}

TEST_CASE("precision and recall at each threshold") {
  // At 0.5 (threshold 63 of 126): two of three positives, one of two negatives.
  EventLog events(0);
  events.precision_recall("ill", 0, {1, 1, 1, 0, 0}, {0.9, 0.5, 0.1, 0.7, 0.2});
  const std::string& bytes = events.bytes();
  // The six rows of 127 floats are the tensor's content: field 4 of length 3048.
  const std::size_t content = bytes.find(std::string("\x22\xe8\x17", 3));
  REQUIRE(content != std::string::npos);
  const auto row = [&](std::size_t r, std::size_t threshold) {
    const auto bits =
        static_cast<std::uint32_t>(number(bytes, content + 3 + 4 * (127 * r + threshold), 4));
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  };
  const std::vector<float> at_half{2, 1, 1, 1, 2.0f / 3, 2.0f / 3};
  for (std::size_t r = 0; r < 6; ++r) CHECK(row(r, 63) == at_half[r]);
  CHECK(row(0, 0) == 3);
  CHECK(row(1, 0) == 2);
  CHECK(row(5, 0) == 1);
  CHECK(row(4, 126) == 0);
  CHECK_THROWS_WITH_AS(events.precision_recall("ill", 0, {1}, {}),
                       doctest::Contains("1 labels and 0 scores"), Error);
}

TEST_CASE("pictures: PNG files only") {
  const test::TempFolder folder;
  save_image(folder / "a.png", ImageU8(3, 5, 1, 7));
  EventLog events(0);
  events.image("a", 0, text_of(folder / "a.png"), "a.png");
  // height 3, width 5, one channel.
  CHECK(events.bytes().find(std::string("\x08\x03\x10\x05\x18\x01", 6)) != std::string::npos);
  CHECK_THROWS_WITH_AS(events.image("b", 0, "GIF89a", "b.png"),
                       doctest::Contains("b.png: is no PNG file"), Error);
}

TEST_CASE("an event file that has become longer is appended to, another one replaced") {
  const test::TempFolder folder;
  const auto path = folder / "events";
  const auto inode = [&] {
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    return status.st_ino;
  };
  CHECK(update_event_file(path, "abc"));
  const auto first = inode();
  CHECK_FALSE(update_event_file(path, "abc"));
  CHECK(update_event_file(path, "abcdef"));
  CHECK(inode() == first);
  CHECK(text_of(path) == "abcdef");
  CHECK(update_event_file(path, "abX"));
  CHECK(inode() != first);
  CHECK(text_of(path) == "abX");
}
