// What lies in folders beside images: counted, never passed over in silence.
#include "data/folder_files.h"

#include <cctype>

#include "data/dataset.h"
#include "data/decode.h"
#include "data/encode.h"
#include "data/formats/format.h"
#include "data/readers/readers.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

int64_t removed(const Dataset& d, const std::string& rule) {
  for (const FilterRule& r : d.report.rules)
    if (r.name == rule) return r.removed;
  return -1;
}

bool noted(const Dataset& d, const std::string& part) {
  for (const std::string& note : d.report.notes)
    if (contains(note, part)) return true;
  return false;
}

}  // namespace

TEST_CASE("files of kinds that are not read are named and counted") {
  TempFolder tmp;
  make_image(tmp / "d/covid/x.png");
  make_image(tmp / "d/normal/y.png");
  for (const char* name : {"c.bmp", "C.BMP", "d.gif", "e.webp", "v.nrrd"})
    write_text(tmp / "d/covid" / name, "...");
  write_bytes(tmp / "d/normal/photo", encode_png(ImageU8(2, 2)));
  write_text(tmp / "d/normal/notes.txt", "no image");
  const std::string spec = "folder:" + (tmp / "d").string();
  const Dataset d = load_datasets({spec});
  CHECK(d.samples.size() == 2);
  CHECK(removed(d, "image of a kind that is read, not BMP") == 2);
  for (const char* kind : {"GIF", "WebP", "NRRD", "PNG under another ending"})
    CHECK(removed(d, std::string("image of a kind that is read, not ") + kind) == 1);
  CHECK(d.report.sources[0].rows == 8);
  CHECK(noted(d, "no images: 1 .txt"));

  make_image(tmp / "s/CXR_png/S_0001_0.png");
  write_text(tmp / "s/CXR_png/S_0002_1.bmp", "...");
  CHECK(removed(load_datasets({"shenzhen:" + (tmp / "s").string() + ",mask=none"}),
                "image of a kind that is read, not BMP") == 1);
  // Alone they are the reason why nothing is left.
  write_text(tmp / "t/covid/a.bmp", "...");
  write_text(tmp / "t/normal/b.bmp", "...");
  CHECK_ERROR(load_datasets({"folder:" + (tmp / "t").string()}),
              "no image is left after the rules of folder:" + (tmp / "t").string() +
                  ": 2 read; removed: 2 by 'image of a kind that is read, not BMP'");
}

TEST_CASE("every format of the table: found by its endings where the build reads it, else named") {
  for (const ImageFormat& format : image_formats()) {
    CAPTURE(format.name);
    TempFolder tmp;
    for (const std::string& ending : format.endings) {
      write_text(tmp / "d" / ("a" + ending), "...");
      std::string upper = ending;
      for (char& c : upper) c = static_cast<char>(std::toupper(c));
      write_text(tmp / "d" / ("B" + upper), "...");
      CHECK(format_ending("x/A" + upper) == ending);
      CHECK(image_stem("x/a.b" + upper) == "a.b");
    }
    const FolderFiles files = files_in(tmp / "d", Depth::one);
    const size_t all = 2 * format.endings.size();
    CHECK(files.images.size() == (format.available() ? all : 0));
    if (format.available()) continue;
    REQUIRE(files.unread.size() == 1);
    CHECK(unread_counts(files) ==
          fmt::format("{} {} (a build with {} reads it)", all, format.name, format.package));
  }
  CHECK(format_ending("notes.txt").empty());
  CHECK(format_ending(".png").empty());
  CHECK(image_stem("a.b.txt") == "a.b");
}

TEST_CASE("a DICOM file without an ending is found by its first bytes") {
  TempFolder tmp;
  write_text(tmp / "d/IM0001", std::string(128, '\0') + "DICM");
  const FolderFiles files = files_in(tmp / "d", Depth::one);
  CHECK(files.images.size() + files.unread.size() == 1);
  CHECK(files.others.empty());
}

TEST_CASE("a format that the build lacks is refused with the package that brings it") {
  for (const ImageFormat& format : image_formats()) {
    if (format.available()) continue;
    CAPTURE(format.name);
    std::vector<uint8_t> bytes(600, 0);
    if (format.id == "dicom") std::copy_n("DICM", 4, bytes.begin() + 128);
    if (format.id == "tiff") std::copy_n("II*\0", 4, bytes.begin());
    CHECK_ERROR(decode_image(bytes, "x"), fmt::format("x: is a {} file, which this build does not "
                                                      "read; install {}",
                                                      format.name, format.package));
  }
}

TEST_CASE("what operating systems leave behind is neither an image nor a class") {
  TempFolder tmp;
  make_image(tmp / "d/covid/x.png");
  make_image(tmp / "d/normal/y.png");
  write_text(tmp / "d/covid/._x.png", "resource fork");
  make_image(tmp / "d/__MACOSX/covid/._x.png");
  make_image(tmp / "d/covid/.ipynb_checkpoints/x-checkpoint.png");
  write_text(tmp / "d/.DS_Store", "");
  write_text(tmp / "d/normal/Thumbs.db", "");
  const Dataset d = load_datasets({"folder:" + (tmp / "d").string()});
  CHECK(d.samples.size() == 2);
  CHECK(d.classes.size() == 2);
  CHECK(noted(d, "left out, 5 hidden or made by an operating system"));
}

TEST_CASE("images/ and masks/ below a class folder: masks are masks") {
  TempFolder tmp;
  make_image(tmp / "d/COVID/images/a.png");
  make_image(tmp / "d/COVID/images/b.png");
  make_image(tmp / "d/COVID/masks/a.png", 255);
  make_image(tmp / "d/Normal/images/a.png");
  make_image(tmp / "d/Normal/masks/a_mask.png", 255);
  make_image(tmp / "d/Normal/masks/gone.png", 255);
  Dataset d = load_datasets({"folder:" + (tmp / "d").string()});
  REQUIRE(d.samples.size() == 3);
  CHECK(d.classes == std::vector<std::string>{"non-COVID", "COVID-19"});
  CHECK(d.samples[0].masks == std::vector<fs::path>{tmp / "d/COVID/masks/a.png"});
  CHECK(d.samples[1].masks.empty());
  CHECK(d.samples[2].masks == std::vector<fs::path>{tmp / "d/Normal/masks/a_mask.png"});
  CHECK(noted(d, "3 files are taken for lung masks"));
  CHECK(noted(d, "2 of them belong to an image"));
  CHECK(readers::radiographs_of(tmp / "d", files_in(tmp / "d", Depth::all).images) ==
        std::vector<fs::path>{tmp / "d/COVID/images/a.png", tmp / "d/COVID/images/b.png",
                              tmp / "d/Normal/images/a.png"});
  // The same without classes, with the two the other way about, and with the mask beside the image.
  make_image(tmp / "e/images/a.png");
  make_image(tmp / "e/masks/a.png", 255);
  d = load_datasets({"folder:" + (tmp / "e").string()});
  REQUIRE(d.samples.size() == 1);
  CHECK(d.samples[0].class_name.empty());
  CHECK(d.samples[0].masks.size() == 1);
  make_image(tmp / "f/images/sick/a.png");
  make_image(tmp / "f/masks/sick/a.png", 255);
  make_image(tmp / "f/images/well/a.png");
  d = load_datasets({"folder:" + (tmp / "f").string()});
  REQUIRE(d.samples.size() == 2);
  CHECK(d.classes == std::vector<std::string>{"well", "sick"});
  CHECK(d.samples[0].masks.size() == 1);
  CHECK(d.samples[1].masks.empty());
  make_image(tmp / "g/sick/a.png");
  make_image(tmp / "g/sick/a_mask.png", 255);
  make_image(tmp / "g/sick/alone_mask.png");
  d = load_datasets({"folder:" + (tmp / "g").string()});
  REQUIRE(d.samples.size() == 2);
  CHECK(d.samples[0].masks.size() == 1);
}

TEST_CASE("images beside class folders, empty class folders, parts of a set: said") {
  TempFolder tmp;
  make_image(tmp / "d/covid/x.png");
  make_image(tmp / "d/loose.png");
  fs::create_directories(tmp / "d/normal");
  const Dataset d = load_datasets({"folder:" + (tmp / "d").string()});
  CHECK(d.samples.size() == 1);
  CHECK(removed(d, "image in a class folder") == 1);
  CHECK(noted(d, "so no class 'normal'"));
  make_image(tmp / "k/train/covid/x.png");
  make_image(tmp / "k/test/covid/y.png");
  const std::string k = (tmp / "k").string();
  CHECK_ERROR(load_datasets({"folder:" + k}), "test, train: parts of a set, not classes");
  CHECK_ERROR(load_datasets({"folder:" + k}),
              "--data folder:" + k + "/test --data folder:" + k + "/train");
}

TEST_CASE("a class folder of a blank name is an error") {
  TempFolder tmp;
  make_image(tmp / "d/covid/x.png");
  make_image(tmp / "d/ /y.png");
  CHECK_ERROR(load_datasets({"folder:" + (tmp / "d").string()}),
              "y.png: the name of its class folder ' ' is blank; rename the folder");
}

TEST_CASE("symbolic links to folders are followed, once, and circles end") {
  TempFolder tmp;
  make_image(tmp / "elsewhere/x.png");
  make_image(tmp / "d/normal/y.png");
  fs::create_directory_symlink(tmp / "elsewhere", tmp / "d/covid");
  fs::create_directories(tmp / "d/normal/deep");
  fs::create_directory_symlink(tmp / "d/normal", tmp / "d/normal/deep/circle");
  fs::create_symlink(tmp / "nowhere", tmp / "d/normal/broken.png");
  const Dataset d = load_datasets({"folder:" + (tmp / "d").string()});
  CHECK(d.samples.size() == 2);
  CHECK(d.classes == std::vector<std::string>{"non-COVID", "COVID-19"});
  CHECK(noted(d, "circle: a link to a folder that was read already; left out"));
  CHECK(noted(d, "broken.png: a link that leads nowhere; left out"));
  // Below a class folder, too.
  fs::create_directories(tmp / "e/covid");
  fs::create_directory_symlink(tmp / "elsewhere", tmp / "e/covid/more");
  CHECK(load_datasets({"folder:" + (tmp / "e").string()}).samples.size() == 1);
}

TEST_CASE("two folders with the same names in them are images of different patients") {
  TempFolder tmp;
  make_image(tmp / "a/1.png", 1);
  make_image(tmp / "b/1.png", 2);
  const Dataset d = load_datasets({"folder:" + (tmp / "a").string() + ",class=sick",
                                   "folder:" + (tmp / "b").string() + ",class=well"},
                                  OnPatientConflict::error);
  REQUIRE(d.samples.size() == 2);
  CHECK(d.samples[0].patient == "folder/file 1.png");
  CHECK(d.samples[1].patient == "folder/file b/1.png");
}
