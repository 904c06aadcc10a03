#include "tests/fuzz/pytorch_mutator.h"

#include <algorithm>
#include <random>

#include "engine/io/zip_archive.h"
#include "tests/support/zip_writer.h"

namespace thorax::fuzz {
namespace {

using std::string_view_literals::operator""sv;

// Pieces of pickles: names, calls, marks, numbers at the edges, strings that end too early.
constexpr std::string_view kPieces[] = {
    "ctorch._utils\n_rebuild_tensor_v2\n"sv,
    "ctorch._utils\n_rebuild_parameter\n"sv,
    "ctorch\nFloatStorage\n"sv,
    "ctorch\nHalfStorage\n"sv,
    "ctorch\nLongStorage\n"sv,
    "ctorch\nCharStorage\n"sv,
    "ccollections\nOrderedDict\n"sv,
    "cos\nsystem\n"sv,
    "ctorch.nn.modules.linear\nLinear\n"sv,
    "X\x07\0\0\0storage"sv,
    "X\x0b\0\0\0_parameters"sv,
    "X\x08\0\0\0_modules"sv,
    "X\x0a\0\0\0state_dict"sv,
    "}"sv,
    "]"sv,
    ")"sv,
    "("sv,
    "t"sv,
    "u"sv,
    "e"sv,
    "a"sv,
    "s"sv,
    "R"sv,
    "Q"sv,
    "b"sv,
    "."sv,
    "\x81"sv,
    "\x85"sv,
    "\x86"sv,
    "\x87"sv,
    "N"sv,
    "q\x01"sv,
    "h\x01"sv,
    "h\x05"sv,
    "\x94"sv,
    "K\x00"sv,
    "K\x01"sv,
    "K\x04"sv,
    "J\xff\xff\xff\xff"sv,
    "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"sv,
    "\x8a\x08\0\0\0\0\0\0\0\x40"sv,
    "X\xff\xff\xff\x7f"sv,
    "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"sv,
};

}  // namespace

Buffer mutate_pytorch(Bytes input, std::size_t max_bytes, unsigned seed,
                      const PlainMutation& plain) {
  std::minstd_rand random(seed);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random()) % n; };
  const auto anything = [&] {
    Buffer all(input.begin(), input.end());
    plain(all, max_bytes);
    return all;
  };
  std::vector<test::ZipPart> parts;
  if (below(8) == 0) return anything();
  try {
    const ZipArchive archive(ByteSource::of(std::as_bytes(input)), "input");
    for (const auto& [name, entry] : archive.entries()) {
      std::string data(static_cast<std::size_t>(entry.size), '\0');
      std::copy_n(input.begin() + static_cast<std::ptrdiff_t>(entry.begin), data.size(),
                  data.begin());
      parts.push_back({name, data});
    }
  } catch (const Error&) {
    return anything();
  }
  if (parts.empty()) return anything();
  const auto mutate = [&](std::string& text) {
    Buffer bytes(text.begin(), text.end());
    plain(bytes, std::max<std::size_t>(max_bytes / 2, 2));
    text.assign(bytes.begin(), bytes.end());
  };
  test::ZipPart& part = parts[below(parts.size())];
  switch (below(8)) {
    case 0:
      mutate(part.data);
      break;
    case 1:
      mutate(part.name);
      break;
    case 2:
      parts.push_back(part);
      break;
    case 3:
      part.data.resize(below(64), '\0');
      break;
    default: {
      const auto pickle = std::find_if(parts.begin(), parts.end(), [](const test::ZipPart& p) {
        return p.name.ends_with("data.pkl");
      });
      if (pickle == parts.end()) return anything();
      if (below(3) == 0) {
        mutate(pickle->data);
        break;
      }
      const std::string_view piece = kPieces[below(std::size(kPieces))];
      const std::size_t at = below(pickle->data.size() + 1);
      pickle->data.replace(at, below(2) ? 0 : below(piece.size() + 4), piece);
    }
  }
  const std::string made = test::make_zip(parts, below(4) == 0);
  return {made.begin(), made.end()};
}

}  // namespace thorax::fuzz
