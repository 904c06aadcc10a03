// The JSON header of safetensors files: a parser that accepts that one schema and nothing else.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/io/safetensors.h"

namespace thorax {
namespace {

using nlohmann::json;

// All types of the official library (0.6, enum Dtype).
struct NamedDType {
  std::string_view name;
  int bits;
  std::optional<DType> dtype;
};
constexpr NamedDType kDTypes[] = {{"F32", 32, DType::f32}, {"F64", 64, DType::f64},
                                  {"F16", 16, DType::f16}, {"BF16", 16, DType::bf16},
                                  {"I32", 32, DType::i32}, {"I64", 64, DType::i64},
                                  {"U8", 8, DType::u8},    {"BOOL", 8, DType::u8},
                                  {"I8", 8, {}},           {"I16", 16, {}},
                                  {"U16", 16, {}},         {"U32", 32, {}},
                                  {"U64", 64, {}},         {"F8_E5M2", 8, {}},
                                  {"F8_E4M3", 8, {}},      {"F8_E8M0", 8, {}},
                                  {"F6_E2M3", 6, {}},      {"F6_E3M2", 6, {}},
                                  {"F4", 4, {}},           {"C64", 64, {}}};
constexpr std::size_t kMaxRank = 64;  // PyTorch's

int bits_of(std::string_view type) {
  return std::find_if(std::begin(kDTypes), std::end(kDTypes),
                      [&](const NamedDType& known) { return known.name == type; })
      ->bits;
}

// Receives parse events instead of building a document: a document would keep only the last of two
// equal keys, and a header of a hundred million brackets would fill the memory before anyone could
// look at it.
class HeaderSax : public nlohmann::json_sax<json> {
 public:
  explicit HeaderSax(std::string_view what) : what_(what) {}
  SafetensorsHeader header;

  bool null() override { return value("null"); }
  bool boolean(bool) override { return value("a boolean"); }
  bool number_float(number_float_t, const string_t& text) override {
    if (place_ == Place::shape || place_ == Place::offsets)
      broken("{}: {} is not a whole number below 2^64", where(), text);
    return value("a number");
  }
  bool binary(binary_t&) override { return value("binary data"); }
  bool number_integer(number_integer_t number) override {
    if (place_ == Place::shape || place_ == Place::offsets)
      broken("{}: {} is negative", where(), number);
    return value("a number");
  }
  bool number_unsigned(number_unsigned_t number) override {
    if (place_ == Place::shape) {
      if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        broken("{}: extent {} is too large", where(), number);
      if (entry_.shape.size() >= kMaxRank)
        broken("{}: rank is above the limit of {}", where(), kMaxRank);
      entry_.shape.push_back(static_cast<std::int64_t>(number));
      return true;
    }
    if (place_ == Place::offsets) {
      if (offsets_.size() >= 2) broken("{}: more than two numbers", where());
      offsets_.push_back(number);
      return true;
    }
    return value("a number");
  }
  bool string(string_t& text) override {
    if (place_ == Place::metadata) {
      header.metadata[key_] = text;
      return true;
    }
    if (place_ == Place::entry && key_ == "dtype") {
      for (const NamedDType& known : kDTypes) {
        if (known.name == text) {
          entry_.type = text;
          entry_.dtype = known.dtype;
          return true;
        }
      }
      std::vector<std::string_view> all;
      for (const NamedDType& known : kDTypes) all.push_back(known.name);
      broken("{}: dtype '{}' is not one of {}", where(), text, fmt::join(all, " "));
    }
    return value("a string");
  }
  bool start_object(std::size_t) override {
    switch (place_) {
      case Place::outside:
        place_ = Place::root;
        return true;
      case Place::root:
        place_ = name_ == "__metadata__" ? Place::metadata : Place::entry;
        keys_.clear();
        key_.clear();
        entry_ = {};
        entry_.name = name_;
        offsets_.clear();
        return true;
      default:
        return value("an object");
    }
  }
  bool key(string_t& text) override {
    if (place_ == Place::root) {
      if (!names_.insert(text).second) broken("'{}' appears twice", text);
      name_ = text;
      return true;
    }
    key_ = text;
    if (!keys_.insert(text).second) broken("'{}': key '{}' appears twice", name_, text);
    if (place_ == Place::entry && text != "dtype" && text != "shape" && text != "data_offsets")
      broken("tensor '{}': unknown key '{}'", name_, text);
    return true;
  }
  bool end_object() override {
    if (place_ == Place::entry) {
      for (const char* wanted : {"dtype", "shape", "data_offsets"})
        if (!keys_.contains(wanted)) broken("tensor '{}': has no '{}'", name_, wanted);
      if (offsets_.size() != 2)
        broken("tensor '{}' data_offsets: {} numbers instead of two", name_, offsets_.size());
      entry_.begin = offsets_[0];
      entry_.end = offsets_[1];
      header.entries.push_back(std::move(entry_));
    }
    place_ = place_ == Place::root ? Place::outside : Place::root;
    return true;
  }
  bool start_array(std::size_t) override {
    if (place_ == Place::entry && key_ == "shape") {
      place_ = Place::shape;
      return true;
    }
    if (place_ == Place::entry && key_ == "data_offsets") {
      place_ = Place::offsets;
      return true;
    }
    return value("an array");
  }
  bool end_array() override {
    place_ = Place::entry;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // The library's own text starts with "[json.exception.parse_error.101] ".
    const std::string text = error.what();
    const std::size_t start = text.find("] ");
    broken("header is not valid JSON (byte {}): {}", position,
           start == std::string::npos ? text : text.substr(start + 2));
  }

 private:
  enum class Place { outside, root, metadata, entry, shape, offsets };

  template <class... Args>
  [[noreturn]] void broken(fmt::format_string<Args...> format, Args&&... args) const {
    fail("[safetensors] {}: {}", what_, fmt::format(format, std::forward<Args>(args)...));
  }
  std::string where() const { return fmt::format("tensor '{}' {}", name_, key_); }
  // A value of a kind that this place does not take.
  [[noreturn]] bool value(const char* kind) const {
    switch (place_) {
      case Place::outside:
        broken("header is {}, not an object", kind);
      case Place::root:
        broken("'{}' is {}, not an object", name_, kind);
      case Place::metadata:
        broken("metadata '{}' is {}, not a string", key_, kind);
      default:
        broken("{}: holds {}", where(), kind);
    }
  }

  std::string_view what_;
  Place place_ = Place::outside;
  std::set<std::string, std::less<>> names_, keys_;
  std::string name_, key_;
  SafetensorsEntry entry_;
  std::vector<std::uint64_t> offsets_;
};

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t buffer_bytes,
                                           std::string_view what) {
  THORAX_CHECK(!text.empty() && text.front() == '{',
               "[safetensors] {}: header does not begin with '{{'", what);
  // The JSON library takes a NUL byte for the end of the text.
  THORAX_CHECK(text.find('\0') == std::string_view::npos,
               "[safetensors] {}: NUL byte in the header", what);
  HeaderSax sax(what);
  json::sax_parse(text.begin(), text.end(), &sax);
  SafetensorsHeader header = std::move(sax.header);
  std::sort(header.entries.begin(), header.entries.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
            });
  std::uint64_t position = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    std::int64_t bits = bits_of(entry.type);
    bool empty = false;
    for (const std::int64_t extent : entry.shape) {
      empty = empty || extent == 0;
      // Even beside an extent of 0, so that no later product in any order can overflow.
      THORAX_CHECK(!__builtin_mul_overflow(bits, std::max<std::int64_t>(extent, 1), &bits),
                   "[safetensors] {}: tensor '{}': size of shape [{}] overflows", what, entry.name,
                   fmt::join(entry.shape, ", "));
    }
    if (empty) bits = 0;
    THORAX_CHECK(bits % 8 == 0,
                 "[safetensors] {}: tensor '{}': {} of shape [{}] does not fill whole bytes", what,
                 entry.name, entry.type, fmt::join(entry.shape, ", "));
    const std::int64_t bytes = bits / 8;
    THORAX_CHECK(entry.begin <= entry.end,
                 "[safetensors] {}: tensor '{}': range {}..{} is reversed", what, entry.name,
                 entry.begin, entry.end);
    THORAX_CHECK(entry.end <= buffer_bytes,
                 "[safetensors] {}: tensor '{}': range {}..{} leaves the buffer of {} bytes", what,
                 entry.name, entry.begin, entry.end, buffer_bytes);
    THORAX_CHECK(entry.begin >= position,
                 "[safetensors] {}: tensor '{}': range {}..{} overlaps the one before, which ends "
                 "at {}",
                 what, entry.name, entry.begin, entry.end, position);
    THORAX_CHECK(entry.begin == position,
                 "[safetensors] {}: hole of {} bytes before tensor '{}' at {}", what,
                 entry.begin - position, entry.name, entry.begin);
    THORAX_CHECK(entry.end - entry.begin == static_cast<std::uint64_t>(bytes),
                 "[safetensors] {}: tensor '{}': {} of shape [{}] needs {} bytes, its range has {}",
                 what, entry.name, entry.type, fmt::join(entry.shape, ", "), bytes,
                 entry.end - entry.begin);
    position = entry.end;
  }
  THORAX_CHECK(position == buffer_bytes,
               "[safetensors] {}: tensors cover {} bytes, the buffer has {}", what, position,
               buffer_bytes);
  return header;
}

}  // namespace thorax
