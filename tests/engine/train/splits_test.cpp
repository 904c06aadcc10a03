#include "engine/train/splits.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/runtime/philox.h"
#include "engine/tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

namespace {

// Patients with 1 to 6 images; some have images of both classes.
std::vector<SplitItem> cohort(int patients, std::uint64_t seed) {
  Philox random(seed);
  std::vector<SplitItem> samples;
  for (int p = 0; p < patients; ++p) {
    const int label = p % 3 == 0 ? 1 : 0;
    const auto images = 1 + random.below(6);
    for (std::uint64_t i = 0; i < images; ++i) {
      const bool other = p % 10 == 0 && i == 0;
      samples.push_back({fmt::format("p{:03}/{}.png", p, i), fmt::format("p{:03}", p),
                         other ? 1 - label : label});
    }
  }
  return samples;
}

std::map<int, int> classes_of(const std::vector<std::string>& ids,
                              const std::vector<SplitItem>& samples) {
  std::map<std::string, int> label;
  for (const SplitItem& s : samples) label[s.id] = s.label;
  std::map<int, int> counts;
  for (const std::string& id : ids) ++counts[label.at(id)];
  return counts;
}

}  // namespace

TEST_CASE("folds keep patients whole, cover everything once and are stratified") {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const auto samples = cohort(150, seed);
    const Splits splits = k_fold(samples, 5, seed);
    check_splits(splits, samples);
    std::vector<std::string> all;
    for (const SplitItem& s : samples) all.push_back(s.id);
    const auto total = classes_of(all, samples);
    for (const Fold& fold : splits.folds) {
      CHECK(fold.train.size() + fold.validation.size() == samples.size());
      for (const auto& [cls, count] : classes_of(fold.validation, samples))
        CHECK(std::abs(count - total.at(cls) / 5.0) <= 2.0);
    }
  }
}

TEST_CASE("by image, every fold is stratified to within one sample") {
  const auto samples = cohort(100, 3);
  const Splits splits = k_fold(samples, 10, 1, Grouping::image);
  check_splits(splits, samples);
  int lowest[2] = {1 << 30, 1 << 30}, highest[2] = {0, 0};
  for (const Fold& fold : splits.folds) {
    const auto counts = classes_of(fold.validation, samples);
    for (int c = 0; c < 2; ++c) {
      lowest[c] = std::min(lowest[c], counts.at(c));
      highest[c] = std::max(highest[c], counts.at(c));
    }
  }
  CHECK(highest[0] - lowest[0] <= 1);
  CHECK(highest[1] - lowest[1] <= 1);
}

TEST_CASE("the study's set: 410 and 500 images in 10 folds give 41 and 50 each") {
  std::vector<SplitItem> samples;
  for (int i = 0; i < 910; ++i)
    samples.push_back({fmt::format("{}", i), fmt::format("{}", i), i < 410 ? 1 : 0});
  for (const Fold& fold : k_fold(samples, 10, 7).folds) {
    const auto counts = classes_of(fold.validation, samples);
    CHECK(counts.at(1) == 41);
    CHECK(counts.at(0) == 50);
  }
}

TEST_CASE("splits depend on seed and samples, not on their order") {
  auto samples = cohort(60, 1);
  const Splits a = k_fold(samples, 3, 5), other = k_fold(samples, 3, 6);
  std::reverse(samples.begin(), samples.end());
  const Splits b = k_fold(samples, 3, 5);
  const auto sorted = [](std::vector<std::string> ids) {
    std::sort(ids.begin(), ids.end());
    return ids;
  };
  bool differs = false;
  for (std::size_t f = 0; f < 3; ++f) {
    CHECK(sorted(a.folds[f].validation) == sorted(b.folds[f].validation));
    differs = differs || a.folds[f].validation != other.folds[f].validation;
  }
  CHECK(differs);
}

TEST_CASE("hold-out takes its share of every class and whole patients") {
  const auto samples = cohort(200, 2);
  const Splits splits = hold_out(samples, 0.2, 3);
  check_splits(splits, samples);
  REQUIRE(splits.folds.size() == 1);
  const auto train = classes_of(splits.folds[0].train, samples);
  const auto held = classes_of(splits.folds[0].validation, samples);
  for (int c = 0; c < 2; ++c)
    CHECK(std::abs(held.at(c) / static_cast<double>(held.at(c) + train.at(c)) - 0.2) < 0.02);
}

TEST_CASE("what cannot be split is refused with the reason") {
  auto samples = cohort(30, 1);
  samples.push_back(samples[4]);
  CHECK_THROWS_WITH_AS(k_fold(samples, 3, 1), doctest::Contains("appears twice"), Error);
  samples.pop_back();
  samples[3].group.clear();
  CHECK_THROWS_WITH_AS(k_fold(samples, 3, 1), doctest::Contains("has no group (patient)"), Error);
  CHECK_NOTHROW(k_fold(samples, 3, 1, Grouping::image));
  const std::vector<SplitItem> few{{"a", "p1", 0}, {"b", "p2", 0}, {"c", "p3", 1}, {"d", "p3", 1}};
  CHECK_THROWS_WITH_AS(
      k_fold(few, 2, 1),
      "[splits] class 1 has 1 patients, fewer than the 2 folds, and each fold needs one to hold "
      "out; "
      "bring more patients of that class (class 0: 2 images of 2 patients; "
      "class 1: 2 images of 1 patients)",
      Error);
  CHECK_NOTHROW(k_fold(few, 2, 1, Grouping::image));
  CHECK_THROWS_AS(k_fold(few, 1, 1), Error);
  CHECK_THROWS_AS(k_fold({}, 2, 1), Error);
  CHECK_THROWS_AS(k_fold({{"a", "p", -1}}, 2, 1), Error);
  CHECK_THROWS_AS(hold_out(few, 0, 1), Error);
}

TEST_CASE("messages and descriptions name the classes, and one split is told nothing of folds") {
  const std::vector<SplitItem> few{{"a", "p1", 0, "well"},
                                   {"b", "p2", 0, "well"},
                                   {"c", "p3", 1, "sick"},
                                   {"d", "p3", 1, "sick"},
                                   {"e", "p4", 0, "well"}};
  CHECK_THROWS_WITH_AS(k_fold(few, 2, 1),
                       doctest::Contains("class 'sick' has 1 patients, fewer than the 2 folds"),
                       Error);
  const auto message = [&](double share) -> std::string {
    try {
      hold_out(few, share, 1);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  };
  CHECK(message(0.5) ==
        "[splits] class 'sick' has 1 of the 4 patients, and training and validation need one each; "
        "bring more patients of that class (class 'well': 3 images of 3 patients; class 'sick': 2 "
        "images of 1 patients)");
  // Two sick patients, but hardly anything is held out.
  std::vector<SplitItem> more = few;
  more.push_back({"f", "p5", 1, "sick"});
  try {
    hold_out(more, 0.01, 1);
    FAIL("nothing can be held out");
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK(text.find("the validation part has no image of class") != std::string::npos);
    CHECK(text.find("hold out another share") != std::string::npos);
    CHECK(text.find("folds") == std::string::npos);
  }
  const Splits splits = hold_out(more, 0.4, 1);
  const std::string text = describe_splits(splits, more);
  CHECK(text.find("of class 'sick'") != std::string::npos);
  CHECK(text.find("fold") == std::string::npos);
}

TEST_CASE("samples without classes are dealt out by patient alone") {
  const std::vector<SplitItem> two{{"a", "p", 0}, {"b", "q", 0}};
  const Splits splits = hold_out(two, 0.5, 1);
  CHECK(splits.folds[0].train.size() == 1);
  CHECK(describe_splits(splits, two) ==
        "training 1 images, 1 patients; validation 1 images, 1 patients\n");
  CHECK_THROWS_WITH_AS(
      k_fold(two, 3, 1),
      doctest::Contains(
          "the data has 2 patients, fewer than the 3 folds, and each fold needs one to hold "
          "out; use at most 2 folds, or bring more patients (the data: 2 images of 2 patients)"),
      Error);
}

TEST_CASE("splits from a file are verified, and the offending ids are named") {
  test::TempFolder folder;
  const auto samples = cohort(40, 4);
  const Splits good = k_fold(samples, 4, 9);
  const auto path = folder / "splits.json";
  save_splits(path, good, samples);
  const Splits back = load_splits(path, samples);
  CHECK(back.seed == 9);
  for (std::size_t f = 0; f < 4; ++f) {
    CHECK(back.folds[f].train == good.folds[f].train);
    CHECK(back.folds[f].validation == good.folds[f].validation);
  }
  const auto refused = [&](const Splits& splits, const char* wanted) {
    CHECK_THROWS_WITH_AS(check_splits(splits, samples), doctest::Contains(wanted), Error);
  };
  Splits bad = good;
  const std::string moved = bad.folds[0].validation[0];
  bad.folds[0].train.push_back(moved);
  refused(bad, ("fold 1: samples in training and in validation: '" + moved + "'").c_str());
  // A patient with several images, one of them moved to the other side.
  bad = good;
  std::string id, group;
  for (const SplitItem& s : samples) {
    const auto& v = good.folds[1].validation;
    if (std::count_if(samples.begin(), samples.end(),
                      [&](const SplitItem& o) { return o.group == s.group; }) > 1 &&
        std::find(v.begin(), v.end(), s.id) != v.end()) {
      id = s.id;
      group = s.group;
    }
  }
  std::erase(bad.folds[1].validation, id);
  bad.folds[1].train.push_back(id);
  refused(bad,
          ("fold 2: groups (patients) in training and in validation: '" + group + "'").c_str());
  bad.grouping = Grouping::image;
  refused(bad, ("not held out exactly once: '" + id + "'").c_str());
  bad = good;
  bad.folds[2].train.push_back("stranger.png");
  refused(bad, "fold 3: samples that the data does not have: 'stranger.png'");
  bad = good;
  bad.folds[0].train.push_back(bad.folds[0].train[0]);
  refused(bad, "samples listed twice");
  bad = good;
  bad.folds[0].train.pop_back();
  refused(bad, "samples of the data on neither side");
  bad = good;
  bad.folds.pop_back();
  refused(bad, "not held out exactly once");
  CHECK_THROWS_AS(save_splits(path, bad, samples), Error);
  // A file edited by hand.
  auto json = load_json(path);
  json["folds"][0]["validation"].push_back(json["folds"][0]["train"][0]);
  save_json(path, json);
  CHECK_THROWS_WITH_AS(load_splits(path, samples), doctest::Contains("splits.json: fold 1: "),
                       Error);
  json["fold"] = 1;
  save_json(path, json);
  CHECK_THROWS_WITH_AS(load_splits(path, samples), doctest::Contains("did you mean 'folds'?"),
                       Error);
  CHECK(describe_splits(good, samples).find("fold 4: training ") != std::string::npos);
}

TEST_CASE(
    "splits that were changed in their file are refused, those without a checksum are taken") {
  test::TempFolder folder;
  const auto samples = cohort(40, 4);
  const auto path = folder / "splits.json";
  save_splits(path, k_fold(samples, 4, 9), samples);
  // Folds that change places are valid splits: only the checksum can tell.
  auto json = load_json(path);
  std::swap(json["folds"][0], json["folds"][1]);
  save_json(path, json);
  CHECK_THROWS_WITH_AS(load_splits(path, samples),
                       doctest::Contains("splits.json: is not as it was written (checksum "),
                       Error);
  json.erase("checksum");
  save_json(path, json);
  const Splits taken = load_splits(path, samples);
  CHECK(taken.folds[0].validation == k_fold(samples, 4, 9).folds[1].validation);
}
