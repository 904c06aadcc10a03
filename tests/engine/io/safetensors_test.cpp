#include "engine/io/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>

#include "engine/io/atomic_file.h"
#include "tests/support/check.h"
#include "tests/support/full_disk.h"
#include "tests/support/places.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

namespace {

const std::filesystem::path kGolden =
    thorax::test::source_folder() / "tests/golden/safetensors.safetensors";

std::vector<std::byte> file_of(std::string_view header, std::size_t data_bytes,
                               std::int64_t claimed_length = -1) {
  const std::uint64_t length =
      claimed_length < 0 ? header.size() : static_cast<std::uint64_t>(claimed_length);
  std::vector<std::byte> bytes(8 + header.size() + data_bytes);
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}

std::string error_of(std::string_view header, std::size_t data_bytes, std::int64_t length = -1) {
  try {
    parse_safetensors(file_of(header, data_bytes, length), "x.safetensors");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::string repeated(const char* text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

template <class T>
std::vector<T> values(const Tensor& tensor) {
  return {tensor.data<T>(), tensor.data<T>() + tensor.numel()};
}

}  // namespace

TEST_CASE("a file of the official library is read value by value") {
  const SafetensorsFile file = read_safetensors(kGolden);
  CHECK(file.tensors.size() == 11);
  CHECK(file.metadata ==
        std::map<std::string, std::string>{{"made \"by\"", "the official library\n"}});
  const auto at = [&](const char* name) { return file.tensors.at(name); };
  CHECK(at("conv.weight").shape() == Shape{2, 3, 2, 2});
  for (int i = 0; i < 24; ++i) CHECK(at("conv.weight").data<float>()[i] == i);
  CHECK(at("bn.num_batches_tracked").shape() == Shape{});
  CHECK(at("bn.num_batches_tracked").item() == 7);
  CHECK(values<double>(at("double")) == std::vector<double>{0, 0.5, 1});
  CHECK(values<std::int32_t>(at("ints")) == std::vector<std::int32_t>{-1, 2147483647});
  CHECK(values<std::uint8_t>(at("bytes")) == std::vector<std::uint8_t>{0, 255, 1});
  CHECK(values<std::uint8_t>(at("flags")) == std::vector<std::uint8_t>{1, 0});
  CHECK(at("empty").shape() == Shape{0, 3});
  CHECK(at("rank5").shape() == Shape{1, 2, 1, 2, 1});
  CHECK(at("höhe").item() == 1.5);
  CHECK(at("brain").dtype() == DType::bf16);
  const auto* brain = static_cast<const std::uint16_t*>(at("brain").raw());
  CHECK(brain[0] == 0x3f80);
  CHECK(brain[1] == 0xc000);
  const SafetensorsHeader header = read_safetensors_header(kGolden);
  CHECK(header.entries.size() == 11);
  CHECK(header.metadata == file.metadata);
}

TEST_CASE("what was read is written back byte for byte as the official library wrote it") {
  test::TempFolder folder;
  SafetensorsFile file = read_safetensors(kGolden, FileOrder::pytorch);
  // u8 in memory: BOOL is the one dtype that does not survive a round trip, so both sides lose it.
  file.tensors.erase("flags");
  file.tensors.erase("bytes");
  write_safetensors(folder / "again.safetensors", file.tensors, file.metadata, FileOrder::pytorch);
  const auto again = read_bytes(folder / "again.safetensors", 1 << 20);
  const auto golden = read_bytes(kGolden, 1 << 20);
  std::uint64_t length = 0, golden_length = 0;
  std::memcpy(&length, again.data(), 8);
  std::memcpy(&golden_length, golden.data(), 8);
  CHECK((8 + length) % 8 == 0);
  // The golden file ends with "bytes" and "flags": 3 + 2 bytes of data.
  const std::vector<std::byte> data(again.begin() + 8 + static_cast<std::ptrdiff_t>(length),
                                    again.end());
  const std::vector<std::byte> golden_data(
      golden.begin() + 8 + static_cast<std::ptrdiff_t>(golden_length), golden.end() - 5);
  CHECK(data == golden_data);
  std::string header(reinterpret_cast<const char*>(again.data()) + 8, length);
  std::string golden_header(reinterpret_cast<const char*>(golden.data()) + 8, golden_length);
  header = header.substr(0, header.find_last_of('}'));
  CHECK(golden_header.starts_with(header));
}

TEST_CASE("PyTorch's order becomes channels-last in memory, and back") {
  const SafetensorsFile raw = read_safetensors(kGolden);
  const StateDict weights = load_weights(kGolden);
  CHECK(weights.at("conv.weight").shape() == Shape{2, 2, 2, 3});
  CHECK(test::same_values(weights.at("conv.weight"), nchw_to_nhwc(raw.tensors.at("conv.weight"))));
  CHECK(weights.at("half.weight").shape() == Shape{2, 1, 2, 3});
  CHECK(weights.at("rank5").shape() == Shape{1, 2, 1, 2, 1});
  test::TempFolder folder;
  save_weights(folder / "w.safetensors", weights, {{"a", "b"}});
  const SafetensorsFile back = read_safetensors(folder / "w.safetensors");
  CHECK(back.metadata.at("a") == "b");
  for (const auto& [name, tensor] : raw.tensors) {
    INFO(name);
    const Tensor& other = back.tensors.at(name);
    REQUIRE(other.shape() == tensor.shape());
    CHECK(std::memcmp(other.raw(), tensor.raw(), tensor.bytes()) == 0);
  }
}

TEST_CASE("channel slices are written by value; equal content gives equal bytes") {
  test::TempFolder folder;
  const Tensor dense = test::normals({2, 3, 4, 5}, 1);
  const std::map<std::string, Tensor> a{{"x", dense}, {"y", Tensor::full({}, 2, DType::i64)}};
  const std::map<std::string, Tensor> b{{"x", test::as_slice(dense)}, {"y", a.at("y")}};
  write_safetensors(folder / "a", a, {}, FileOrder::pytorch);
  write_safetensors(folder / "b", b, {}, FileOrder::pytorch);
  CHECK(read_bytes(folder / "a", 1 << 20) == read_bytes(folder / "b", 1 << 20));
  CHECK(test::same_values(load_weights(folder / "b").at("x"), dense));
  write_safetensors(folder / "none", {});
  CHECK(read_safetensors(folder / "none").tensors.empty());
}

TEST_CASE("what cannot be written is refused, and the old file stays") {
  test::TempFolder folder;
  const auto path = folder / "m.safetensors";
  write_safetensors(path, {{"x", Tensor::full({1}, 3)}});
  CHECK_THROWS_WITH_AS(write_safetensors(path, {{"__metadata__", Tensor::full({1}, 3)}}),
                       doctest::Contains("cannot name a tensor"), Error);
  CHECK_THROWS_WITH_AS(write_safetensors(path, {{"x", Tensor()}}),
                       doctest::Contains("'x' is undefined"), Error);
  CHECK_THROWS_WITH_AS(write_safetensors(path, {{"\xff", Tensor::full({1}, 3)}}),
                       doctest::Contains("not valid UTF-8"), Error);
  {
    test::FullDisk full(65536);
    CHECK_THROWS_WITH_AS(write_safetensors(path, {{"x", Tensor::zeros({100'000})}}),
                         doctest::Contains("m.safetensors: write failed"), Error);
  }
  CHECK(read_safetensors(path).tensors.at("x").item() == 3);
}

TEST_CASE("every rule of the format, broken once, is named") {
  const auto entry = [](const char* dtype, const char* shape, const char* offsets) {
    return fmt::format(R"({{"a":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape,
                       offsets);
  };
  const std::string good = entry(R"("F32")", "[2]", "[0,8]");
  CHECK(error_of(good, 8) == "accepted");
  CHECK(error_of(good + "   ", 8) == "accepted");
  CHECK(error_of("{}", 0) == "accepted");
  CHECK(error_of(R"({"__metadata__":{}})", 0) == "accepted");

  const auto check = [](const std::string& error, const char* wanted) {
    CHECK_MESSAGE(error.find(wanted) != std::string::npos, wanted << " <- " << error);
    CHECK(error.starts_with("[safetensors] x.safetensors: "));
  };
  // The frame.
  try {
    parse_safetensors(std::vector<std::byte>(7), "x.safetensors");
    CHECK(false);
  } catch (const Error& error) {
    check(error.what(), "7 bytes are too few");
  }
  check(error_of(good, 8, 100'000'001), "the limit is 100000000");
  check(error_of(good, 0, 1000), "leaves the file");
  check(error_of(good, 8, INT64_MAX), "the limit is");
  check(error_of("", 0), "does not begin with '{'");
  check(error_of(" {}", 0), "does not begin with '{'");
  check(error_of("\xef\xbb\xbf{}", 0), "does not begin with '{'");
  check(error_of("[]", 0), "does not begin with '{'");
  check(error_of(std::string_view("{}\0", 3), 0), "NUL byte");
  // JSON.
  check(error_of("{", 0), "not valid JSON");
  check(error_of("{} {}", 0), "not valid JSON");
  check(error_of("{\"a\xff\":1}", 0), "not valid JSON");
  check(error_of(R"({"\ud800":1})", 0), "not valid JSON");
  check(error_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},})", 8),
        "not valid JSON");
  check(error_of("{\"a\":" + std::string(100'000, '['), 0), "'a' is an array, not an object");
  check(error_of("{\"a\":" + std::string(100'000, '{'), 0), "not valid JSON");
  // The schema.
  check(error_of(R"({"a":3})", 0), "'a' is a number, not an object");
  check(error_of(R"({"a":null})", 0), "'a' is null, not an object");
  check(error_of(R"({"a":"b"})", 0), "'a' is a string, not an object");
  check(error_of(R"({"a":{}})", 0), "tensor 'a': has no 'dtype'");
  check(error_of(R"({"a":{"dtype":"F32","shape":[]}})", 0), "has no 'data_offsets'");
  check(error_of(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":1}})", 4),
        "unknown key 'x'");
  check(error_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4),
        "'a': key 'dtype' appears twice");
  check(error_of(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                 R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
                 4),
        "'a' appears twice");
  check(error_of(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                 R"("\u0061":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
                 4),
        "'a' appears twice");
  check(error_of(R"({"__metadata__":{},"__metadata__":{}})", 0), "'__metadata__' appears twice");
  check(error_of(R"({"__metadata__":{"k":"1","k":"2"}})", 0), "key 'k' appears twice");
  check(error_of(R"({"__metadata__":{"k":1}})", 0), "metadata 'k' is a number, not a string");
  check(error_of(R"({"__metadata__":{"k":{}}})", 0), "metadata 'k' is an object");
  check(error_of(R"({"__metadata__":[]})", 0), "'__metadata__' is an array");
  check(error_of(entry("\"F31\"", "[2]", "[0,8]"), 8), "dtype 'F31' is not one of");
  check(error_of(entry("4", "[2]", "[0,8]"), 8), "tensor 'a' dtype: holds a number");
  check(error_of(entry("\"F32\"", "2", "[0,8]"), 8), "tensor 'a' shape: holds a number");
  check(error_of(entry("\"F32\"", "\"2\"", "[0,8]"), 8), "tensor 'a' shape: holds a string");
  check(error_of(entry("\"F32\"", "[[2]]", "[0,8]"), 8), "tensor 'a' shape: holds an array");
  check(error_of(entry("\"F32\"", "{}", "[0,8]"), 8), "tensor 'a' shape: holds an object");
  // Shapes.
  check(error_of(entry("\"F32\"", "[-2]", "[0,8]"), 8), "shape: -2 is negative");
  check(error_of(entry("\"F32\"", "[2.0]", "[0,8]"), 8), "shape: 2.0 is not a whole number");
  check(error_of(entry("\"F32\"", "[18446744073709551616]", "[0,8]"), 8), "is not a whole number");
  check(error_of(entry("\"F32\"", "[9223372036854775808]", "[0,8]"), 8), "is too large");
  check(error_of(entry("\"F32\"", "[1,1,1,1,1,1]", "[0,4]"), 4), "has rank 6, this program");
  check(error_of(entry("\"F32\"", ("[1" + repeated(",1", 64) + "]").c_str(), "[0,4]"), 4),
        "rank is above the limit of 64");
  check(error_of(entry("\"F4\"", "[3]", "[0,2]"), 2), "does not fill whole bytes");
  check(error_of(entry("\"I8\"", "[3]", "[0,3]"), 3), "I8 is no type that this program computes");
  check(error_of(entry("\"F32\"", "[4294967296,4294967296]", "[0,8]"), 8), "overflows");
  check(error_of(entry("\"F32\"", "[4611686018427387904]", "[0,8]"), 8), "overflows");
  check(error_of(entry("\"F32\"", "[4294967296,0,4294967296,1]", "[0,0]"), 0), "overflows");
  check(error_of(entry("\"F32\"", "[3]", "[0,8]"), 8), "F32 of shape [3] needs 12 bytes");
  check(error_of(entry("\"F16\"", "[2]", "[0,8]"), 8), "needs 4 bytes, its range has 8");
  // Ranges.
  check(error_of(entry("\"F32\"", "[2]", "[0]"), 8), "1 numbers instead of two");
  check(error_of(entry("\"F32\"", "[2]", "[0,4,8]"), 8), "more than two numbers");
  check(error_of(entry("\"F32\"", "[2]", "[0,-8]"), 8), "-8 is negative");
  check(error_of(entry("\"F32\"", "[2]", "[8,0]"), 8), "range 8..0 is reversed");
  check(error_of(entry("\"F32\"", "[2]", "[0,8]"), 4), "leaves the buffer of 4 bytes");
  check(error_of(entry("\"F32\"", "[2]", "[0,8]"), 9), "cover 8 bytes, the buffer has 9");
  check(error_of(entry("\"F32\"", "[2]", "[4,12]"), 12), "hole of 4 bytes before tensor 'a'");
  const auto two = [](const char* offsets) {
    return fmt::format(R"({{"a":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},)"
                       R"("b":{{"dtype":"F32","shape":[1],"data_offsets":{}}}}})",
                       offsets);
  };
  CHECK(error_of(two("[4,8]"), 8) == "accepted");
  check(error_of(two("[2,6]"), 6), "range 2..6 overlaps the one before");
  check(error_of(two("[0,4]"), 4), "overlaps");
  check(error_of(two("[6,10]"), 10), "hole of 2 bytes before tensor 'b'");
  CHECK(error_of("{}", 1) ==
        "[safetensors] x.safetensors: tensors cover 0 bytes, the buffer has 1");
}

TEST_CASE("the tensors may be listed in any order") {
  const auto bytes = file_of(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},)"
                             R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                             2);
  CHECK(parse_safetensors(bytes, "x").tensors.size() == 2);
}

TEST_CASE("random damage ends in Error or in a valid file, never in anything else") {
  const auto golden = read_bytes(kGolden, 1 << 20);
  Philox random(11);
  int refused = 0;
  const auto attempt = [&](const std::vector<std::byte>& bytes) {
    try {
      const SafetensorsFile file = parse_safetensors(bytes, "fuzz", FileOrder::pytorch);
      for (const auto& [name, tensor] : file.tensors) CHECK(tensor.bytes() <= bytes.size());
    } catch (const Error&) {
      ++refused;
    }
  };
  std::uint64_t length = 0;
  std::memcpy(&length, golden.data(), 8);
  for (int round = 0; round < 4000; ++round) {
    std::vector<std::byte> bytes = golden;
    const std::uint64_t flips = 1 + random.below(4);
    for (std::uint64_t i = 0; i < flips; ++i)
      bytes[random.below(8 + length)] = static_cast<std::byte>(random.below(256));
    attempt(bytes);
  }
  CHECK(refused > 1000);
  // Digits exchanged for other digits keep the JSON valid and test the arithmetic behind it.
  for (int round = 0; round < 4000; ++round) {
    std::vector<std::byte> bytes = golden;
    for (int i = 0; i < 40; ++i) {
      std::byte& byte = bytes[8 + random.below(length)];
      if (byte >= std::byte{'0'} && byte <= std::byte{'9'})
        byte = static_cast<std::byte>('0' + random.below(10));
    }
    attempt(bytes);
  }
  refused = 0;
  for (std::size_t size = 0; size < golden.size(); ++size)
    attempt({golden.begin(), golden.begin() + static_cast<std::ptrdiff_t>(size)});
  CHECK(refused == static_cast<int>(golden.size()));
}
