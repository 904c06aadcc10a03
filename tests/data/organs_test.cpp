// Several organs in one segmentation: label maps and masks of their own, and what is refused.
#include "data/organs.h"

#include <doctest/doctest.h>

#include <set>

#include "data/augment.h"
#include "data/csv.h"
#include "data/describe.h"
#include "data/encode.h"
#include "data/inspect.h"
#include "data/loader.h"
#include "data/phantom.h"
#include "engine/tensor/error.h"
#include "tests/data/support.h"

using namespace thorax;
namespace fs = std::filesystem;

namespace {

struct TemporaryFolder : test::TempFolder {
  std::string operator/(const std::string& name) const { return (path() / name).string(); }
};

ImageU8 gray_picture(int side = 8) {
  ImageU8 image(side, side);
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<std::uint8_t>(i * 3 % 251);
  return image;
}

// 0 but for rows from `first` on, which have `value`.
ImageU8 rows_of(int value, int first, int side = 8) {
  ImageU8 mask(side, side);
  for (int y = first; y < side; ++y)
    for (int x = 1; x + 1 < side; ++x) mask.at(y, x) = static_cast<std::uint8_t>(value);
  return mask;
}

struct Folder {
  TemporaryFolder t;
  std::string table = "path,label,mask\n";
  // An image with one label map; `masks` are laid over one another.
  void add(const std::string& name, const ImageU8& mask) {
    save_image(t / (name + ".png"), gray_picture(mask.height));
    save_image(t / (name + "_labels.png"), mask);
    table += name + ".png,," + name + "_labels.png\n";
  }
  std::string spec(const std::string& options) {
    test::write_text(t / "m.csv", table);
    return "manifest:" + (t / "m.csv") + options;
  }
};

ImageU8 labels_1_2_3() {
  ImageU8 map(8, 8);
  for (int x = 1; x < 7; ++x) {
    map.at(2, x) = x < 4 ? 1 : 2;
    map.at(5, x) = 3;
  }
  return map;
}

}  // namespace

TEST_CASE("organs=: what it says, and what it refuses") {
  const OrganMasks map = parse_organs("lungs:1+2, heart:3,background:9");
  CHECK(map.label_map);
  REQUIRE(map.organs.size() == 2);
  CHECK(map.organs[0].values == std::vector<int>{1, 2});
  CHECK(map.outside == std::vector<int>{9});
  CHECK(to_string(map) == "lungs:1+2,heart:3,background:9");
  CHECK(to_string(parse_organs("heart,lungs")) == "heart,lungs");
  CHECK(to_string(parse_organs("auto")) == "auto");
  for (const auto& [text, part] : {std::pair{"lungs:1,heart:1", "value 1 is given twice"},
                                   {"lungs:1,lungs:2", "'lungs' and 'lungs' are one organ"},
                                   {"lungs:1,Lungs:2", "'lungs' and 'Lungs' are one organ"},
                                   {"lungs:0,heart:1+2", "'lungs' is given the value 0"},
                                   {"lungs:1+0,heart:2", "'lungs' is given the value 0"},
                                   {"lungs:1,heart", "either every organ has its values"},
                                   {"lungs:", "without a value"},
                                   {"lungs:x", "'x' is no value of a label map"},
                                   {"lungs:70000", "0 to 65535"},
                                   {":1", "an organ without a name"},
                                   {"a/b:1", "a/b"},
                                   {"background:1", "names no organ"},
                                   {"background", "the background is no organ"}})
    CHECK_THROWS_WITH_AS(parse_organs(text), doctest::Contains(part), Error);
}

TEST_CASE("a label map: organs by value, counted, and values without a name refused") {
  Folder f;
  f.add("a", labels_1_2_3());
  f.add("b", rows_of(1, 4));
  Dataset data = load_datasets({f.spec(",organs=lungs:1+2,heart:3")});
  CHECK(organ_names(data) == std::vector<std::string>{"lungs", "heart"});
  CHECK(organs_are_labels(data));
  const OrganMap map = sample_organs(data.samples[0], {"lungs", "heart"}, 8, 8);
  CHECK(mask_area(organ_plane(map, 0)) == 6);
  CHECK(mask_area(organ_plane(map, 1)) == 6);
  CHECK(mask_area(sample_mask(data.samples[0], 8, 8)) == 6);  // the lungs
  const Inspection seen = inspect_dataset(data);
  REQUIRE(seen.masks.size() == 2);
  CHECK(seen.masks[0].organ == "lungs");
  CHECK(seen.masks[0].share == doctest::Approx((6 + 24) / 128.0));
  CHECK(seen.masks[1].organ == "heart");
  CHECK(seen.masks[1].images == 2);
  CHECK(seen.masks[1].empty.size() == 1);
  CHECK_NOTHROW(require_varied_masks(seen));
  const auto json = describe_json(summarize(data, &seen));
  CHECK(json.at("masks")[1].at("organ") == "heart");
  CHECK(json.at("masks")[1].at("present") == 1);
  CHECK(json.at("masks")[1].at("empty") == 1);
  CHECK(describe_text(summarize(data, &seen)).find("organ heart of manifest") != std::string::npos);

  // The manifest that describes it says so too.
  write_manifest(data, f.t / "again.csv");
  const Dataset again = load_datasets({"manifest:" + (f.t / "again.csv")});
  CHECK(to_string(again.samples[0].organs) == "lungs:1+2,heart:3");

  // A value without a name.
  Dataset unnamed = load_datasets({f.spec(",organs=left lung:1,right lung:2")});
  const Inspection doubt = inspect_dataset(unnamed);
  CHECK_THROWS_WITH_AS(
      remove_unusable(unnamed, doubt, true),
      doctest::Contains("a_labels.png: has the value 3, which organs=left lung:1,"), Error);
  CHECK_THROWS_WITH_AS(sample_organs(unnamed.samples[0], {"left lung"}, 8, 8),
                       doctest::Contains("background:3"), Error);
  Dataset outside = load_datasets({f.spec(",organs=left lung:1,right lung:2,background:3")});
  CHECK(inspect_dataset(outside).masks[1].doubt.empty());
  CHECK(mask_area(sample_mask(outside.samples[0], 8, 8)) == 6);  // left and right are joined

  // No image shows one of the organs.
  Dataset never = load_datasets({f.spec(",organs=lungs:1+2,heart:3,lesion:4")});
  CHECK_THROWS_WITH_AS(require_varied_masks(inspect_dataset(never)),
                       doctest::Contains("no mask of lesion has an inside"), Error);
  // The lungs are wanted, and no organ is called so.
  Dataset no_lungs = load_datasets({f.spec(",organs=heart:3,other:1+2")});
  CHECK_THROWS_WITH_AS(sample_mask(no_lungs.samples[0], 8, 8),
                       doctest::Contains("its organs are heart, other"), Error);
}

TEST_CASE("organs=auto takes a label map's values, and refuses what may be none") {
  Folder f;
  f.add("a", labels_1_2_3());
  f.add("b", rows_of(5, 4));
  const Dataset data = load_datasets({f.spec(",organs=auto")});
  CHECK(organ_names(data) == std::vector<std::string>{"label 1", "label 2", "label 3", "label 5"});
  // Without organs= a label map is one mask, as before.
  CHECK(organ_names(load_datasets({f.spec("")})).empty());
  f.add("c", rows_of(255, 4));
  CHECK_THROWS_WITH_AS(load_datasets({f.spec(",organs=auto")}),
                       doctest::Contains("c_labels.png: has the value 255"), Error);
}

TEST_CASE("hostile label maps: colour, JPEG, another size, a second mask, two statements") {
  Folder f;
  f.add("a", labels_1_2_3());
  ImageU8 colour(8, 8, 3);
  colour.at(3, 3, 0) = 200;
  save_image(f.t / "a_labels.png", colour);
  Dataset coloured = load_datasets({f.spec(",organs=lungs:1")});
  CHECK_THROWS_WITH_AS(remove_unusable(coloured, inspect_dataset(coloured), true),
                       doctest::Contains("is coloured"), Error);
  save_image(f.t / "a_labels.jpg", labels_1_2_3());
  test::write_text(f.t / "jpeg.csv", "path,label,mask\na.png,,a_labels.jpg\n");
  CHECK_THROWS_WITH_AS(load_datasets({"manifest:" + (f.t / "jpeg.csv") + ",organs=auto"}),
                       doctest::Contains("is a JPEG"), Error);
  save_image(f.t / "a_labels.png", rows_of(1, 4, 9));
  Dataset larger = load_datasets({f.spec(",organs=lungs:1")});
  CHECK(inspect_dataset(larger).problems().size() == 1);
  CHECK_THROWS_WITH_AS(sample_organs(larger.samples[0], {"lungs"}, 8, 8),
                       doctest::Contains("mask is 9x9"), Error);
  CHECK_THROWS_WITH_AS(load_datasets({f.spec(",organs=lungs:1,mask_values=1")}),
                       doctest::Contains("both say what values mean"), Error);
  CHECK_THROWS_WITH_AS(load_datasets({f.spec(",organs=lungs,heart")}),
                       doctest::Contains("has no mask file for each organ"), Error);
}

TEST_CASE("masks of their own may overlap: columns of a manifest") {
  const TemporaryFolder t;
  save_image(t / "a.png", gray_picture());
  save_image(t / "b.png", gray_picture());
  save_image(t / "lungs.png", rows_of(255, 2));
  save_image(t / "heart.png", rows_of(1, 5));  // another writing of yes; inside the lungs
  save_image(t / "none.png", rows_of(0, 5));
  const auto spec = [&](const std::string& text, const std::string& options = "") {
    test::write_text(t / "m.csv", text);
    return "manifest:" + (t / "m.csv") + options;
  };
  const std::string good =
      "path,label,mask_lungs,mask_heart\na.png,,lungs.png,heart.png\nb.png,,lungs.png,none.png\n";
  Dataset data = load_datasets({spec(good)});
  CHECK(organ_names(data) == std::vector<std::string>{"lungs", "heart"});
  CHECK_FALSE(organs_are_labels(data));
  const Inspection seen = inspect_dataset(data);
  REQUIRE(seen.masks.size() == 2);
  CHECK(seen.masks[1].empty.size() == 1);
  const OrganMap map = sample_organs(data.samples[0], {"lungs", "heart"}, 8, 8);
  CHECK(mask_area(organ_plane(map, 0)) == 36);
  CHECK(mask_area(organ_plane(map, 1)) == 18);
  CHECK_THROWS_WITH_AS(require_no_overlap(map, {"lungs", "heart"}, "a.png"),
                       doctest::Contains("lungs and heart share 18 pixels"), Error);
  write_manifest(data, t / "again.csv");
  Dataset again = load_datasets({"manifest:" + (t / "again.csv")});
  inspect_dataset(again);
  CHECK(mask_area(organ_plane(sample_organs(again.samples[0], {"lungs", "heart"}, 8, 8), 1)) == 18);

  const Dataset chosen = load_datasets({spec(good, ",organs=heart")});
  CHECK(organ_names(chosen) == std::vector<std::string>{"heart"});
  CHECK(chosen.samples[0].masks.size() == 1);
  CHECK_THROWS_WITH_AS(load_datasets({spec(good, ",organs=heart,spleen")}),
                       doctest::Contains("no mask of 'spleen'; it has lungs, heart"), Error);
  CHECK_THROWS_WITH_AS(
      load_datasets({spec("path,label,mask_lungs,mask_heart\na.png,,lungs.png,\n")}),
      doctest::Contains("has a mask of lungs and none of heart"), Error);
  CHECK_THROWS_WITH_AS(
      load_datasets({spec("path,label,mask,mask_lungs\na.png,,lungs.png,lungs.png\n")}),
      doctest::Contains("give one of them"), Error);
  CHECK_THROWS_WITH_AS(load_datasets({spec("path,label,mask_\na.png,,lungs.png\n")}),
                       doctest::Contains("column 'mask_' is unknown"), Error);
  // A second source with other organs.
  save_image(t / "c.png", gray_picture());
  test::write_text(t / "other.csv", "path,label,mask\nc.png,,lungs.png\n");
  CHECK_THROWS_WITH_AS(load_datasets({spec(good), "manifest:" + (t / "other.csv") + ",source=o"}),
                       doctest::Contains("one mask without a name"), Error);
}

TEST_CASE("masks of their own: folders masks/NAME/, classes below masks/ stay classes") {
  const TemporaryFolder t;
  for (const char* folder : {"images", "masks", "masks/lungs", "masks/heart"})
    fs::create_directories(t / folder);
  save_image(t / "images/a.png", gray_picture());
  save_image(t / "masks/lungs/a.png", rows_of(255, 2));
  save_image(t / "masks/heart/a.png", rows_of(255, 5));
  const Dataset data = load_datasets({"folder:" + t.path().string()});
  REQUIRE(data.samples.size() == 1);
  CHECK(organ_names(data) == std::vector<std::string>{"heart", "lungs"});
  const Dataset ordered = load_datasets({"folder:" + t.path().string() + ",organs=lungs,heart"});
  CHECK(organ_names(ordered) == std::vector<std::string>{"lungs", "heart"});
  save_image(t / "images/b.png", gray_picture());
  save_image(t / "masks/lungs/b.png", rows_of(255, 2));
  CHECK_THROWS_WITH_AS(load_datasets({"folder:" + t.path().string()}),
                       doctest::Contains("b.png has no mask of heart, which 1 images have"), Error);

  const TemporaryFolder u;
  for (const char* folder : {"sick", "well", "masks/sick", "masks/well"})
    fs::create_directories(u / folder);
  for (const std::string name : {"sick", "well"}) {
    save_image(u / (name + "/a.png"), gray_picture());
    save_image(u / ("masks/" + name + "/a.png"), rows_of(255, 2));
  }
  const Dataset classes = load_datasets({"folder:" + u.path().string()});
  CHECK(organ_names(classes).empty());
  CHECK(classes.samples.size() == 2);
  CHECK(classes.samples[0].masks.size() == 1);
}

TEST_CASE("the loader moves label maps by nearest neighbour: no value between two labels") {
  const TemporaryFolder t;
  PhantomConfig config;
  config.size = 64;
  config.patients = 2;
  config.max_images = 1;
  config.masks = PhantomMasks::labels;
  const fs::path manifest = write_phantoms(config, t.path());
  Dataset data = load_datasets({"manifest:" + manifest.string()});
  CHECK(organ_names(data) == std::vector<std::string>{"lungs", "heart"});
  LoaderConfig c;
  c.height = c.width = 48;
  c.batch = 2;
  c.with_label = false;
  c.with_mask = true;
  c.organs = organ_names(data);
  c.exclusive = true;
  c.augment = augment_preset("study");
  for (const std::int64_t epoch : {0, 1, 2}) {
    Loader loader(data.samples, c);
    const Batch batch = loader.get(epoch, 0);
    const Tensor& mask = batch.tensors.at("mask");
    const Tensor& organ = batch.tensors.at("organ");
    REQUIRE(mask.shape() == Shape{2, 48, 48, 2});
    REQUIRE(organ.shape() == Shape{2, 48, 48});
    std::set<std::int64_t> seen;
    for (std::int64_t i = 0; i < organ.numel(); ++i) {
      const std::int64_t label = organ.data<std::int64_t>()[i];
      seen.insert(label);
      for (std::int64_t k = 0; k < 2; ++k)
        REQUIRE(mask.data<float>()[2 * i + k] == (label == k + 1 ? 1.f : 0.f));
    }
    CHECK(seen == std::set<std::int64_t>{0, 1, 2});
  }
  // The geometry is that of one mask: lungs alone come out the same.
  LoaderConfig one = c;
  one.organs.clear();
  one.exclusive = false;
  const Batch lungs = Loader(data.samples, one).get(1, 0), both = Loader(data.samples, c).get(1, 0);
  for (std::int64_t i = 0; i < lungs.tensors.at("mask").numel(); ++i)
    REQUIRE(lungs.tensors.at("mask").data<float>()[i] ==
            both.tensors.at("mask").data<float>()[2 * i]);
}

TEST_CASE("phantoms write lungs, label maps or overlapping masks of the same anatomy") {
  PhantomConfig config;
  config.size = 64;
  config.patients = 1;
  config.max_images = 1;
  const Phantom p = make_phantom(config, 0, 0);
  std::int64_t shared = 0, hidden = 0;
  for (std::size_t i = 0; i < p.lungs.pixels.size(); ++i) {
    shared += p.lungs.pixels[i] && p.heart.pixels[i];
    hidden += p.whole_lungs.pixels[i] && p.heart.pixels[i];
    if (p.lungs.pixels[i]) CHECK(p.whole_lungs.pixels[i] == 255);
  }
  CHECK(shared == 0);
  CHECK(hidden > 0);
  CHECK(mask_area(p.heart) > 64 * 64 / 50);
  const TemporaryFolder t;
  config.masks = PhantomMasks::organs;
  const Dataset data = load_datasets({"manifest:" + write_phantoms(config, t.path()).string()});
  const OrganMap map = sample_organs(data.samples[0], {"lungs", "heart"}, 64, 64);
  CHECK(organ_plane(map, 0).pixels == p.whole_lungs.pixels);
  CHECK(organ_plane(map, 1).pixels == p.heart.pixels);
  CHECK_THROWS_WITH_AS(parse_phantom_masks("spleen"), doctest::Contains("lungs, labels or organs"),
                       Error);
}

TEST_CASE("which organs are the lungs") {
  using Found = std::vector<std::size_t>;
  CHECK(lungs_among({"heart", "Lungs"}) == Found{1});
  CHECK(lungs_among({"Left Lung", "heart", "right_lung"}) == Found{0, 2});
  CHECK(lungs_among({"left lung", "heart"}).empty());
  CHECK(lungs_among({"heart", "lung nodule"}).empty());
}

TEST_CASE("left and right organs change places in a mirror image") {
  using Found = std::vector<std::size_t>;
  CHECK(mirrored_organs({"lungs", "heart", "upright thing"}) == Found{0, 1, 2});
  CHECK(mirrored_organs({"Left Lung", "heart", "right_lung"}) == Found{2, 1, 0});
  CHECK(mirrored_organs({"rlung", "clavicle-l", "Lung, left", "right clavicle"}) ==
        Found{2, 3, 0, 1});
  CHECK_THROWS_WITH_AS(mirrored_organs({"heart", "right lung", "left clavicle"}),
                       doctest::Contains("right lung: in a mirror image the left one"), Error);
}
