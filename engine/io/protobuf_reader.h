// Reads protocol buffer messages, the counterpart of protobuf.h.
// https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor/error.h"

namespace thorax {

struct ProtoField {
  enum class Type : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };
  int number = 0;
  Type type = Type::varint;
  std::uint64_t value = 0;      // of the number types, as stored
  std::string_view bytes = {};  // string, bytes, message or packed numbers

  std::int64_t integer() const { return static_cast<std::int64_t>(value); }
  float real() const { return std::bit_cast<float>(static_cast<std::uint32_t>(value)); }
};

// The fields of one message in the order of the file. `where` begins every message of an Error and
// names the file and the message: "[onnx] net.onnx: node 3". The bytes must outlive the reader.
class ProtoReader {
 public:
  ProtoReader(std::string_view bytes, std::string where)
      : bytes_(bytes), where_(std::move(where)) {}

  // False at the end. Throws Error when the message ends within a field.
  bool next(ProtoField& field) {
    if (at_ == bytes_.size()) return false;
    const std::uint64_t tag = varint();
    field = {.number = static_cast<int>(tag >> 3 & 0x1fffffff)};
    switch (tag & 7) {
      case 0:
        field.type = ProtoField::Type::varint;
        field.value = varint();
        return true;
      case 1:
        field.type = ProtoField::Type::fixed64;
        field.value = fixed(8);
        return true;
      case 2: {
        field.type = ProtoField::Type::bytes;
        const std::uint64_t size = varint();
        THORAX_CHECK(size <= bytes_.size() - at_,
                     "{}: field {} wants {} bytes, the file has {} more: cut off or damaged",
                     where_, field.number, size, bytes_.size() - at_);
        field.bytes = bytes_.substr(at_, size);
        at_ += size;
        return true;
      }
      case 5:
        field.type = ProtoField::Type::fixed32;
        field.value = fixed(4);
        return true;
      default:
        fail("{}: byte {} begins no field: damaged, or another kind of file", where_, at_);
    }
  }

  // Numbers of a repeated field, packed or one a field, appended to `values`.
  void integers(const ProtoField& field, std::vector<std::int64_t>& values) const {
    if (field.type != ProtoField::Type::bytes) return values.push_back(field.integer());
    ProtoReader packed(field.bytes, where_);
    while (packed.at_ < packed.bytes_.size())
      values.push_back(static_cast<std::int64_t>(packed.varint()));
  }
  void reals(const ProtoField& field, std::vector<float>& values) const {
    if (field.type != ProtoField::Type::bytes) return values.push_back(field.real());
    THORAX_CHECK(field.bytes.size() % 4 == 0, "{}: {} bytes of packed floats", where_,
                 field.bytes.size());
    ProtoReader packed(field.bytes, where_);
    while (packed.at_ < packed.bytes_.size())
      values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(packed.fixed(4))));
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      THORAX_CHECK(at_ < bytes_.size(), "{}: the file ends within a number: cut off or damaged",
                   where_);
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    fail("{}: a number of more than 64 bits at byte {}: damaged", where_, at_);
  }
  std::uint64_t fixed(std::size_t size) {
    THORAX_CHECK(size <= bytes_.size() - at_,
                 "{}: the file ends within a number: cut off or damaged", where_);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i)
      value |= std::uint64_t{static_cast<unsigned char>(bytes_[at_ + i])} << 8 * i;
    at_ += size;
    return value;
  }

  std::string_view bytes_;
  std::string where_;
  std::size_t at_ = 0;
};

}  // namespace thorax
