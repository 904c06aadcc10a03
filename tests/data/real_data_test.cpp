// The public collections, counted as their README states them.
#include <algorithm>
#include <map>
#include <set>

#include "data/dataset.h"
#include "data/decode_mask.h"
#include "data/inspect.h"
#include "data/multilabel.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;

namespace {

int64_t removed(const Dataset& d, const std::string& rule) {
  for (const FilterRule& r : d.report.rules)
    if (r.name == rule) return r.removed;
  return -1;
}

std::map<std::string, int64_t> views(const Dataset& d) {
  std::map<std::string, int64_t> out;
  for (const Sample& s : d.samples) ++out[s.view];
  return out;
}

size_t patients(const Dataset& d) {
  std::set<std::string> out;
  for (const Sample& s : d.samples) out.insert(s.patient);
  return out.size();
}

}  // namespace

TEST_CASE("real data: COVID-19 image data collection") {
  const auto root = real_data();
  if (root.empty()) return;
  const std::string spec = "covid:" + (root / "covid-chestxray-dataset").string();
  const Dataset d =
      load_datasets({spec + ",masks=" + (root / "covid-lung-masks").string() + ",mask=required"});
  CHECK(d.samples.size() == 427);
  CHECK(patients(d) == 257);
  CHECK(d.report.sources[0].rows == 562);
  CHECK(removed(d, "modality X-ray") == 14);
  CHECK(removed(d, "frontal view (PA, AP, AP Supine)") == 17);
  CHECK(removed(d, "finding names COVID-19") == 104);
  CHECK(removed(d, "named once") == 0);
  CHECK(removed(d, "file present") == 0);
  CHECK(removed(d, "lung mask present") == 0);
  CHECK(views(d) == std::map<std::string, int64_t>{{"PA", 216}, {"AP Supine", 120}, {"AP", 91}});
  CHECK(std::count_if(d.samples.begin(), d.samples.end(),
                      [](const Sample& s) { return s.finding == "COVID-19, ARDS"; }) == 12);

  const Dataset all = load_datasets({spec + ",finding=all"});
  CHECK(class_counts(all).at("COVID-19") == 427);
  CHECK(class_counts(all).at("non-COVID") == 100);
  CHECK(removed(all, "named once") == 4);
  CHECK(all.report.conflicts.size() == 9);
  const Dataset every = load_datasets({spec + ",finding=all,view=all"});
  CHECK(every.samples.size() == 543);
}

TEST_CASE("real data: NIH ChestX-ray14 subset") {
  const auto root = real_data();
  if (root.empty()) return;
  const std::string spec = "nih:" + (root / "nih").string();
  const Dataset any_age = load_datasets({spec + ",min_age=0"});
  CHECK(any_age.samples.size() == 500);
  CHECK(patients(any_age) == 332);
  CHECK(views(any_age) == std::map<std::string, int64_t>{{"AP", 342}, {"PA", 158}});
  CHECK(removed(any_age, "finding No Finding") == 60);
  const Dataset pneumonia = load_datasets({spec + ",min_age=0,finding=Pneumonia"});
  CHECK(pneumonia.samples.size() == 40);
  const Dataset every = load_datasets({spec + ",min_age=0,finding=all"});
  CHECK(every.samples.size() == 560);
  CHECK(patients(every) == 392);
  const Dataset adult = load_datasets({spec + ",finding=all"});
  CHECK(removed(adult, "age >= 18") == 73);
  // Counted by a script of its own over the table: adults by label, several labels an image.
  const Dataset several = load_datasets({spec + ",labels=multi"});
  std::map<std::string, int64_t> positive;
  for (const FindingCount& c : finding_counts(several)) {
    positive[c.name] = c.positive;
    CHECK(c.positive + c.negative == 487);
  }
  CHECK(positive == std::map<std::string, int64_t>{{"Atelectasis", 7},
                                                   {"Cardiomegaly", 1},
                                                   {"Effusion", 4},
                                                   {"Infiltration", 6},
                                                   {"Mass", 2},
                                                   {"Nodule", 1},
                                                   {"Pneumonia", 59},
                                                   {"Pneumothorax", 2},
                                                   {"Consolidation", 4},
                                                   {"Edema", 5},
                                                   {"Emphysema", 0},
                                                   {"Fibrosis", 0},
                                                   {"Pleural_Thickening", 1},
                                                   {"Hernia", 0}});
  const auto same = identical_files(any_age);
  bool found = false;
  for (const auto& group : same)
    found |= group.size() == 2 && contains(group[0], "00002658_001.png") &&
             contains(group[1], "00002658_002.png");
  CHECK(found);
}

TEST_CASE("real data: Shenzhen and Montgomery") {
  const auto root = real_data();
  if (root.empty()) return;
  const Dataset d = load_datasets(
      {"shenzhen:" + (root / "shenzhen").string(), "montgomery:" + (root / "montgomery").string()});
  CHECK(d.samples.size() == 50);
  CHECK(patients(d) == 50);
  CHECK(class_counts(d).at("tuberculosis") == 50);
  for (const Sample& s : d.samples) {
    const ImageInfo image = read_image_info(s.image);
    CHECK(s.masks.size() == (s.source == "montgomery" ? 2 : 1));
    for (const auto& m : s.masks) {
      const ImageU8 mask = load_mask(m);
      CHECK(mask.height == image.height);
      CHECK(mask.width == image.width);
      CHECK(mask_area(mask) > 0);
    }
  }
}

TEST_CASE("real data: every image and mask decodes") {
  const auto root = real_data();
  if (root.empty()) return;
  Dataset d = load_datasets(
      {"covid:" + (root / "covid-chestxray-dataset").string() +
           ",finding=all,view=all,masks=" + (root / "covid-lung-masks").string(),
       "nih:" + (root / "nih").string() + ",finding=all,min_age=0",
       "shenzhen:" + (root / "shenzhen").string(), "montgomery:" + (root / "montgomery").string()});
  const size_t before = d.samples.size();
  CHECK(before == 543 + 560 + 50);
  const Inspection seen = inspect_dataset(d);
  CHECK(seen.problems().empty());
  CHECK(seen.blanks().empty());
  CHECK(seen.notes.empty());
  CHECK(seen.inverted.empty());  // no false alarm
  REQUIRE(seen.masks.size() == 3);
  int64_t masks = 0;
  for (const MaskSet& set : seen.masks) {
    CHECK(set.doubt.empty());
    CHECK(set.empty.empty());
    CHECK(set.full.empty());
    masks += set.images;
  }
  CHECK(masks == std::count_if(d.samples.begin(), d.samples.end(),
                               [](const Sample& s) { return !s.masks.empty(); }));
  remove_unusable(d, seen, true);
  CHECK(d.samples.size() == before);
}
