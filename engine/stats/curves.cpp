#include "engine/stats/curves.h"

#include <algorithm>
#include <limits>

#include "engine/stats/numbers.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double share(std::int64_t part, std::int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

struct Totals {
  std::int64_t positives = 0, negatives = 0;
};
Totals totals(const std::vector<ScoreGroup>& groups) {
  Totals sum;
  for (const ScoreGroup& group : groups) {
    sum.positives += group.positives;
    sum.negatives += group.negatives;
  }
  return sum;
}

}  // namespace

std::vector<PrecisionRecallPoint> precision_recall_curve(std::span<const int> labels,
                                                         std::span<const double> scores) {
  const std::vector<ScoreGroup> groups = score_groups(labels, scores);
  const std::int64_t positives = totals(groups).positives;
  std::vector<PrecisionRecallPoint> curve;
  if (positives == 0) return curve;
  curve.push_back({1, 0, kInfinity});
  std::int64_t tp = 0, fp = 0;
  for (const ScoreGroup& group : groups) {
    tp += group.positives;
    fp += group.negatives;
    curve.push_back({share(tp, tp + fp), share(tp, positives), group.score});
  }
  std::reverse(curve.begin(), curve.end());
  return curve;
}

double average_precision(std::span<const int> labels, std::span<const double> scores) {
  std::int64_t tp = 0, fp = 0;
  double sum = 0;
  for (const ScoreGroup& group : score_groups(labels, scores)) {
    tp += group.positives;
    fp += group.negatives;
    if (group.positives > 0) sum += share(tp, tp + fp) * static_cast<double>(group.positives);
  }
  return tp == 0 ? kUndefined : sum / static_cast<double>(tp);
}

OperatingPoint youden_point(std::span<const int> labels, std::span<const double> scores) {
  const std::vector<ScoreGroup> groups = score_groups(labels, scores);
  const auto [positives, negatives] = totals(groups);
  OperatingPoint best{kUndefined, kUndefined, kUndefined};
  if (positives == 0 || negatives == 0) return best;
  std::int64_t tp = 0, fp = 0, most = std::numeric_limits<std::int64_t>::min();
  for (const ScoreGroup& group : groups) {
    tp += group.positives;
    fp += group.negatives;
    // J times both counts, in whole numbers: ties are ties.
    if (const std::int64_t j = tp * negatives - fp * positives; j > most) {
      most = j;
      best = {group.score, share(tp, positives), share(negatives - fp, negatives)};
    }
  }
  return best;
}

OperatingPoint sensitivity_at(double specificity, std::span<const int> labels,
                              std::span<const double> scores) {
  THORAX_CHECK(specificity >= 0 && specificity <= 1, "[stats] specificity {} is not a share",
               specificity);
  const std::vector<ScoreGroup> groups = score_groups(labels, scores);
  const auto [positives, negatives] = totals(groups);
  if (positives == 0 || negatives == 0) return {kUndefined, kUndefined, kUndefined};
  OperatingPoint best{kInfinity, 0, 1};
  std::int64_t tp = 0, fp = 0;
  for (const ScoreGroup& group : groups) {
    tp += group.positives;
    fp += group.negatives;
    const double reached = share(negatives - fp, negatives);
    if (reached < specificity) break;
    if (group.positives > 0) best = {group.score, share(tp, positives), reached};
  }
  return best;
}

}  // namespace thorax
