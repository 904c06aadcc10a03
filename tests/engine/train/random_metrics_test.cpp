// Random predictions, with many ties, against the definitions of the measures: pairs counted one by
// one, every threshold tried.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "engine/stats/curves.h"
#include "engine/train/metrics.h"

using namespace thorax;

namespace {

struct Predictions {
  std::vector<int> labels;
  std::vector<double> scores;
};

Predictions random_predictions(std::mt19937& random) {
  Predictions p;
  const std::size_t n = 1 + random() % 40, levels = 1 + random() % 30;
  const unsigned positives = random() % 11;  // of ten; 0 and 10: one class only
  for (std::size_t i = 0; i < n; ++i) {
    p.labels.push_back(random() % 10 < positives);
    p.scores.push_back(static_cast<double>(random() % levels) / static_cast<double>(levels));
  }
  return p;
}

// NaN equals NaN: not defined on both sides.
bool same(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= 1e-12;
}

double share(std::int64_t part, std::int64_t of) {
  return of == 0 ? std::nan("") : static_cast<double>(part) / static_cast<double>(of);
}

BinaryCounts counted(const Predictions& p, double threshold) {
  BinaryCounts c;
  for (std::size_t i = 0; i < p.labels.size(); ++i) {
    const bool yes = p.scores[i] >= threshold;
    ++(p.labels[i] ? (yes ? c.tp : c.fn) : (yes ? c.fp : c.tn));
  }
  return c;
}

// Distinct scores, rising.
std::vector<double> thresholds(const Predictions& p) {
  const std::set<double> distinct(p.scores.begin(), p.scores.end());
  return {distinct.begin(), distinct.end()};
}

}  // namespace

TEST_CASE("random predictions: counts and ratios are their definitions") {
  std::mt19937 random(21);
  for (int round = 0; round < 500; ++round) {
    const Predictions p = random_predictions(random);
    const double threshold = round % 2 ? p.scores[0] : 0.5;
    const BinaryCounts c = binary_counts(p.labels, p.scores, threshold), d = counted(p, threshold);
    REQUIRE(c == d);
    REQUIRE(same(c.accuracy(), share(d.tp + d.tn, d.total())));
    REQUIRE(same(c.sensitivity(), share(d.tp, d.tp + d.fn)));
    REQUIRE(same(c.specificity(), share(d.tn, d.tn + d.fp)));
    REQUIRE(same(c.ppv(), share(d.tp, d.tp + d.fp)));
    REQUIRE(same(c.npv(), share(d.tn, d.tn + d.fn)));
    REQUIRE(same(c.f1(), share(2 * d.tp, 2 * d.tp + d.fp + d.fn)));
  }
}

TEST_CASE("random predictions: the area under the curve counts pairs") {
  std::mt19937 random(22);
  for (int round = 0; round < 500; ++round) {
    const Predictions p = random_predictions(random);
    std::int64_t pairs = 0, twice_won = 0;
    for (std::size_t i = 0; i < p.labels.size(); ++i)
      for (std::size_t j = 0; j < p.labels.size(); ++j) {
        if (p.labels[i] != 1 || p.labels[j] != 0) continue;
        ++pairs;
        twice_won += p.scores[i] > p.scores[j] ? 2 : p.scores[i] == p.scores[j] ? 1 : 0;
      }
    REQUIRE(same(roc_auc(p.labels, p.scores), share(twice_won, 2 * pairs)));
    // The area below the corners of the curve is the same.
    const std::vector<RocPoint> curve = roc_curve(p.labels, p.scores);
    REQUIRE(curve.empty() == (pairs == 0));
    double area = 0;
    for (std::size_t i = 1; i < curve.size(); ++i)
      area += (curve[i].false_positive_rate - curve[i - 1].false_positive_rate) *
              (curve[i].true_positive_rate + curve[i - 1].true_positive_rate) / 2;
    if (pairs > 0) REQUIRE(same(area, share(twice_won, 2 * pairs)));
  }
}

TEST_CASE("random predictions: average precision and operating points, threshold by threshold") {
  std::mt19937 random(23);
  for (int round = 0; round < 500; ++round) {
    const Predictions p = random_predictions(random);
    const std::vector<double> all = thresholds(p);
    const bool both = std::count(p.labels.begin(), p.labels.end(), 1) > 0 &&
                      std::count(p.labels.begin(), p.labels.end(), 0) > 0;
    double precision_sum = 0, recall_before = 0;
    double best_j = -1, best_at = 0, best_sensitivity = -1, serves_at = 0;
    const double wanted = static_cast<double>(random() % 101) / 100;
    for (auto t = all.rbegin(); t != all.rend(); ++t) {  // from the highest: ties go to it
      const BinaryCounts c = counted(p, *t);
      const double recall = share(c.tp, c.tp + c.fn);
      precision_sum += (recall - recall_before) * share(c.tp, c.tp + c.fp);
      recall_before = recall;
      const double specificity = share(c.tn, c.tn + c.fp);
      if (recall + specificity - 1 > best_j + 1e-12) {
        best_j = recall + specificity - 1;
        best_at = *t;
      }
      if (specificity >= wanted && recall > best_sensitivity) {
        best_sensitivity = recall;
        serves_at = *t;
      }
    }
    REQUIRE(same(average_precision(p.labels, p.scores), precision_sum));
    const OperatingPoint youden = youden_point(p.labels, p.scores);
    const OperatingPoint at = sensitivity_at(wanted, p.labels, p.scores);
    if (!both) {
      REQUIRE(std::isnan(youden.threshold));
      REQUIRE(std::isnan(at.threshold));
      continue;
    }
    REQUIRE(same(youden.youden(), best_j));
    REQUIRE(youden.threshold == best_at);
    if (best_sensitivity <= 0) {
      REQUIRE(at.sensitivity == 0);
      continue;
    }
    REQUIRE(same(at.sensitivity, best_sensitivity));
    REQUIRE(at.threshold == serves_at);
    REQUIRE(at.specificity >= wanted);
  }
}

TEST_CASE("random decisions between several classes: every ratio is its definition") {
  std::mt19937 random(24);
  for (int round = 0; round < 300; ++round) {
    const int classes = 2 + static_cast<int>(random() % 4);
    const std::size_t n = random() % 30;
    std::vector<std::pair<int, int>> decisions;  // actual, predicted
    ConfusionMatrix matrix(classes);
    for (std::size_t i = 0; i < n; ++i) {
      decisions.emplace_back(random() % static_cast<unsigned>(classes),
                             random() % static_cast<unsigned>(classes));
      matrix.add(decisions.back().first, decisions.back().second);
    }
    const auto number = [&](auto&& which) {
      return static_cast<std::int64_t>(
          std::count_if(decisions.begin(), decisions.end(),
                        [&](const auto& d) { return which(d.first, d.second); }));
    };
    REQUIRE(same(matrix.accuracy(),
                 share(number([](int a, int p) { return a == p; }), static_cast<std::int64_t>(n))));
    double recalls = 0;
    int present = 0;
    for (int c = 0; c < classes; ++c) {
      const std::int64_t hit = number([&](int a, int p) { return a == c && p == c; });
      const std::int64_t actual = number([&](int a, int) { return a == c; });
      const std::int64_t predicted = number([&](int, int p) { return p == c; });
      REQUIRE(same(matrix.recall(c), share(hit, actual)));
      REQUIRE(same(matrix.precision(c), share(hit, predicted)));
      REQUIRE(same(matrix.f1(c), share(2 * hit, actual + predicted)));
      if (actual > 0) {
        recalls += share(hit, actual);
        ++present;
      }
    }
    REQUIRE(same(matrix.balanced_accuracy(), present ? recalls / present : std::nan("")));
  }
}
