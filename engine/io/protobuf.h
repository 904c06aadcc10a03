// Writes protocol buffer messages, as much of the wire format as ONNX files and TensorBoard need.
// The field numbers and types are those of the message's .proto file; fields appear in the order of
// the calls. https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace thorax {

// A message in the making; a repeated field is written once for each of its values.
class ProtoMessage {
 public:
  // int32, int64 and enumerations.
  ProtoMessage& integer(int field, std::int64_t value) {
    tag(field, 0);
    varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  ProtoMessage& real(int field, float value) {
    tag(field, 5);
    auto bits = std::bit_cast<std::uint32_t>(value);
    for (int i = 0; i < 4; ++i, bits >>= 8) bytes_.push_back(static_cast<char>(bits & 0xff));
    return *this;
  }
  // double.
  ProtoMessage& real64(int field, double value) {
    tag(field, 1);
    auto bits = std::bit_cast<std::uint64_t>(value);
    for (int i = 0; i < 8; ++i, bits >>= 8) bytes_.push_back(static_cast<char>(bits & 0xff));
    return *this;
  }
  // string and bytes.
  ProtoMessage& text(int field, std::string_view value) {
    tag(field, 2);
    varint(value.size());
    bytes_.append(value);
    return *this;
  }
  ProtoMessage& message(int field, const ProtoMessage& value) { return text(field, value.bytes_); }
  // repeated int64, packed.
  ProtoMessage& integers(int field, std::span<const std::int64_t> values) {
    ProtoMessage packed;
    for (const std::int64_t value : values) packed.varint(static_cast<std::uint64_t>(value));
    return text(field, packed.bytes_);
  }

  const std::string& bytes() const { return bytes_; }

 private:
  void tag(int field, unsigned type) { varint(static_cast<std::uint64_t>(field) << 3 | type); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>((value & 0x7f) | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }

  std::string bytes_;
};

}  // namespace thorax
