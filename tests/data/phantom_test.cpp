#include "data/phantom.h"

#include <cmath>
#include <set>

#include "data/decode.h"
#include "data/phantom_anatomy.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;

namespace {

PhantomConfig small() {
  PhantomConfig c;
  c.size = 96, c.patients = 8, c.seed = 3;
  return c;
}

// Mean brightness inside (or outside) of the lungs.
double mean_where(const Phantom& p, bool inside) {
  double sum = 0;
  int64_t n = 0;
  for (size_t i = 0; i < p.image.pixels.size(); ++i)
    if ((p.lungs.pixels[i] != 0) == inside) sum += p.image.pixels[i], ++n;
  return sum / static_cast<double>(n);
}

}  // namespace

TEST_CASE("phantom: a function of seed, patient and number") {
  const PhantomConfig c = small();
  const Phantom a = make_phantom(c, 2, 1), again = make_phantom(c, 2, 1);
  CHECK(a.image.pixels == again.image.pixels);
  CHECK(a.lungs.pixels == again.lungs.pixels);
  CHECK(make_phantom(c, 2, 0).image.pixels != a.image.pixels);
  CHECK(make_phantom(c, 3, 1).image.pixels != a.image.pixels);
  PhantomConfig other = c;
  other.seed = 4;
  CHECK(make_phantom(other, 2, 1).image.pixels != a.image.pixels);
}

TEST_CASE("phantom: looks like a chest X-ray where numbers can tell") {
  const PhantomConfig c = small();
  for (int patient = 0; patient < 12; ++patient) {
    const Phantom p = make_phantom(c, patient, 0);
    for (const float v : p.image.pixels) CHECK((v >= 0.f && v <= 1.f));
    const double share = static_cast<double>(mask_area(p.lungs)) / (96.0 * 96.0);
    CHECK(share > 0.17);
    CHECK(share < 0.45);
    CHECK(mean_where(p, true) + 0.1 < mean_where(p, false));  // air is dark
    // Two lungs: the middle column is free of lung, both halves have some.
    int left = 0, right = 0;
    for (int y = 0; y < 96; ++y)
      for (int x = 0; x < 96; ++x) (x < 48 ? left : right) += p.lungs.at(y, x) != 0;
    CHECK(left > 500);
    CHECK(right > 400);
  }
}

TEST_CASE("phantom: opacities brighten the lungs of positives, by severity") {
  PhantomConfig c = small();
  c.positive_share = 1;
  double lift = 0;
  for (int patient = 0; patient < 10; ++patient) {
    c.severity = 1;
    const Phantom ill = make_phantom(c, patient, 0);
    c.severity = 0;
    const Phantom well = make_phantom(c, patient, 0);
    CHECK(ill.positive);
    CHECK(ill.lungs.pixels == well.lungs.pixels);
    lift += mean_where(ill, true) - mean_where(well, true);
    CHECK(std::abs(mean_where(ill, false) - mean_where(well, false)) < 0.01);
  }
  CHECK(lift / 10 > 0.02);
}

TEST_CASE("phantom: counts, classes, images of a patient") {
  PhantomConfig c = small();
  c.patients = 40;
  c.positive_share = 0.25;
  int positive = 0;
  for (int p = 0; p < 40; ++p) {
    positive += is_positive(c, p);
    CHECK(images_of_patient(c, p) >= 1);
    CHECK(images_of_patient(c, p) <= c.max_images);
  }
  CHECK(positive == 10);
  const auto list = phantom_list(c);
  CHECK(list.size() > 50);
  CHECK(std::set<std::pair<int, int>>(list.begin(), list.end()).size() == list.size());
  c.size = 7;
  CHECK_ERROR(make_phantom(c, 0, 0), "size 7 is not in 32..4096");
  c.size = 64;
  c.confounding = 2;
  CHECK_ERROR(make_phantom(c, 0, 0), "must be in 0..1");
}

TEST_CASE("phantom: the shape's zero line is the mask") {
  Philox random(1);
  const phantom::Anatomy body = phantom::make_anatomy(random);
  CHECK(phantom::inside_lung(body.lungs[0], -0.4, 0.0) > 0.1);
  CHECK(phantom::inside_lung(body.lungs[1], 0.4, 0.0) > 0.1);
  CHECK(phantom::inside_lung(body.lungs[0], 0.4, 0.0) < 0);
  CHECK(phantom::inside_lung(body.lungs[0], 0.0, -0.9) < 0);
  CHECK(phantom::inside_heart(body, body.heart_x, body.heart_y) > 0.1);
  CHECK(phantom::inside_mediastinum(body, 0.0, -0.5) > 0);
}

TEST_CASE("phantom: written sets are read by both readers") {
  TempFolder tmp;
  const PhantomConfig c = small();
  const auto manifest = write_phantoms(c, tmp / "set", 3);
  const Dataset d = load_datasets({"manifest:" + manifest.string()});
  CHECK(d.samples.size() == phantom_list(c).size());
  CHECK(d.classes == std::vector<std::string>{"non-COVID", "COVID-19"});
  std::set<std::string> patients;
  for (const Sample& s : d.samples) {
    patients.insert(s.patient);
    CHECK(s.masks.size() == 1);
  }
  CHECK(patients.size() == 8);
  CHECK(d.report.conflicts.empty());
  const Dataset masks = load_datasets({"shenzhen:" + (tmp / "set").string()});
  CHECK(masks.samples.size() == d.samples.size());
  const auto [patient, number] = phantom_list(c)[3];
  const Phantom p = make_phantom(c, patient, number);
  CHECK(load_mask(d.samples[3].masks[0]).pixels == p.lungs.pixels);
  CHECK(to_u8(load_gray(d.samples[3].image)).pixels == to_u8(p.image).pixels);
  const std::string checksum = dataset_checksum(d);
  write_phantoms(c, tmp / "again", 1);
  CHECK(dataset_checksum(load_datasets({"manifest:" + (tmp / "again/manifest.csv").string()})) ==
        checksum);
}
