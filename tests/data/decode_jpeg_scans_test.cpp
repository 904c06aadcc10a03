// JPEG files that lie about being whole.
#include "data/decode_jpeg_scans.h"

#include "data/decode.h"
#include "data/encode.h"
#include "engine/io/atomic_file.h"
#include "tests/data/image_files.h"
#include "tests/data/support.h"
#include "tests/support/places.h"

using namespace thorax;
using namespace thorax::test;

namespace {

Bytes golden(const std::string& name) {
  const std::string text = read_file(source_folder() / "tests/data/golden" / name, 1 << 20);
  return Bytes(text.begin(), text.end());
}

ImageU8 noise(int height, int width, int channels) {
  ImageU8 image(height, width, channels);
  std::mt19937 random(3);
  for (auto& v : image.pixels) v = static_cast<uint8_t>(random());
  return image;
}

// Sequential gray, with and without subsampled chroma, odd sizes, restart markers, progressive.
std::vector<std::pair<std::string, Bytes>> kinds() {
  return {{"gray", encode_jpeg(noise(65, 49, 1), 90)},
          {"420", encode_jpeg(noise(50, 71, 3), 70)},
          {"444", encode_jpeg(noise(33, 34, 3), 95)},
          {"restart", golden("restart.jpg")},
          {"progressive", golden("progressive.jpg")},
          {"color_progressive", golden("color_progressive.jpg")}};
}

// Position of the last scan's data: what is cut off before it lacks whole scans.
size_t last_scan(const Bytes& b) {
  size_t at = 0;
  for (size_t i = 0; i + 4 < b.size(); ++i)
    if (b[i] == 0xFF && b[i + 1] == 0xDA) at = i + 2 + (b[i + 2] << 8 | b[i + 3]);
  return at;
}

}  // namespace

TEST_CASE("jpeg scans: cut anywhere in the data and closed with an end marker, a file is refused") {
  for (const auto& [name, bytes] : kinds()) {
    CAPTURE(name);
    CHECK(decode_image(bytes, "f.jpg").height > 0);
    // The last byte before EOI may hold nothing but padding.
    for (size_t n = bytes.size() / 3; n + 4 < bytes.size(); n += 1 + bytes.size() / 97) {
      Bytes cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
      if (cut.back() == 0xFF) continue;
      cut.insert(cut.end(), {0xFF, 0xD9});
      CAPTURE(n);
      CHECK(error_of([&] { decode_image(cut, "f.jpg"); }).rfind("[decode] f.jpg: ", 0) == 0);
    }
    // Half of the last scan: the data end, or a scan is missing.
    const size_t half = (last_scan(bytes) + bytes.size()) / 2;
    Bytes cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(half));
    if (cut.back() == 0xFF) cut.pop_back();
    cut.insert(cut.end(), {0xFF, 0xD9});
    CHECK_ERROR(decode_image(cut, "f.jpg"), "f.jpg: truncated jpeg: its data end before the last");
  }
  // A progressive file that ends between two scans.
  Bytes whole = golden("progressive.jpg");
  size_t scan = whole.size();
  for (size_t i = 0; i + 1 < whole.size(); ++i)
    if (whole[i] == 0xFF && whole[i + 1] == 0xDA) scan = i;
  whole.resize(scan);
  whole.insert(whole.end(), {0xFF, 0xD9});
  CHECK_ERROR(decode_image(whole, "f.jpg"), "truncated jpeg: scans are missing");
}

TEST_CASE("jpeg scans: a file that lacks only its end marker has all pixels, and a note") {
  for (const auto& [name, bytes] : kinds()) {
    CAPTURE(name);
    const Image whole = decode_image(bytes, "f.jpg");
    for (const size_t missing : {1, 2}) {
      const Bytes cut(bytes.begin(), bytes.end() - static_cast<ptrdiff_t>(missing));
      ImageFacts facts;
      CHECK(decode_image(cut, "f.jpg", {}, &facts).pixels == whole.pixels);
      REQUIRE(facts.info.notes.size() == 1);
      CHECK(contains(facts.info.notes[0], "end marker is missing"));
    }
  }
}

TEST_CASE("jpeg scans: a restart marker that is lost is found") {
  const Bytes ok = golden("restart.jpg");
  size_t marker = 0;
  for (size_t i = 0; i + 1 < ok.size(); ++i)
    if (ok[i] == 0xFF && ok[i + 1] == 0xD1) marker = i;
  REQUIRE(marker > 0);
  Bytes lost = ok;
  lost.erase(lost.begin() + static_cast<ptrdiff_t>(marker),
             lost.begin() + static_cast<ptrdiff_t>(marker) + 2);
  CHECK(error_of([&] { decode_image(lost, "f.jpg"); }).rfind("[decode] f.jpg: ", 0) == 0);
}

TEST_CASE("jpeg scans: Huffman tables that are not there, or have too many codes") {
  const Bytes ok = encode_jpeg(noise(16, 16, 1), 90);
  const auto table = [&] {
    for (size_t i = 0;; ++i)
      if (ok[i] == 0xFF && ok[i + 1] == 0xC4) return i;
  }();
  Bytes renamed = ok;
  renamed[table + 4] = 0x03;  // the DC table of luma becomes number 3
  CHECK_ERROR(decode_image(renamed, "j"), "uses a Huffman table that the file does not define");
  Bytes crowded = ok;
  crowded[table + 5] = 3;  // three codes of one bit
  CHECK_ERROR(decode_image(crowded, "j"), "has more codes of 1 bits than there are");
}

TEST_CASE("four components: by the Adobe marker, and refused without one") {
  const Bytes cmyk = golden("cmyk.jpg");
  const auto adobe = [&] {
    for (size_t i = 0;; ++i)
      if (cmyk[i] == 0xFF && cmyk[i + 1] == 0xEE) return i;
  }();
  const size_t length = static_cast<size_t>(cmyk[adobe + 2] << 8 | cmyk[adobe + 3]);
  Bytes without = cmyk;
  without.erase(without.begin() + static_cast<ptrdiff_t>(adobe),
                without.begin() + static_cast<ptrdiff_t>(adobe + 2 + length));
  CHECK_ERROR(decode_image(without, "f.jpg"),
              "f.jpg: jpeg has four components and no Adobe marker");
  Bytes unknown = cmyk;
  unknown[adobe + 15] = 1;
  CHECK_ERROR(decode_image(unknown, "f.jpg"), "an Adobe marker with transform 1");

  // YCCK, as Photoshop writes it: the file was made with R, G, B of 4(y + x), half of it, and the
  // rest to 200, as inverted inks.
  const Image ycck = decode_image(golden("ycck.jpg"), "f.jpg");
  REQUIRE(ycck.channels == 3);
  for (int y = 0; y < 20; ++y)
    for (int x = 0; x < 30; ++x) {
      const int s = 4 * (y + x);
      CHECK(std::abs(ycck.at(y, x, 0) * 255 - s) < 14);
      CHECK(std::abs(ycck.at(y, x, 1) * 255 - s / 2) < 14);
      CHECK(std::abs(ycck.at(y, x, 2) * 255 - (200 - s)) < 14);
    }
}
