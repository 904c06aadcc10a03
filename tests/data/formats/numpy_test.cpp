#include "data/formats/numpy.h"

#include "data/formats/format.h"
#include "tests/data/formats/golden_formats.h"

using namespace thorax;
using namespace thorax::test;

namespace {

const auto kGray8 = [](int n, int) { return static_cast<float>(n) / 255.f; };
const auto kGray12 = [](int n, int) { return static_cast<float>(18 * n) / 4095.f; };
const auto kRgb = [](int n, int c) {
  return static_cast<float>(c == 0 ? n : c == 1 ? 220 - n : n / 2) / 255.f;
};

// An .npy file of version 1.0 around this header and these data.
Bytes npy(const std::string& header, const Bytes& data = Bytes(100, 1)) {
  Bytes out = {0x93,
               'N',
               'U',
               'M',
               'P',
               'Y',
               1,
               0,
               static_cast<uint8_t>(header.size() & 255),
               static_cast<uint8_t>(header.size() >> 8)};
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

}  // namespace

TEST_CASE("npy: whole numbers of 8 and 16 bits in either order, both byte orders") {
  for (const char* name : {"u1.npy", "column.npy", "version2.npy"}) {
    CAPTURE(name);
    check_golden(load_gray(golden_format(name)), kGray8);
  }
  ImageFacts facts;
  check_golden(load_gray(golden_format("u2_be.npy"), {}, &facts), kGray12);
  CHECK(facts.depth == 12);
  check_golden(load_gray(golden_format("i2_fortran.npy")), kGray12);
  check_golden(load_gray(golden_format("u2_be.npy"), {.intensity = Intensity::full}),
               [](int n, int) { return static_cast<float>(18 * n) / 65535.f; });
  for (const char* name : {"rgb.npy", "rgb_fortran.npy"}) {
    const Image image = load_image(golden_format(name));
    CHECK(image.channels == 3);
    check_golden(image, kRgb);
  }
  const ImageInfo info = read_image_info(golden_format("u2_be.npy"));
  CHECK(info.format == "npy");
  CHECK(info.height == 13);
  CHECK(info.width == 17);
  CHECK(info.bits == 16);
}

TEST_CASE("npy: real numbers from 0 to 1 are brightness, others are stretched and a note says so") {
  ImageFacts facts;
  check_golden(
      load_gray(golden_format("f4.npy"), {}, &facts),
      [](int n, int) { return static_cast<float>(n) / 220.f; }, 0.5f / 65535);
  CHECK(facts.info.notes.empty());
  // Whole numbers in a real type are samples.
  check_golden(load_gray(golden_format("f8_whole.npy")), kGray8);
  check_golden(
      load_gray(golden_format("i2_negative.npy"), {}, &facts),
      [](int n, int) { return static_cast<float>(n) / 220.f; }, 0.5f / 65535);
  CHECK(has_note(facts, "the least of each file is black, its largest white (here -110 and 110)"));
  // A file of one number shows nothing, whatever the number.
  const Bytes flat = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)}",
                         {0, 0, 0x20, 0xC1, 0, 0, 0x20, 0xC1});
  CHECK(decode_gray(flat, "x").pixels == std::vector<float>{0, 0});
}

TEST_CASE("npy: masks are the numbers themselves") {
  MaskPixels mask = load_mask_pixels(golden_format("labels_i8.npy"));
  for (size_t i = 0; i < mask.values.pixels.size(); ++i) CHECK(mask.values.pixels[i] == i % 4);
  CHECK(mask.top == 255);
  mask = load_mask_pixels(golden_format("bool.npy"));
  CHECK(mask.top == 1);
  for (size_t i = 0; i < mask.values.pixels.size(); ++i)
    CHECK(mask.values.pixels[i] == (i % 3 == 0 ? 1 : 0));
  CHECK_ERROR(load_mask_pixels(golden_format("f4.npy")),
              "f4.npy: the number in row 0, column 1 is 0.00454545; a mask holds whole numbers");
  CHECK_ERROR(load_mask_pixels(golden_format("i2_negative.npy")), "row 0, column 0 is -110");
}

TEST_CASE("npz: the one array, or the one called image or mask; damage is found") {
  check_golden(load_gray(golden_format("one.npz")), kGray8);
  check_golden(load_gray(golden_format("packed.npz")), kGray8);
  const MaskPixels mask = load_mask_pixels(golden_format("packed.npz"));
  for (size_t i = 0; i < mask.values.pixels.size(); ++i) CHECK(mask.values.pixels[i] == i % 4);
  const Bytes good = golden_format_bytes("packed.npz");
  Bytes other = good;
  for (size_t i = 0; i + 5 < other.size(); ++i)
    if (std::equal(other.begin() + static_cast<ptrdiff_t>(i),
                   other.begin() + static_cast<ptrdiff_t>(i) + 5, "image"))
      other[i] = 'I';
  CHECK_ERROR(decode_gray(other, "x"),
              "x: an archive of the arrays Image, mask, other; one is wanted");
  int refused = 0;
  for (size_t i = 0; i < good.size(); i += 3) {
    Bytes b = good;
    b[i] ^= 0x20;
    const std::string error = error_of([&] { decode_gray(b, "x"); });
    CHECK((error.empty() || contains(error, "x: ")));
    refused += error.empty() ? 0 : 1;
  }
  CHECK(refused > 100);
}

TEST_CASE("npy: what is refused, with file and rule") {
  const std::string good = "{'descr': '|u1', 'fortran_order': False, 'shape': (10, 10), }";
  CHECK(decode_gray(npy(good), "x").width == 10);
  const auto refused = [&](const std::string& header, const std::string& why) {
    CHECK_ERROR(decode_gray(npy(header), "x.npy"), "x.npy: ");
    CHECK_ERROR(decode_gray(npy(header), "x.npy"), why);
    CHECK_ERROR(check_container(npy(header), "x.npy"), why);
  };
  const auto with = [](const std::string& type, const std::string& shape) {
    return "{'descr': " + type + ", 'fortran_order': False, 'shape': " + shape + "}";
  };
  refused(with("'|O'", "(10, 10)"), "Python objects are never read");
  refused(with("'<f2'", "(10, 10)"), "numbers of type '<f2'; read are");
  refused(with("'<U4'", "(10, 10)"), "numbers of type '<U4'");
  refused(with("[('a', '<u1')]", "(10, 10)"), "an array of records");
  refused(with("'|u1'", "(10,)"), "shape (10); an image is HxW");
  refused(with("'|u1'", "()"), "shape ()");
  refused(with("'|u1'", "(3, 10, 10)"), "shape (3, 10, 10)");
  refused(with("'|u1'", "(10, 11)"), "truncated npy: 10x11x1 numbers of 1 bytes want 110, 100 are");
  refused(with("'<f8'", "(9000, 7000)"), "truncated npy");
  refused(with("'<f8'", "(90000, 7)"), "the limit is 20000 a side");
  refused(with("'<f8'", "(9223372036854775807, 2)"), "the limit is 20000 a side");
  refused(with("'<f8'", "(0, 2)"), "says 2x0 pixels");
  refused(with("'<f8'", "(-1, 2)"), "a shape that is no tuple");
  refused(with("'<f8'", "(99999999999999999999, 2)"), "a shape that is no tuple");
  refused(good + "x", "goes on behind its end");
  refused("{'descr': '|u1', 'shape': (10, 10)}", "lacks one of");
  refused("{'descr': '|u1', 'descr': '|u1'}", "has the key 'descr'");
  refused("{'descr", "a text without an end");
  refused("", "has no '{'");
  Bytes cut = npy(good);
  cut.resize(9);
  CHECK_ERROR(decode_gray(cut, "x"), "truncated npy: only 9 bytes");
  cut = npy(good);
  cut[9] = 0xFF;
  CHECK_ERROR(decode_gray(cut, "x"), "its header claims");
  cut = npy(good);
  cut[6] = 9;
  CHECK_ERROR(decode_gray(cut, "x"), "npy of version 9.0");
  // Infinite and no number at all.
  const std::string real = with("'<f4'", "(1, 2)");
  CHECK_ERROR(decode_gray(npy(real, {0, 0, 0, 0, 0, 0, 0x80, 0x7F}), "x"),
              "the number in row 0, column 1 is inf");
  CHECK_ERROR(decode_gray(npy(real, {0, 0, 0xC0, 0x7F, 0, 0, 0, 0}), "x"),
              "row 0, column 0 is nan");
  ImageFacts facts;
  decode_gray(npy(good, Bytes(101, 1)), "x", {}, &facts);
  CHECK(has_note(facts, "bytes behind the array"));
  // Differences beyond the largest double.
  const Bytes huge = npy(with("'<f8'", "(1, 3)"),
                         {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xEF, 0x7F, 0,    0,    0,    0,
                          0,    0,    0,    0,    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xEF, 0xFF});
  const Image image = decode_gray(huge, "x");
  CHECK(image.pixels[0] == 1);
  CHECK(image.pixels[1] == doctest::Approx(0.5).epsilon(1e-4));
  CHECK(image.pixels[2] == 0);
}
