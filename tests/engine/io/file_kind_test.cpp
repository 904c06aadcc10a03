#include "engine/io/file_kind.h"

#include <doctest/doctest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/io/safetensors.h"
#include "tests/support/temp_folder.h"

using namespace thorax;
using std::string_view_literals::operator""sv;

namespace {
constexpr std::string_view kPointer =
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
}

TEST_CASE("what was given in place of a safetensors file is named, with what to do") {
  test::TempFolder folder;
  const auto path = folder / "w.safetensors";
  const std::string zeros(600, '\0');
  // gzip without a time stamp reads as a header length that a large file could have.
  for (const auto& [start, wanted] :
       {std::pair{"PK\x03\x04"sv, "zip archive, as torch.save"},
        {"\x80\x02\x8a\x0a"sv, "Python pickle"},
        {"\x1f\x8b\x08\x00\x00\x00\x00\x00"sv, "compressed with gzip"},
        {"  <!DOCTYPE html><html>"sv, "HTML page"},
        {"<html>"sv, "HTML page"},
        {"{\"metadata\": {}, \"weight_map\": {}}"sv, "JSON text"},
        {"\x89HDF\r\n\x1a\n"sv, "HDF5"},
        {"\x89PNG\r\n\x1a\n"sv, "PNG image"}}) {
    CAPTURE(wanted);
    atomic_write(path, std::string(start) + zeros);
    CHECK_THROWS_WITH_AS(read_safetensors(path), doctest::Contains(wanted), Error);
    CHECK_THROWS_WITH_AS(read_safetensors_header(path), doctest::Contains("w.safetensors"), Error);
  }
  atomic_write(path, zeros.substr(0, 257) + "ustar" + zeros);
  CHECK_THROWS_WITH_AS(read_safetensors(path), doctest::Contains("tar archive"), Error);
  // No kind is seen in what is none.
  CHECK(foreign_kind({}).empty());
  atomic_write(path, zeros);
  CHECK_THROWS_WITH_AS(read_safetensors(path), doctest::Contains("does not begin with"), Error);
}

TEST_CASE("a Git LFS pointer is named as such, whatever was to be read") {
  test::TempFolder folder;
  const auto path = folder / "file";
  atomic_write(path, kPointer);
  for (const auto& read : std::vector<std::function<void()>>{
           [&] { read_safetensors(path); }, [&] { read_safetensors_header(path); },
           [&] { load_json(path); }, [&] { read_bytes(path, 1 << 20); },
           [&] { read_file(path, 1 << 20); }})
    CHECK_THROWS_WITH_AS(read(), doctest::Contains("is a Git LFS pointer"), Error);
  // A larger file that begins so is none, by the format's own rule.
  atomic_write(path, std::string(kPointer) + std::string(1024, ' '));
  CHECK(read_file(path, 1 << 20).size() > 1024);
}
