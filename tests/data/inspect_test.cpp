#include "data/inspect.h"

#include "data/encode.h"
#include "data/formats/nifti.h"
#include "data/loader.h"
#include "tests/data/image_files.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;

namespace {

// A manifest of `n` images of 20 x 24 with masks of these values inside.
struct Folder {
  TempFolder tmp;
  std::string manifest = "path,label,mask,mask_values,source\n";
  int count = 0;

  static ImageU8 image(int seed) {
    ImageU8 out(20, 24);
    for (size_t i = 0; i < out.pixels.size(); ++i)
      out.pixels[i] = static_cast<uint8_t>(i * 7 + static_cast<size_t>(seed));
    return out;
  }
  static ImageU8 mask(int inside, int outside = 0, int height = 20) {
    ImageU8 out(height, 24, 1, static_cast<uint8_t>(outside));
    for (int y = 5; y < 15; ++y)
      for (int x = 6; x < 12; ++x) out.at(y, x) = static_cast<uint8_t>(inside);
    return out;
  }
  void add(const Bytes& image_bytes, const ImageU8& mask_image, const std::string& values = "",
           const std::string& source = "a") {
    const std::string name = "i" + std::to_string(count) + ".png",
                      mask_name = "m" + std::to_string(count) + ".png";
    write_bytes(tmp / name, image_bytes);
    write_bytes(tmp / mask_name, encode_png(mask_image));
    manifest += name + "," + (count % 2 ? "b" : "normal") + "," + mask_name + "," + values + "," +
                source + "\n";
    ++count;
  }
  void add(const ImageU8& mask_image, const std::string& values = "",
           const std::string& source = "a") {
    add(encode_png(image(count)), mask_image, values, source);
  }
  Dataset load(const std::string& options = "") {
    write_text(tmp / "m.csv", manifest);
    return load_datasets({"manifest:" + (tmp / "m.csv").string() + options});
  }
};

std::string all_lines(const Inspection& seen) {
  std::string text;
  for (const std::string& line : inspection_lines(seen)) text += line + "\n";
  return text;
}

}  // namespace

TEST_CASE(
    "inspect: one rule for each source's masks, in the loader too; empty and full are named") {
  Folder f;
  f.add(Folder::mask(1));
  f.add(Folder::mask(1, 1));
  f.add(Folder::mask(0));
  f.add(Folder::mask(255), "", "b");
  Dataset d = f.load();
  const Inspection seen = inspect_dataset(d);
  CHECK(seen.problems().empty());
  REQUIRE(seen.masks.size() == 2);
  CHECK(seen.masks[0].rule == "3 files with values 0, 1: inside is all but 0");
  CHECK(seen.masks[1].rule == "1 files with values 0, 255: inside is all but 0");
  REQUIRE(seen.masks[0].empty.size() == 1);
  CHECK(contains(seen.masks[0].empty[0], "i2.png"));
  REQUIRE(seen.masks[0].full.size() == 1);
  CHECK(contains(seen.masks[0].full[0], "i1.png"));
  const std::string text = all_lines(seen);
  for (const char* part : {"masks of a: 3 files", "WARNING: empty mask: 1 image (i2.png)",
                           "WARNING: mask without an outside: 1 image (i1.png)"})
    CHECK_MESSAGE(contains(text, part), part << " in:\n" << text);
  for (const auto& [sample, area] : {std::pair{0, 60}, {1, 480}, {2, 0}, {3, 60}})
    CHECK(mask_area(sample_mask(d.samples[static_cast<size_t>(sample)], 20, 24)) == area);
  require_varied_masks(seen);
  // The same for any number of threads.
  Dataset again = f.load();
  CHECK(all_lines(inspect_dataset(again, {.threads = 5})) == text);
}

TEST_CASE("inspect: a single inverted mask among good ones is named") {
  Folder f;
  for (int i = 0; i < 3; ++i) f.add(Folder::mask(255));
  f.add(Folder::mask(0, 255));
  Dataset d = f.load();
  const Inspection seen = inspect_dataset(d);
  REQUIRE(seen.masks.size() == 1);
  REQUIRE(seen.masks[0].reversed.size() == 1);
  CHECK(contains(all_lines(seen),
                 "perhaps an inverted mask (all four corners are inside); mend or "
                 "exclude it: 1 image (i3.png)"));
}

TEST_CASE("inspect: masks in doubt stop training, unless their rule is named") {
  Folder f;
  f.add(Folder::mask(1));
  f.add(Folder::mask(255));
  Dataset d = f.load();
  const Inspection seen = inspect_dataset(d);
  REQUIRE(seen.masks.size() == 1);
  CHECK(contains(seen.masks[0].doubt, "m0.png: 12.5 % of its pixels have the value 1"));
  CHECK(contains(all_lines(seen), "WARNING: [mask]"));
  CHECK_ERROR(remove_unusable(d, seen, false), "m0.png: 12.5 % of its pixels");
  Dataset named = f.load(",mask_values=nonzero");
  const Inspection good = inspect_dataset(named);
  CHECK(good.masks[0].doubt.empty());
  CHECK(mask_area(sample_mask(named.samples[0], 20, 24)) == 60);
  // By the manifest's column, for each row; what write_manifest writes is read back.
  Folder by_row;
  by_row.add(Folder::mask(1), "1");
  by_row.add(Folder::mask(200, 90), "half:200");
  Dataset rows = by_row.load();
  CHECK(inspect_dataset(rows).problems().empty());
  write_manifest(rows, by_row.tmp / "again.csv");
  const Dataset again = load_datasets({"manifest:" + (by_row.tmp / "again.csv").string()});
  for (size_t i = 0; i < 2; ++i) {
    CHECK(again.samples[i].mask_rule == rows.samples[i].mask_rule);
    CHECK(mask_area(sample_mask(again.samples[i], 20, 24)) == 60);
  }
  write_text(by_row.tmp / "bad.csv", "path,label,mask,mask_values\ni0.png,a,m0.png,sometimes\n");
  CHECK_ERROR(load_datasets({"manifest:" + (by_row.tmp / "bad.csv").string()}),
              "bad.csv:2: [mask] mask_values=sometimes: must be");
}

TEST_CASE("inspect: nothing to learn from masks that are all empty or all full") {
  for (const int value : {0, 255}) {
    Folder f;
    f.add(Folder::mask(value, value));
    f.add(Folder::mask(value, value));
    Dataset d = f.load();
    const Inspection seen = inspect_dataset(d);
    CHECK_ERROR(require_varied_masks(seen),
                value ? "of 2 masks 0 are empty and 2 full" : "of 2 masks 2 are empty and 0 full");
  }
}

TEST_CASE("inspect: files that cannot be used are found before anything is computed") {
  Folder f;
  f.add(Folder::mask(255));
  f.add(Folder::mask(255, 0, 19));
  f.add({'n', 'o'}, Folder::mask(255));
  f.add(encode_png(ImageU8(20, 24, 1, 77)), Folder::mask(255));
  f.add(with_exif(encode_jpeg(Folder::image(9)), 6), Folder::mask(255));
  f.add(Folder::mask(255));
  Dataset d = f.load();
  write_text(d.samples[5].masks[0], "not an image");
  const Inspection seen = inspect_dataset(d);
  const std::vector<std::string> problems = seen.problems();
  REQUIRE(problems.size() == 4);
  CHECK(contains(problems[0], "m1.png: mask is 24x19, its image"));
  CHECK(contains(problems[1], "i2.png: no image of a format that is read"));
  CHECK(contains(problems[2], "i4.png is 20x24 after its EXIF orientation"));
  CHECK(contains(problems[3], "m5.png: no image of a format that is read"));
  REQUIRE(seen.blanks().size() == 1);
  CHECK(contains(seen.blanks()[0], "i3.png: shows nothing"));
  Dataset strict = d;
  CHECK_ERROR(remove_unusable(strict, seen, true), "m1.png: mask is 24x19");
  remove_unusable(d, seen, false);
  REQUIRE(d.samples.size() == 1);
  const std::vector<FilterRule>& rules = d.report.rules;
  CHECK(rules[rules.size() - 2].name == "readable file");
  CHECK(rules[rules.size() - 2].removed == 4);
  CHECK(rules.back().name == "image shows something");
  CHECK(rules.back().removed == 1);
  CHECK(contains(rules.back().files[0], "i3.png"));
  // Without masks only the images count.
  Dataset images = f.load();
  CHECK(inspect_dataset(images, {.masks = false}).problems().size() == 1);
}

TEST_CASE("inspect: what was done to files is said once") {
  Folder f;
  std::vector<uint16_t> twelve(480);
  for (size_t i = 0; i < twelve.size(); ++i) twelve[i] = static_cast<uint16_t>(8 * i);
  const Bytes deep = png_file<uint16_t>(24, 20, 0, 1, twelve);
  f.add(deep, Folder::mask(255));
  f.add(deep, Folder::mask(255));
  f.add(with_exif(encode_jpeg(Folder::image(1)), 3), Folder::mask(255));
  Dataset d = f.load();
  const std::string text = all_lines(inspect_dataset(d));
  CHECK(contains(text, "12-bit values in 16 bits, read as 12-bit: 2 images (i0.png, i1.png)"));
  CHECK(contains(text, "turned as EXIF orientation 3 says: 1 image (i2.png)"));
  CHECK(contains(all_lines(inspect_dataset(d, {.intensity = Intensity::full})),
                 "over the full range"));
}

TEST_CASE("inspect: a NIfTI mask with its axes exchanged gets the remedy, an affine a note") {
  TempFolder tmp;
  make_image(tmp / "d/images/a.png", 100, 8, 10);
  make_image(tmp / "d/images/b.png", 100, 13, 17);
  std::filesystem::create_directories(tmp / "d/masks");
  write_bytes(tmp / "d/masks/a.nii.gz", encode_nifti(ImageU8(10, 8)));
  std::filesystem::copy_file(source_folder() / "tests/data/golden/formats/turned.nii.gz",
                             tmp / "d/masks/b.nii.gz");
  Dataset d = load_datasets({"folder:" + (tmp / "d").string()});
  REQUIRE(d.samples.size() == 2);
  const Inspection seen = inspect_dataset(d);
  CHECK(contains(seen.problem[0], "a.nii.gz: mask is 8x10, its image"));
  CHECK(contains(seen.problem[0], "its rows and columns are exchanged: transpose it"));
  bool noted = false;
  for (const std::string& note : seen.notes)
    noted = noted || contains(note, "mask: read as stored, first axis left to right");
  CHECK(noted);
}
