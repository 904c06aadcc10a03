// Broken, cut and lying image files: each ends in an error that names file and rule, or in an
// image; never in a crash (this file also runs under address and undefined-behaviour sanitizers).
#include "data/container_check.h"
#include "data/decode.h"
#include "data/encode.h"
#include "engine/io/atomic_file.h"
#include "tests/data/image_files.h"
#include "tests/data/support.h"
#include "tests/support/places.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

Bytes golden(const std::string& name) {
  const std::string text =
      read_file(thorax::test::source_folder() / "tests/data/golden" / name, 1 << 20);
  return Bytes(text.begin(), text.end());
}

ImageU8 picture(int channels) {
  ImageU8 image(33, 41, channels);
  for (size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<uint8_t>(i * i / 7);
  return image;
}

// Every encoding we can get hold of.
std::vector<std::pair<std::string, Bytes>> all_kinds() {
  std::vector<std::pair<std::string, Bytes>> out;
  for (const char* name : {"alpha16.png", "palette.png", "bit1.png", "interlaced.png",
                           "progressive.jpg", "color_progressive.jpg", "cmyk.jpg"})
    out.emplace_back(name, golden(name));
  out.emplace_back("gray.png", encode_png(picture(1)));
  out.emplace_back("rgb.png", encode_png(picture(3)));
  out.emplace_back("gray.jpg", encode_jpeg(picture(1), 90));
  out.emplace_back("rgb420.jpg", encode_jpeg(picture(3), 80));
  out.emplace_back("rgb444.jpg", encode_jpeg(picture(3), 95));
  return out;
}

// 1 decoded, 0 refused with an error that names the file; anything else is a failure.
int outcome(const Bytes& bytes) {
  try {
    const Image image = decode_gray(bytes, "the_file");
    CHECK(image.pixels.size() == static_cast<size_t>(image.height) * image.width);
    return 1;
  } catch (const Error& e) {
    CHECK_MESSAGE(contains(e.what(), "the_file"), e.what());
    return 0;
  }
}

}  // namespace

TEST_CASE("hostile: missing, empty, folder, text, over the limit") {
  TempFolder tmp;
  CHECK_ERROR(load_image(tmp / "none.png"), "none.png: cannot be read");
  write_text(tmp / "zero.png", "");
  CHECK_ERROR(load_image(tmp / "zero.png"), "zero.png: file is empty");
  CHECK_ERROR(load_image(tmp.path()), "is not a regular file");
  write_text(tmp / "text.jpg", "hello");
  CHECK_ERROR(load_image(tmp / "text.jpg"), "first bytes 68 65");
  write_bytes(tmp / "ok.png", encode_png(picture(1)));
  DecodeLimits limits;
  limits.max_file_bytes = 10;
  CHECK_ERROR(load_image(tmp / "ok.png", {.limits = limits}), "the limit is 10");
  limits = {};
  limits.max_pixels = 100;
  CHECK_ERROR(load_image(tmp / "ok.png", {.limits = limits}),
              "says 41x33 pixels, the limit is 100 in all");
}

TEST_CASE("hostile: headers that lie about the size are refused before memory is taken") {
  const Bytes data = stored(Bytes(10, 0));
  CHECK_ERROR(decode_image(png({chunk("IHDR", header(60000, 60000)), chunk("IDAT", data),
                                chunk("IEND", {})}),
                           "big.png"),
              "big.png: png header says 60000x60000 pixels, the limit is 20000 a side");
  CHECK_ERROR(decode_image(png({chunk("IHDR", header(19999, 19999)), chunk("IDAT", data),
                                chunk("IEND", {})}),
                           "big.png"),
              "the limit is 64000000 in all");
  CHECK_ERROR(
      decode_image(png({chunk("IHDR", header(0, 5)), chunk("IDAT", data), chunk("IEND", {})}),
                   "nil.png"),
      "says 0x5 pixels");
  CHECK_ERROR(decode_image(png({chunk("IHDR", header(0xFFFFFFFF, 5)), chunk("IDAT", data),
                                chunk("IEND", {})}),
                           "neg.png"),
              "the limit is 20000 a side");
  // 4000 x 4000 pixels promised, ten bytes delivered.
  CHECK_ERROR(
      decode_image(png({chunk("IHDR", header(4000, 4000)), chunk("IDAT", data), chunk("IEND", {})}),
                   "short.png"),
      "short.png: corrupt png");
  Bytes jpeg = encode_jpeg(picture(1), 90);
  for (size_t i = 0; i + 8 < jpeg.size(); ++i)
    if (jpeg[i] == 0xFF && jpeg[i + 1] == 0xC0) {
      for (const size_t k : {i + 5, i + 7}) jpeg[k] = 0xEA, jpeg[k + 1] = 0x60;
      break;
    }
  CHECK_ERROR(decode_image(jpeg, "big.jpg"), "big.jpg: jpeg header says 60000x60000 pixels");
}

TEST_CASE("hostile: a PNG whose data unfolds far beyond its size") {
  // A tiny image with 40 MB of pixels in its stream: the decoder may not take that memory.
  const Bytes bomb = png(
      {chunk("IHDR", header(8, 8)), chunk("IDAT", stored(Bytes(40 << 20, 0))), chunk("IEND", {})});
  CHECK_ERROR(decode_image(bomb, "bomb.png"), "bomb.png: corrupt png");
}

TEST_CASE("hostile: each PNG rule broken once") {
  const Bytes ihdr = chunk("IHDR", header(2, 2)), idat = chunk("IDAT", stored(Bytes(6, 0))),
              iend = chunk("IEND", {});
  CHECK(outcome(png({ihdr, idat, iend})) == 1);
  CHECK_ERROR(decode_image(png({idat, ihdr, iend}), "p"), "png does not begin with IHDR");
  CHECK_ERROR(decode_image(png({ihdr}), "p"), "truncated png: ends at byte");
  // Without IEND, and nothing else, all pixels are there; after a part of the data they are not.
  ImageFacts cut;
  const Image endless = decode_image(png({ihdr, idat}), "p", {}, &cut);
  CHECK(endless.pixels == decode_image(png({ihdr, idat, iend}), "p").pixels);
  REQUIRE(cut.info.notes.size() == 1);
  CHECK(cut.info.notes[0] == "the end chunk is missing, all pixels are there");
  const Bytes half = stored(Bytes(6, 0));
  CHECK_ERROR(decode_image(png({ihdr, chunk("IDAT", Bytes(half.begin(), half.begin() + 8))}), "p"),
              "p: corrupt png");
  CHECK_ERROR(decode_image(png({ihdr, iend}), "p"), "png has no image data");
  CHECK_ERROR(decode_image(png({ihdr, ihdr, idat, iend}), "p"), "second IHDR");
  CHECK_ERROR(decode_image(png({chunk("IHDR", header(2, 2, 3)), idat, iend}), "p"),
              "color type 0 with 3 bits");
  CHECK_ERROR(decode_image(png({chunk("IHDR", header(2, 2, 8, 5)), idat, iend}), "p"),
              "color type 5 with 8 bits");
  CHECK_ERROR(decode_image(png({chunk("IHDR", header(2, 2, 8, 0, 2)), idat, iend}), "p"),
              "interlace 2 is unknown");
  CHECK_ERROR(decode_image(png({chunk("IHDR", header(2, 2, 8, 3)), idat, iend}), "p"),
              "no palette before its data");
  CHECK_ERROR(decode_image(png({ihdr, chunk("PLTE", Bytes(4, 0)), idat, iend}), "p"),
              "palette has 4 bytes");
  CHECK_ERROR(decode_image(png({ihdr, chunk("ID\x01T", {}), idat, iend}), "p"),
              "has no valid type");
  Bytes wrong = idat;
  wrong[9] ^= 1;
  CHECK_ERROR(decode_image(png({ihdr, wrong, iend}), "p"),
              "chunk IDAT at byte 33 has a wrong checksum");
  Bytes longer = idat;
  longer[0] = 0x7F;
  CHECK_ERROR(decode_image(png({ihdr, longer, iend}), "p"),
              "truncated png: chunk IDAT at byte 33 claims");
  // A palette index beyond the palette would be read from memory that nobody wrote.
  CHECK_ERROR(decode_image(png({chunk("IHDR", header(2, 2, 8, 3)), chunk("PLTE", Bytes(9, 9)),
                                chunk("IDAT", stored({0, 0, 2, 0, 200, 3})), iend}),
                           "p"),
              "p: corrupt png: the pixel in row 1, column 0 has palette index 200, the palette has "
              "3 colours");
  CHECK_ERROR(decode_image(png({chunk("IHDR", header(2, 2, 2, 3)), chunk("PLTE", Bytes(9, 9)),
                                chunk("IDAT", stored({0, 0x10, 0, 0xC0})), iend}),
                           "p"),
              "row 1, column 0 has palette index 3, the palette has 3 colours");
  // A wrong checksum: fatal in what the image needs, a note in what it does not.
  Bytes text = chunk("tEXt", {'a', 0, 'b'});
  text.back() ^= 1;
  ImageFacts facts;
  const Image image = decode_image(png({ihdr, text, idat, iend}), "p", {}, &facts);
  CHECK(image.pixels == decode_image(png({ihdr, idat, iend}), "p").pixels);
  REQUIRE(facts.info.notes.size() == 1);
  CHECK(contains(facts.info.notes[0], "chunk tEXt has a wrong checksum"));
  Bytes palette = chunk("PLTE", Bytes(9, 9));
  palette.back() ^= 1;
  CHECK_ERROR(decode_image(png({ihdr, palette, idat, iend}), "p"), "PLTE at byte 33 has a wrong");
}

TEST_CASE("hostile: a Huffman table of more than 256 codes") {
  Bytes b = encode_jpeg(picture(1), 90);
  for (size_t i = 0; i + 20 < b.size(); ++i)
    if (b[i] == 0xFF && b[i + 1] == 0xC4) {
      for (size_t k = 5; k < 21; ++k) b[i + k] = 200;
      break;
    }
  CHECK_ERROR(decode_image(b, "j"), "jpeg Huffman table 00 has 3200 values");
}

TEST_CASE("hostile: each JPEG rule broken once") {
  const Bytes ok = encode_jpeg(picture(1), 90);
  const auto sof = [&] {
    for (size_t i = 0;; ++i)
      if (ok[i] == 0xFF && ok[i + 1] == 0xC0) return i;
  }();
  const auto with = [&](size_t at, int value) {
    Bytes b = ok;
    b[at] = static_cast<uint8_t>(value);
    return b;
  };
  CHECK_ERROR(decode_image(with(sof + 1, 0xC3), "j"),
              "SOF3 (lossless or arithmetic) is not supported");
  CHECK_ERROR(decode_image(with(sof + 4, 12), "j"), "12 bits a sample");
  CHECK_ERROR(decode_image(with(sof + 9, 7), "j"), "7 components");
  CHECK_ERROR(decode_image(with(sof + 11, 0x00), "j"), "sampling 0x0");
  CHECK_ERROR(decode_image(with(sof + 2, 0xFF), "j"), "truncated jpeg: segment C0");
  CHECK_ERROR(decode_image(Bytes{0xFF, 0xD8, 0xFF, 0xD9}, "j"), "jpeg has no image data");
  CHECK_ERROR(decode_image(Bytes{0xFF, 0xD8, 0x12, 0xD9}, "j"), "jpeg marker expected at byte 2");
  CHECK_ERROR(decode_image(Bytes{0xFF, 0xD8}, "j"), "truncated jpeg: only 2 bytes");
  CHECK_ERROR(decode_image(Bytes{0xFF}, "j"), "truncated jpeg: only 1 bytes");
  Bytes twice(ok.begin(), ok.begin() + static_cast<ptrdiff_t>(sof));
  const int length = ok[sof + 2] << 8 | ok[sof + 3];
  for (int k = 0; k < 2; ++k)
    twice.insert(twice.end(), ok.begin() + static_cast<ptrdiff_t>(sof),
                 ok.begin() + static_cast<ptrdiff_t>(sof) + 2 + length);
  twice.insert(twice.end(), ok.begin() + static_cast<ptrdiff_t>(sof) + 2 + length, ok.end());
  CHECK_ERROR(decode_image(twice, "j"), "two frame headers");
  // Bytes after the end are harmless.
  Bytes tail = ok;
  tail.insert(tail.end(), 100, 0x55);
  CHECK(outcome(tail) == 1);
}

TEST_CASE("hostile: a file cut at any byte is an error") {
  for (const auto& [name, bytes] : all_kinds()) {
    CAPTURE(name);
    CHECK(outcome(bytes) == 1);
    for (size_t n = 0; n<bytes.size(); n += bytes.size()> 1500 ? 1 + n % 3 : 1) {
      const Bytes cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
      // A file that lacks its end marker or chunk, or a part of it, has all of its pixels.
      const bool only_marker = n + (name.ends_with("jpg") ? 2 : 12) >= bytes.size();
      CHECK(outcome(cut) == (only_marker ? 1 : 0));
    }
  }
}

TEST_CASE("hostile: random bit flips, runs of noise and deletions") {
  // THORAX_FUZZ=N makes it N times as long, from another seed.
  const char* longer = std::getenv("THORAX_FUZZ");
  const int rounds = 400 * (longer ? std::atoi(longer) : 1);
  std::mt19937 random(20210529u + static_cast<unsigned>(rounds));
  int decoded = 0, refused = 0;
  for (const auto& [name, bytes] : all_kinds()) {
    CAPTURE(name);
    for (int round = 0; round < rounds; ++round) {
      Bytes b = bytes;
      const int kind = static_cast<int>(random() % 4);
      if (kind < 2)
        for (int k = kind == 0 ? 1 : 8; k > 0; --k)
          b[random() % b.size()] ^= static_cast<uint8_t>(1u << (random() % 8));
      else if (kind == 2)
        for (size_t at = random() % b.size(), k = 0; k < 16 && at + k < b.size(); ++k)
          b[at + k] = static_cast<uint8_t>(random());
      else
        b.erase(b.begin() + static_cast<ptrdiff_t>(random() % b.size()));
      (outcome(b) ? decoded : refused)++;
    }
  }
  CHECK(refused > 1000);
  CHECK(decoded > 100);
}

TEST_CASE("hostile: noise inside chunks whose checksums are right") {
  // Bit flips rarely get past the checksum; here the decoder itself meets the noise.
  std::mt19937 random(5);
  int decoded = 0;
  for (int round = 0; round < 600; ++round) {
    const int color[] = {0, 2, 3, 4, 6};
    const int c = color[random() % 5];
    const int depth = c == 3   ? 1 << (random() % 4)
                      : c == 0 ? 1 << (random() % 5)
                               : 8 << (random() % 2);
    Bytes raw(random() % 400);
    for (auto& v : raw) v = static_cast<uint8_t>(random() % 3 ? random() % 5 : random());
    Bytes data = stored(raw);
    if (random() % 2)
      for (int k = 0; k < 3; ++k) data[random() % data.size()] = static_cast<uint8_t>(random());
    std::vector<Bytes> chunks = {chunk("IHDR", header(1 + random() % 12, 1 + random() % 12, depth,
                                                      c, static_cast<int>(random() % 2)))};
    if (c == 3 || random() % 4 == 0)
      chunks.push_back(chunk("PLTE", Bytes(3 * (1 + random() % 256), 50)));
    if (random() % 3 == 0) chunks.push_back(chunk("tRNS", Bytes(random() % 300, 3)));
    chunks.push_back(chunk("IDAT", data));
    chunks.push_back(chunk("IEND", {}));
    decoded += outcome(png(chunks));
  }
  CHECK(decoded > 20);
}
