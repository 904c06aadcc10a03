// Near-duplicates: made from phantoms, and those that the public collections are known to hold.
#include "data/duplicates.h"

#include <chrono>
#include <cmath>
#include <iostream>
#include <map>
#include <set>

#include "data/decode.h"
#include "data/draw.h"
#include "data/duplicates_report.h"
#include "data/encode.h"
#include "data/phantom.h"
#include "data/resize.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;

namespace {

Image phantom(int patient, int number = 0) {
  return make_phantom({.size = 320, .patients = 64, .seed = 11}, patient, number).image;
}

Image part(const Image& image, double left, double top, double right, double bottom) {
  const auto at = [](double share, int side) {
    return static_cast<int>(std::lround(share * side));
  };
  const int x = at(left, image.width), y = at(top, image.height);
  return crop(image, y, x, at(bottom, image.height) - y, at(right, image.width) - x);
}

Image mirrored(const Image& image) {
  Image result = image;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) result.at(y, x) = image.at(y, image.width - 1 - x);
  return result;
}

Image mapped(Image image, const std::function<float(float)>& f) {
  for (float& value : image.pixels) value = std::clamp(f(value), 0.f, 1.f);
  return image;
}

Image through_jpeg(const Image& image, int quality) {
  return decode_gray(encode_jpeg(to_u8(image), quality), "test");
}

Image with_marker(const Image& image) {
  ImageU8 picture = to_u8(image);
  draw_text(picture, "PORTABLE AP", 8, 10, {255, 255, 255}, 2);
  fill_rectangle(picture, picture.height - 60, picture.width - 50, 40, 30, {255, 255, 255});
  return to_float(picture);
}

// Rotated about its centre by `degrees`.
Image turned(const Image& image, double degrees) {
  Registration r;
  r.skew_y = std::sin(degrees * M_PI / 180);
  r.skew_x = -r.skew_y;
  return seen_as(image, r, image.height, image.width);
}

struct Made {
  const char* what;
  Image image;
};

// Every way in which a radiograph comes back, from phantom 0.
std::vector<Made> doubles() {
  const Image x = phantom(0);
  return {
      {"the same", x},
      {"brighter", mapped(x, [](float v) { return std::pow(v, 0.6f) * 0.8f + 0.15f; })},
      {"inverted", mapped(x, [](float v) { return 1 - v; })},
      {"mirrored", mirrored(x)},
      {"half the size", resize(x, 160, 160)},
      {"squeezed", resize(x, 300, 220)},
      {"JPEG of quality 30", through_jpeg(x, 30)},
      {"written on", with_marker(x)},
      {"cropped evenly", part(x, 0.12, 0.12, 0.88, 0.88)},
      {"cropped at two sides", part(x, 0.2, 0.0, 1.0, 0.85)},
      {"cropped much", part(x, 0.15, 0.2, 0.85, 0.9)},
      {"turned by two degrees", turned(x, 2)},
      {"cropped, smaller, brighter, JPEG, mirrored and written on",
       through_jpeg(with_marker(mapped(resize(mirrored(part(x, 0.05, 0.1, 0.95, 0.97)), 260, 250),
                                       [](float v) { return 0.9f * std::sqrt(v); })),
                    80)}};
}

std::string name(const Dataset& d, std::size_t i) {
  return d.samples[i].image.filename().string();
}

bool near(const Registration& a, const Registration& b, double tolerance) {
  const double worst = std::max({std::abs(a.left - b.left), std::abs(a.top - b.top),
                                 std::abs(a.right - b.right), std::abs(a.bottom - b.bottom),
                                 std::abs(a.skew_x - b.skew_x), std::abs(a.skew_y - b.skew_y)});
  return worst <= tolerance && a.mirrored == b.mirrored && a.inverted == b.inverted;
}

}  // namespace

TEST_CASE("duplicates: every double of a phantom is found, no other patient is claimed") {
  std::vector<Image> images;
  std::vector<std::string> what;
  for (Made& made : doubles()) {
    images.push_back(std::move(made.image));
    what.emplace_back(made.what);
  }
  const std::size_t made = images.size();
  for (int patient = 1; patient < 20; ++patient) images.push_back(phantom(patient));
  const auto load = [&](std::size_t i) { return images[i]; };
  const DuplicateReport report = find_duplicates(images.size(), load);
  CHECK(report.images == static_cast<std::int64_t>(images.size()));
  std::map<std::size_t, DuplicatePair> with_first;
  for (const DuplicatePair& pair : report.pairs) {
    INFO(pair.a, " ", pair.b, " ", pair.correlation);
    CHECK(pair.a < pair.b);
    CHECK(pair.b < made);
    if (pair.a == 0) with_first[pair.b] = pair;
  }
  for (std::size_t i = 1; i < made; ++i) {
    INFO(what[i]);
    CHECK(with_first.contains(i));
    if (with_first.contains(i))
      MESSAGE(what[i] << ": " << with_first[i].correlation << ", "
                      << describe(with_first[i].registration));
  }
  // Where the first image lies in the others is known.
  const auto lies = [&](std::size_t i, Registration wanted, double tolerance) {
    INFO(what[i]);
    if (with_first.contains(i)) CHECK(near(with_first[i].registration, wanted, tolerance));
  };
  lies(1, {}, 0.004);
  lies(2, {.inverted = true}, 0.004);
  lies(3, {.mirrored = true}, 0.004);
  lies(5, {}, 0.004);
  lies(8, {.left = -0.12 / 0.76, .top = -0.12 / 0.76, .right = 0.88 / 0.76, .bottom = 0.88 / 0.76},
       0.01);
  lies(9, {.left = -0.25, .top = 0, .right = 1, .bottom = 1 / 0.85}, 0.01);
  // The number of threads changes nothing.
  const DuplicateReport again = find_duplicates(images.size(), load, {.threads = 1});
  REQUIRE(again.pairs.size() == report.pairs.size());
  for (std::size_t i = 0; i < again.pairs.size(); ++i) {
    CHECK(again.pairs[i].a == report.pairs[i].a);
    CHECK(again.pairs[i].b == report.pairs[i].b);
    CHECK(again.pairs[i].correlation == report.pairs[i].correlation);
  }
}

TEST_CASE("duplicates: a registration and its inverse undo each other") {
  for (const bool mirror : {false, true}) {
    const Registration r{.left = -0.1,
                         .top = 0.05,
                         .right = 0.9,
                         .bottom = 1.2,
                         .skew_x = 0.04,
                         .skew_y = -0.03,
                         .mirrored = mirror};
    CHECK(near(r.inverse().inverse(), r, 1e-12));
    // Seen through both, an image is what it was, but for its edges and twice interpolating.
    const Image x = phantom(3);
    const Image back = seen_as(seen_as(x, r, 320, 320), r.inverse(), 320, 320);
    double worst = 0;
    for (int y = 100; y < 220; ++y)
      for (int i = 100; i < 220; ++i)
        worst = std::max(worst, static_cast<double>(std::abs(back.at(y, i) - x.at(y, i))));
    CHECK(worst < 0.1);
    const Image b = seen_as(x, r, 320, 320);
    CHECK(registered_correlation(b, x, r) > 0.95);
    CHECK(registered_correlation(x, b, r.inverse()) > 0.95);
  }
  CHECK(Registration{.left = -0.5, .right = 0.5}.overlap() == doctest::Approx(0.5));
}

TEST_CASE("duplicates: files, patients, folds, pictures; wrong use") {
  const TempFolder t;
  Dataset d;
  d.classes = {"non-COVID", "COVID-19"};
  const auto add = [&](const std::string& file, const Image& image, const std::string& patient,
                       int label) {
    save_image(t / file, image);
    Sample s;
    s.image = t / file;
    s.patient = patient;
    s.label = label;
    s.class_name = d.classes[static_cast<std::size_t>(label)];
    d.samples.push_back(s);
  };
  const Image x = phantom(0), y = phantom(1);
  add("a.png", x, "s/1", 1);
  add("b.png", part(x, 0.1, 0.1, 1, 1), "s/2", 0);
  add("c.png", y, "s/3", 1);
  add("d.png", through_jpeg(y, 40), "s/3", 1);
  add("e.png", mirrored(y), "s/4", 1);
  add("f.png", phantom(2), "s/5", 0);
  const DuplicateReport report = find_duplicates(d);
  REQUIRE(report.pairs.size() == 4);
  const auto pair = [&](std::size_t a, std::size_t b) {
    for (const DuplicatePair& p : report.pairs)
      if (p.a == a && p.b == b) return p;
    FAIL("no pair " << a << " " << b);
    return DuplicatePair{};
  };
  CHECK(!pair(0, 1).same_patient);
  CHECK(!pair(0, 1).same_class);
  CHECK(pair(2, 3).same_patient);
  CHECK(pair(2, 3).same_class);
  CHECK(pair(2, 4).registration.mirrored);
  const auto groups = patients_sharing_images(d, report.pairs);
  CHECK(groups == std::vector<std::vector<std::string>>{{"s/1", "s/2"}, {"s/3", "s/4"}});
  Dataset joined = d;
  CHECK(join_patients(joined, groups) == 2);
  CHECK(joined.samples[1].patient == "s/1");
  CHECK(joined.samples[4].patient == "s/3");
  CHECK(joined.samples[5].patient == "s/5");
  CHECK(joined.report.notes.size() == 1);
  check_patients(joined, OnPatientConflict::report);
  CHECK(joined.report.conflicts.size() == 1);
  CHECK_THROWS_AS(join_patients(joined, {{"s/1", "s/2"}, {"s/2", "s/5"}}), Error);

  assign_ids(d);
  Splits splits;
  const auto id = [&](std::size_t i) { return d.samples[i].id; };
  splits.folds = {{{id(1), id(4), id(5)}, {id(0), id(2), id(3)}},
                  {{id(0), id(2), id(3)}, {id(1), id(4)}}};
  const std::vector<int> held_out = held_out_folds(d, splits);
  CHECK(held_out == std::vector<int>{0, 1, 0, 0, 1, -1});
  const DuplicateTable table{d, report, held_out};
  CHECK(table.crosses_folds(pair(0, 1)));
  CHECK(!table.crosses_folds(pair(2, 3)));
  const auto json = duplicates_json(table);
  CHECK(json["pairs"].size() == 4);
  CHECK(json["pairs_crossing_folds"] == 3);
  CHECK(json["patients"].size() == 2);
  const std::string text = duplicates_text(table);
  CHECK(contains(text, "TWO PATIENTS s/1 and s/2; TWO CLASSES COVID-19 and non-COVID"));
  CHECK(
      contains(text, "3 pairs under two patient ids, 1 in two classes, 3 on both sides of a fold"));
  const std::string csv = duplicates_csv(table);
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 5);
  const auto sheets = duplicate_sheets(table, 3, 64);
  REQUIRE(sheets.size() == 2);
  CHECK(sheets[0].height > 2 * sheets[1].height);

  // Of several findings an image these are compared and named.
  Dataset several = d;
  several.multilabel = true;
  several.classes = {"Edema", "Mass"};
  for (Sample& s : several.samples) {
    s.class_name.clear();
    s.labels = {1, 0};
  }
  several.samples[0].labels = {1, 1};
  several.samples[1].labels = {0, -1};
  const DuplicateReport of_findings = find_duplicates(several);
  const std::vector<int> none;
  const DuplicateTable findings{several, of_findings, none};
  CHECK(contains(duplicates_text(findings),
                 "TWO PATIENTS s/1 and s/2; OTHER FINDINGS Edema|Mass and no finding"));
  CHECK(contains(duplicates_text(findings), "patient s/3; Edema;"));
  CHECK(
      contains(duplicates_text(findings), "3 pairs under two patient ids, 1 with other findings"));
  CHECK(contains(duplicates_csv(findings), ",s/1,s/2,0,Edema|Mass,,0,"));

  // Without splits nothing crosses.
  CHECK(!DuplicateTable{d, report, none}.crosses_folds(pair(0, 1)));
  write_text(t / "broken.png", "no image");
  d.samples[5].image = t / "broken.png";
  CHECK(contains(error_of([&] { find_duplicates(d); }), "broken.png"));
  const DuplicateReport skipped = find_duplicates(d, {.skip_unreadable = true});
  CHECK(skipped.pairs.size() == 4);
  CHECK(skipped.images == 5);
  REQUIRE(skipped.unreadable.size() == 1);
  CHECK(contains(skipped.unreadable[0], "broken.png"));
  CHECK(contains(error_of([&] { find_duplicates(d, {.min_correlation = 2}); }), "correlation 2"));
  // Images without anything to see are nobody's duplicates.
  CHECK(find_duplicates(3, [](std::size_t) { return Image(64, 64, 1, 0.5f); }).pairs.empty());
  CHECK(find_duplicates(0, [](std::size_t) { return Image(); }).pairs.empty());
}

TEST_CASE("duplicates: those that the public collections are known to hold, and no others") {
  const auto root = real_data();
  if (root.empty()) return;
  const Dataset d = load_datasets(
      {"covid:" + (root / "covid-chestxray-dataset").string() + ",finding=all",
       "nih:" + (root / "nih").string() + ",finding=all",
       "shenzhen:" + (root / "shenzhen").string(), "montgomery:" + (root / "montgomery").string()});
  const auto start = std::chrono::steady_clock::now();
  const DuplicateReport report = find_duplicates(d);
  MESSAGE(report.images
          << " images, " << report.candidates << " candidates, "
          << std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()
          << " s");
  std::set<std::pair<std::string, std::string>> found;
  for (const DuplicatePair& pair : report.pairs) {
    const std::string a = name(d, pair.a), b = name(d, pair.b);
    found.insert(std::minmax(a, b));
  }
  const std::string ards = "covid-19-rapidly-progressive-acute-respiratory-distress-syndrome-ards-";
  const std::set<std::pair<std::string, std::string>> known{
      {"16660_2_1.jpg", ards + "admission.jpg"},
      {"16660_3_1.jpg", ards + "day-1.jpg"},
      {"16660_4_1.jpg", ards + "day-2.jpg"},
      {"16660_5_1.jpg", ards + "day-3.jpg"},
      {"353889E0-A1E8-4F9E-A0B8-F24F36BCFBFB.jpeg", "case_72_RX-TORACE1.jpg"},
      {"A7E260CE-8A00-4C5F-A7F5-27336527A981.jpeg", "case_76_1-3.png"},
      {"AR-1.jpg", "extubation-1.jpg"},
      {"AR-2.jpg", "extubation-1.jpg"},
      {"AR-1.jpg", "AR-2.jpg"},
      {"2-chest-filmc.jpg", "7-fatal-covid19.jpg"},
      {"pneumonia-7.jpg", "streptococcus-pneumoniae-pneumonia-temporal-evolution-1-day1.jpg"},
      {"00002658_001.png", "00002658_002.png"},
      // Not in the collections' list; the same exposure, of one patient.
      {"E63574A7-4188-4C8D-8D17-9D67A18A1AFA.jpeg", "F4341CE7-73C9-45C6-99C8-8567A5484B63.jpeg"}};
  for (const auto& pair : known) {
    INFO(pair.first, " ", pair.second);
    CHECK(found.contains(pair));
  }
  for (const auto& pair : found) {
    INFO(pair.first, " ", pair.second);
    CHECK(known.contains(pair));
  }
  const auto groups = patients_sharing_images(d, report.pairs);
  CHECK(groups == std::vector<std::vector<std::string>>{{"covid/137", "covid/202"},
                                                        {"covid/178", "covid/97"},
                                                        {"covid/192", "covid/196"},
                                                        {"covid/193", "covid/195"},
                                                        {"covid/201", "covid/78"},
                                                        {"covid/30", "covid/31"}});
}
