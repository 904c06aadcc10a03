#include "tests/fuzz/safetensors_mutator.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

namespace thorax::fuzz {
namespace {

// Ordered, so that an input is not rearranged by a mutation that leaves the header alone.
using Json = nlohmann::ordered_json;

constexpr const char* kTypes[] = {"F32", "F64", "F16", "BF16", "I32", "I64", "U8", "BOOL"};
constexpr std::int64_t kBytes[] = {4, 8, 2, 2, 4, 8, 1, 1};

struct Parts {
  std::string header;
  Buffer data;
};

Parts take_apart(Bytes input) {
  std::uint64_t length = 0;
  if (input.size() < sizeof length) return {"{}", {}};
  std::memcpy(&length, input.data(), sizeof length);
  const Bytes rest = input.subspan(sizeof length);
  const std::size_t cut = std::min<std::uint64_t>(length, rest.size());
  return {std::string(as_text(rest.first(cut))),
          Buffer(rest.begin() + static_cast<std::ptrdiff_t>(cut), rest.end())};
}

Buffer put_together(const Parts& parts, std::uint64_t length) {
  Buffer out(sizeof length);
  std::memcpy(out.data(), &length, sizeof length);
  out.insert(out.end(), parts.header.begin(), parts.header.end());
  out.insert(out.end(), parts.data.begin(), parts.data.end());
  return out;
}

std::int64_t bytes_of(const Json& entry) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape")) return 0;
  std::int64_t bytes = 1;
  for (std::size_t i = 0; i < std::size(kTypes); ++i)
    if (entry["dtype"] == kTypes[i]) bytes = kBytes[i];
  for (const Json& extent : entry["shape"]) {
    if (!extent.is_number_integer()) return 0;
    const std::int64_t n = extent.get<std::int64_t>();
    if (n < 0 || n > 4096) return 0;
    bytes *= n;
    if (bytes > 1 << 20) return 0;
  }
  return bytes;
}

// Ranges that cover the buffer in the order of the header.
void fit(Json& header, Buffer& data) {
  std::int64_t position = 0;
  for (auto& [name, entry] : header.items()) {
    if (name == "__metadata__" || !entry.is_object()) continue;
    const std::int64_t bytes = bytes_of(entry);
    entry["data_offsets"] = {position, position + bytes};
    position += bytes;
  }
  data.resize(static_cast<std::size_t>(position), 0x3F);
}

}  // namespace

Buffer mutate_safetensors(Bytes input, std::size_t max_bytes, unsigned seed,
                          const PlainMutation& plain) {
  std::minstd_rand random(seed);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random()) % n; };
  Parts parts = take_apart(input);
  Json header = Json::parse(parts.header, nullptr, false);
  const std::size_t kind = below(10);
  if (kind == 0) {  // anything goes
    Buffer all(input.begin(), input.end());
    plain(all, max_bytes);
    return all;
  }
  if (kind == 1 || !header.is_object()) {  // the header's text, with a length that fits
    Buffer text(parts.header.begin(), parts.header.end());
    plain(text, std::max<std::size_t>(max_bytes / 2, 2));
    parts.header.assign(text.begin(), text.end());
    return put_together(parts, parts.header.size());
  }
  if (kind == 2) {  // the data
    plain(parts.data, std::max<std::size_t>(max_bytes / 2, 1));
    return put_together(parts, parts.header.size());
  }

  std::vector<std::string> names;
  for (const auto& [name, entry] : header.items()) names.push_back(name);
  const std::string name = names.empty() ? "" : names[below(names.size())];
  const auto some_entry = [&] {
    Json shape = Json::array();
    for (std::size_t rank = below(6); rank > 0; --rank) shape.push_back(below(5));
    return Json{
        {"dtype", kTypes[below(std::size(kTypes))]}, {"shape", shape}, {"data_offsets", {0, 0}}};
  };
  const auto word = [&] {
    Buffer text(name.begin(), name.end());
    plain(text, 24);
    return std::string(text.begin(), text.end());
  };
  switch (kind) {
    case 3:
      header[word()] = some_entry();
      break;
    case 4:
      if (!names.empty()) header.erase(name);
      break;
    case 5:
      if (!header["__metadata__"].is_object()) header["__metadata__"] = Json::object();
      header["__metadata__"][word()] = word();
      break;
    case 6:
      if (!names.empty() && header[name].is_object()) header[name]["shape"] = some_entry()["shape"];
      break;
    case 7:
      if (!names.empty() && header[name].is_object())
        header[name]["dtype"] = kTypes[below(std::size(kTypes))];
      break;
    case 8: {  // huge and negative numbers where numbers stand
      static constexpr std::int64_t kExtremes[] = {
          -1, 0, INT64_MAX, INT64_MIN, std::int64_t{1} << 62, std::int64_t{1} << 32, 65536};
      if (!names.empty() && header[name].is_object())
        header[name][below(2) ? "shape" : "data_offsets"] = {
            kExtremes[below(std::size(kExtremes))], kExtremes[below(std::size(kExtremes))]};
      break;
    }
    default:
      if (!names.empty()) {  // an entry under a second name
        const Json copy = header[name];
        header[word()] = copy;
      }
  }
  if (kind != 8 || below(4) == 0) fit(header, parts.data);
  parts.header = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  parts.header.resize((parts.header.size() + 7) / 8 * 8, ' ');
  return put_together(parts, parts.header.size());
}

}  // namespace thorax::fuzz
