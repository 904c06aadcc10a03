// DICOM against pydicom (tests/data/golden/make_dicom.py), and files that break a rule.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "data/decode.h"
#include "data/formats/dicom/dicom.h"
#include "data/formats/dicom/header.h"
#include "data/formats/dicom/rle.h"
#include "data/formats/dicom/structure.h"
#include "data/formats/format.h"
#include "data/image_check.h"
#include "data/image_place.h"
#include "data/inspect.h"
#include "engine/io/atomic_file.h"
#include "tests/data/support.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;
using test::error_of;

const fs::path kGolden = test::source_folder() / "tests/data/golden/dicom";

bool without_dcmtk() {
  if (!dicom_reader().empty()) return false;
  MESSAGE("SKIPPED: this build has no DCMTK");
  return true;
}

std::vector<uint8_t> bytes_of(const fs::path& path) {
  const std::vector<std::byte> bytes = read_bytes(path, 1 << 20);
  const auto* first = reinterpret_cast<const uint8_t*>(bytes.data());
  return {first, first + bytes.size()};
}

std::vector<uint8_t> golden(const std::string& name) {
  return bytes_of(kGolden / (name + ".dcm"));
}

// An element of explicit little endian coding.
std::vector<uint8_t> element(int group, int number, const std::string& vr,
                             const std::vector<uint8_t>& value) {
  const auto low = [](size_t v) { return static_cast<uint8_t>(v & 0xFF); };
  std::vector<uint8_t> out = {
      low(static_cast<size_t>(group)),  low(static_cast<size_t>(group) >> 8),
      low(static_cast<size_t>(number)), low(static_cast<size_t>(number) >> 8),
      static_cast<uint8_t>(vr[0]),      static_cast<uint8_t>(vr[1])};
  if (vr == "OB" || vr == "OW" || vr == "SQ") {
    out.insert(out.end(), {0, 0});
    for (int shift = 0; shift < 32; shift += 8) out.push_back(low(value.size() >> shift));
  } else {
    out.insert(out.end(), {low(value.size()), low(value.size() >> 8)});
  }
  out.insert(out.end(), value.begin(), value.end());
  return out;
}

std::vector<uint8_t> text_element(int group, int number, const std::string& vr, std::string text) {
  if (text.size() % 2) text += ' ';
  return element(group, number, vr, {text.begin(), text.end()});
}

// A golden file with one element replaced (same tag, explicit coding) or put at its place.
std::vector<uint8_t> with(std::vector<uint8_t> file, const std::vector<uint8_t>& changed) {
  const auto u16 = [](const std::vector<uint8_t>& b, size_t at) { return b[at] | b[at + 1] << 8; };
  const int64_t tag = int64_t{u16(changed, 0)} << 16 | u16(changed, 2);
  size_t at = 132;
  while (at < file.size()) {
    const std::string vr(file.begin() + static_cast<ptrdiff_t>(at + 4),
                         file.begin() + static_cast<ptrdiff_t>(at + 6));
    const bool wide = vr == "OB" || vr == "OW" || vr == "SQ";
    const size_t length = wide ? u16(file, at + 8) | static_cast<size_t>(u16(file, at + 10)) << 16
                               : static_cast<size_t>(u16(file, at + 6));
    const size_t next = at + (wide ? 12 : 8) + length;
    const int64_t here = int64_t{u16(file, at)} << 16 | u16(file, at + 2);
    if (here >= tag) {
      if (here == tag)
        file.erase(file.begin() + static_cast<ptrdiff_t>(at),
                   file.begin() + static_cast<ptrdiff_t>(next));
      break;
    }
    at = next;
  }
  file.insert(file.begin() + static_cast<ptrdiff_t>(at), changed.begin(), changed.end());
  return file;
}

std::vector<uint8_t> us(int group, int number, int value) {
  return element(group, number, "US",
                 {static_cast<uint8_t>(value & 0xFF), static_cast<uint8_t>(value >> 8)});
}

std::string refused(const std::vector<uint8_t>& bytes) {
  return error_of([&] { decode_gray(bytes, "x.dcm"); });
}

TEST_CASE("DICOM pixels are pydicom's after apply_modality_lut and apply_voi_lut") {
  if (without_dcmtk()) return;
  const auto expected = nlohmann::json::parse(read_file(kGolden / "expected.json", 1 << 20));
  CHECK(expected.size() >= 60);
  for (const auto& [name, by_intensity] : expected.items()) {
    const bool jpeg2000 = name.ends_with("jpeg2000");
    if (jpeg2000 && dicom_reader().find("GDCM") == std::string::npos) {
      MESSAGE("SKIPPED: this build has no GDCM: " << name);
      continue;
    }
    for (const auto& [how, values] : by_intensity.items()) {
      CAPTURE(name);
      CAPTURE(how);
      const bool frame = how.starts_with("#");
      const fs::path path = (kGolden / (name + ".dcm")).string() + (frame ? how : "");
      const Image image =
          load_gray(path, {.intensity = frame ? Intensity::depth : parse_intensity(how)});
      REQUIRE(image.pixels.size() == values.size());
      float worst = 0;
      for (size_t i = 0; i < values.size(); ++i)
        worst = std::max(worst, std::abs(image.pixels[i] - values[i].get<float>()));
      // Exact but for the seven digits of the file; lossy JPEG, of quality 100: two of its levels.
      const bool baseline = name.ends_with("baseline"), extended = name.ends_with("extended");
      CHECK(worst <= (baseline ? 2.f / 255 : extended ? 4.f / 4095 : 1e-6f));
    }
  }
}

TEST_CASE("a DICOM file says by what it was read, and --intensity chooses") {
  if (without_dcmtk()) return;
  const auto notes = [](const std::string& name, Intensity intensity) {
    ImageFacts facts;
    load_gray(kGolden / (name + ".dcm"), {.intensity = intensity}, &facts);
    return fmt::format("{}", fmt::join(reading_notes(facts, intensity), "|"));
  };
  CHECK(notes("window_m2_sigmoid", Intensity::depth) ==
        "read by the first window (SIGMOID) of its header");
  CHECK(notes("window_m2_linear", Intensity::window2) ==
        "read by the second window (LINEAR) of its header");
  CHECK(notes("voi_lut_m1", Intensity::depth) == "read by the first VOI LUT of its header");
  CHECK(notes("window_m2_linear", Intensity::full) ==
        "windows of its header not applied (--intensity full)");
  CHECK(notes("m2_u2_12", Intensity::depth) == "");
  CHECK(notes("undeclared_12", Intensity::depth) == "12-bit values in 16 bits, read as 12-bit");
  CHECK(notes("frames", Intensity::depth).find("the first of 3 frames is read") == 0);
  CHECK(notes("oriented_rf", Intensity::depth) == "turned as PatientOrientation says");
  CHECK(error_of([&] {
          notes("signed_window", Intensity::window2);
        }).find("the file names 1 windows or VOI LUTs; depth reads by the first") !=
        std::string::npos);
}

TEST_CASE("frames are named FILE#N") {
  if (without_dcmtk()) return;
  CHECK(error_of([] {
          load_gray((kGolden / "frames.dcm").string() + "#4");
        }).find("has no frame 4; it has 3") != std::string::npos);
  test::TempFolder folder;
  test::write_bytes(folder / "a.dcm#2", golden("plain8"));
  CHECK(image_place(folder / "a.dcm#2").frame == 0);
  CHECK(image_place("a.dcm#2").frame == 2);
  CHECK(image_place("a.dcm#2").file == "a.dcm");
  CHECK(image_place("a.dcm#0").frame == 0);
  CHECK(image_place("a.dcm#x").frame == 0);
}

TEST_CASE("DICOM files that break a rule are refused by name") {
  if (without_dcmtk()) return;
  const std::vector<uint8_t> good = golden("m2_u2_12");
  REQUIRE(refused(good).empty());
  // Cut anywhere.
  for (const std::string name : {"m2_u2_12", "voi_lut_m2", "plain8_rle", "plain8_jpeg_lossless",
                                 "plain12_deflated", "plain8_jpegls", "plain12_implicit"}) {
    const std::vector<uint8_t> whole = golden(name);
    for (size_t size = 1; size + 2 < whole.size(); size += 13) {
      CAPTURE(name);
      CAPTURE(size);
      const std::string error =
          refused({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)});
      CHECK(error.find("[decode] x.dcm: ") == 0);
    }
  }
  const std::vector<uint8_t> cut(good.begin(), good.end() - 20);
  CHECK(refused(cut).find("truncated DICOM: element (7FE0,0010) needs 192 bytes, 172 are left") !=
        std::string::npos);
  // Sizes that the file does not hold.
  CHECK(refused(with(good, us(0x28, 0x10, 9))).find("truncated DICOM: 192 bytes of pixel data") !=
        std::string::npos);
  CHECK(refused(with(good, us(0x28, 0x10, 7))).find("corrupt DICOM: 192 bytes of pixel data") !=
        std::string::npos);
  CHECK(refused(with(good, us(0x28, 0x10, 65535))).find("limit") != std::string::npos);
  CHECK(refused(with(good, us(0x28, 0x10, 0))).find("0 pixels") != std::string::npos);
  CHECK(refused(with(good, text_element(0x28, 8, "IS", "2000000000"))).find("truncated DICOM") !=
        std::string::npos);
  CHECK(refused(with(good, text_element(0x28, 8, "IS", "x"))).find("(0028,0008) is no number") !=
        std::string::npos);
  // What is not read.
  CHECK(refused(with(good, us(0x28, 0x100, 32))).find("pixels of 32 bits are not read") !=
        std::string::npos);
  CHECK(refused(with(good, us(0x28, 0x101, 17))).find("17 bits stored") != std::string::npos);
  CHECK(refused(with(good, text_element(0x28, 4, "CS", "HSV"))).find("'HSV' is not read") !=
        std::string::npos);
  CHECK(refused(with(good, text_element(0x28, 0x1053, "DS", "0"))).find("RescaleSlope is 0") !=
        std::string::npos);
  CHECK(refused(with(golden("window_m2_linear"), text_element(0x28, 0x1056, "CS", "WAVE")))
            .find("'WAVE' is none of LINEAR") != std::string::npos);
  // A compressed frame of another size than the header says.
  CHECK(refused(with(golden("plain8_jpeg_lossless"), us(0x28, 0x10, 9)))
            .find("DICOM header says 12x9") != std::string::npos);
  CHECK(refused(with(golden("plain8_jpegls"), us(0x28, 0x11, 11))).find("DICOM header says 11x8") !=
        std::string::npos);
  // No pixel data.
  std::vector<uint8_t> none(good.begin(), good.end() - 192 - 12);
  CHECK(refused(none).find("without pixel data") != std::string::npos);
  // Sequences in sequences.
  std::vector<uint8_t> nested = text_element(8, 0x60, "CS", "CR");
  for (int depth = 0; depth < 100; ++depth) {
    std::vector<uint8_t> item = {0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0};
    for (int i = 0; i < 4; ++i)
      item[static_cast<size_t>(4 + i)] = static_cast<uint8_t>(nested.size() >> (8 * i));
    item.insert(item.end(), nested.begin(), nested.end());
    nested = element(0x40, 0x275, "SQ", item);
  }
  CHECK(refused(with(good, nested)).find("nested more than 32 deep") != std::string::npos);
}

TEST_CASE("RLE: runs, literals, segments; a segment that promises more than it has is refused") {
  const auto frame = [](std::vector<std::vector<uint8_t>> segments) {
    std::vector<uint8_t> out(64);
    out[0] = static_cast<uint8_t>(segments.size());
    for (size_t i = 0; i < segments.size(); ++i) {
      out[4 + 4 * i] = static_cast<uint8_t>(out.size());
      out.insert(out.end(), segments[i].begin(), segments[i].end());
    }
    return out;
  };
  using Bytes = std::vector<uint8_t>;
  CHECK(dicom::decode_rle(frame({{2, 1, 2, 3, 0xFE, 9, 0x80, 0, 7}}), 1, 7, "x") ==
        Bytes{1, 2, 3, 9, 9, 9, 7});
  CHECK(dicom::decode_rle(frame({{0xFF, 5}, {1, 6, 7, 0}}), 2, 2, "x") == Bytes{5, 5, 6, 7});
  const auto error = [&](const Bytes& bytes, int planes, size_t pixels) {
    return error_of([&] { dicom::decode_rle(bytes, planes, pixels, "x"); });
  };
  CHECK(test::contains(error(frame({{5, 1, 2}}), 1, 6), "truncated RLE: segment 1 ends after 0"));
  CHECK(test::contains(error(frame({{0xFE}}), 1, 3), "truncated RLE"));
  CHECK(test::contains(error(frame({{0xFE, 1}}), 1, 4), "ends after 3 of 4 bytes"));
  CHECK(test::contains(error(frame({{0xFE, 1}}), 1, 2), "makes more than 2 bytes"));
  CHECK(test::contains(error(frame({{0xFE, 1}}), 2, 3), "1 segments, the header's pixels have 2"));
  Bytes outside = frame({{0xFE, 1}});
  outside[5] = 1;
  CHECK(test::contains(error(outside, 1, 3), "is said to be bytes"));
  outside[4] = outside[5] = 0;
  CHECK(test::contains(error(outside, 1, 3), "is said to be bytes 0"));
  CHECK(test::contains(error(Bytes(63), 1, 3), "a frame of 63 bytes"));
}

TEST_CASE("what a DICOM header says is warned about") {
  if (without_dcmtk()) return;
  test::TempFolder folder;
  std::vector<uint8_t> file = golden("m2_u1_8");
  const auto warnings = [&] {
    test::write_bytes(folder / "x.dcm", file);
    return fmt::format("{}", fmt::join(read_dicom_header(folder / "x.dcm").warnings(), "|"));
  };
  CHECK(warnings() == "");
  file = with(file, text_element(0x18, 0x15, "CS", "CHEST"));
  CHECK(warnings() == "");
  file = with(file, text_element(0x18, 0x15, "CS", "FOOT"));
  CHECK(warnings() == "WARNING: body part FOOT, not the chest");
  file = with(golden("m2_u1_8"), text_element(8, 0x60, "CS", "MG"));
  CHECK(warnings().find("WARNING: modality MG, not radiography") == 0);
  file = with(golden("m2_u1_8"), text_element(0x28, 0x301, "CS", "YES"));
  CHECK(warnings().find("WARNING: BurnedInAnnotation is YES") == 0);
  file = with(golden("m2_u1_8"), text_element(0x8, 0x68, "CS", "FOR PROCESSING"));
  CHECK(warnings().find("WARNING: FOR PROCESSING") == 0);
  // Said with the pixels, too, with a count.
  ImageFacts facts;
  load_gray(folder / "x.dcm", {}, &facts);
  CHECK(reading_notes(facts, Intensity::depth).front().starts_with("WARNING: FOR PROCESSING"));
}

TEST_CASE(
    "dicom:DIR groups by patient, takes classes from a table or folders, and counts the rest") {
  if (without_dcmtk()) return;
  test::TempFolder folder;
  const auto put = [&](const std::string& place, const std::string& patient, const std::string& uid,
                       const std::string& view = "PA", const std::string& from = "m2_u2_12") {
    std::vector<uint8_t> file = with(golden(from), text_element(8, 0x18, "UI", uid));
    file = with(file, text_element(0x10, 0x20, "LO", patient));
    file = with(file, text_element(0x18, 0x5101, "CS", view));
    file = with(file, text_element(0x10, 0x1010, "AS", "061Y"));
    fs::create_directories((folder / place).parent_path());
    test::write_bytes(folder / place, file);
  };
  put("a/1", "P1", "1.2.1");  // without an ending
  put("a/2.dcm", "P1", "1.2.2");
  put("b/3.dcm", "P2", "1.2.3");
  put("b/side.dcm", "P2", "1.2.4", "LL");
  put("b/copy.dcm", "P2", "1.2.3");
  put("b/frames.dcm", "P3", "1.2.5", "PA", "frames");
  test::write_text(folder / "b/broken.dcm", std::string(128, '\0') + "DICM");
  test::write_text(folder / "DICOMDIR", std::string(128, '\0') + "DICM");
  const std::string root = folder.path().string();

  const Dataset plain = load_datasets({"dicom:" + root});
  REQUIRE(plain.samples.size() == 4);
  CHECK(plain.samples[0].patient == plain.samples[1].patient);
  CHECK(plain.samples[0].patient != plain.samples[2].patient);
  CHECK(plain.samples[0].patient.find("P1") == std::string::npos);
  CHECK(plain.samples[0].view == "PA");
  CHECK(plain.samples[0].age == 61);
  const std::string notes = fmt::format("{}", fmt::join(plain.report.notes, "|"));
  CHECK(notes.find("DICOMDIR: an index of DICOM files, no image") != std::string::npos);
  const auto removed = [](const Dataset& data, const std::string& rule) {
    int64_t count = 0;
    for (const FilterRule& r : data.report.rules)
      if (r.name.starts_with(rule)) count += r.removed;
    return count;
  };
  CHECK(removed(plain, "readable DICOM header") == 1);
  CHECK(removed(plain, "SOP instance named once") + removed(plain, "frontal view") == 2);

  const Dataset folders = load_datasets({"dicom:" + root + ",folders=classes,positive=b,view=all"});
  CHECK(class_counts(folders) == std::map<std::string, int64_t>{{"a", 2}, {"b", 3}});
  CHECK(load_datasets({"dicom:" + root + ",frames=all"}).samples.size() == 6);
  const Dataset second = load_datasets({"dicom:" + root + ",frames=2"});
  REQUIRE(second.samples.size() == 1);
  CHECK(second.samples[0].image.filename() == "frames.dcm#2");
  CHECK(load_gray(second.samples[0].image).at(0, 0) == doctest::Approx(1000 / 4095.));

  // By every key; a manifest of it reads to the same.
  test::write_text(folder / "p.csv", "PatientID,label\nP1,normal\nP2,pneumonia\nP9,normal\n");
  const Dataset labelled =
      load_datasets({"dicom:" + root + ",table=" + (folder / "p.csv").string()});
  CHECK(class_counts(labelled) == std::map<std::string, int64_t>{{"normal", 2}, {"pneumonia", 1}});
  CHECK(removed(labelled, "has a label in") == 1);
  CHECK(fmt::format("{}", fmt::join(labelled.report.notes, "|")).find("1 rows of") !=
        std::string::npos);
  write_manifest(second, folder / "m.csv");
  CHECK(load_datasets({"manifest:" + (folder / "m.csv").string()}).samples[0].image ==
        second.samples[0].image);
  test::write_text(folder / "f.csv", "file,label\na/1,normal\nb/3.dcm,pneumonia\n");
  CHECK(load_datasets({"dicom:" + root + ",table=" + (folder / "f.csv").string()}).samples.size() ==
        2);
  test::write_text(folder / "s.csv", "SOPInstanceUID,label\n1.2.2,normal\n1.2.3,pneumonia\n");
  CHECK(load_datasets({"dicom:" + root + ",table=" + (folder / "s.csv").string()}).samples.size() ==
        2);
  const auto error = [&](const std::string& table, const std::string& text) {
    test::write_text(folder / table, text);
    return error_of(
        [&] { load_datasets({"dicom:" + root + ",table=" + (folder / table).string()}); });
  };
  CHECK(error("e.csv", "name,label\nx,y\n").find("no column says of what the label is") !=
        std::string::npos);
  const std::string twice = error("e.csv", "PatientID,label\nP1,normal\nP1,ill\n");
  CHECK(twice.find("one PatientID with two labels") != std::string::npos);
  CHECK(twice.find("P1") == std::string::npos);
  CHECK(error_of([&] {
          load_datasets({"dicom:" + root + ",frames=0"});
        }).find("frames=0: must be first, all") != std::string::npos);
}

TEST_CASE(
    "dicom: a patient's id with NUL padding is the same id; a file name alone names one file") {
  if (without_dcmtk()) return;
  test::TempFolder folder;
  const auto put = [&](const std::string& place, const std::string& patient,
                       const std::string& uid) {
    std::vector<uint8_t> file = with(golden("m2_u2_12"), text_element(8, 0x18, "UI", uid));
    file = with(file, text_element(0x10, 0x20, "LO", patient));
    fs::create_directories((folder / place).parent_path());
    test::write_bytes(folder / place, file);
  };
  put("a/IM1.dcm", "P1", "1.2.1");
  put("b/IM1.dcm", std::string("P1\0\0", 4), "1.2.2");
  put("c/IM2.dcm", "P1 ", "1.2.3");
  const std::string spec = "dicom:" + folder.path().string();
  const Dataset data = load_datasets({spec});
  REQUIRE(data.samples.size() == 3);
  for (const Sample& s : data.samples) CHECK(s.patient == data.samples[0].patient);

  test::write_text(folder / "t.csv", "file,label\nIM1.dcm,ill\nIM2.dcm,normal\n");
  const std::string error =
      error_of([&] { load_datasets({spec + ",table=" + (folder / "t.csv").string()}); });
  CHECK(error.find("t.csv:2: IM1.dcm of column file is more than one file") != std::string::npos);
  test::write_text(folder / "t.csv", "file,label\na/IM1.dcm,ill\nb/IM1.dcm,ill\nIM2.dcm,normal\n");
  CHECK(load_datasets({spec + ",table=" + (folder / "t.csv").string()}).samples.size() == 3);
  // A path for one of them, the name for the other that is left.
  test::write_text(folder / "t.csv", "file,label\na/IM1.dcm,ill\nIM1.dcm,normal\n");
  CHECK(load_datasets({spec + ",table=" + (folder / "t.csv").string()}).samples.size() == 2);
}

TEST_CASE("a build without DCMTK refuses DICOM with the remedy") {
  if (!dicom_reader().empty()) return;
  CHECK(refused(golden("plain8")).find("install libdcmtk-dev") != std::string::npos);
}

}  // namespace
}  // namespace thorax
