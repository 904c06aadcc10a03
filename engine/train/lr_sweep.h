// A learning rate found by trying: one short run through which the rate rises exponentially.
// Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/optim/schedule.h"

namespace thorax {

struct LrSweepOptions {
  double from = 1e-7, to = 10;  // rates of the first and the last step
  std::int64_t steps = 100;
  double smoothing = 0.9;    // decay of the loss's exponential average, bias-corrected
  double divergence = 4;     // ends where the average exceeds so many times its minimum ...
  std::int64_t settle = 10;  // ... after so many steps
};

class LrSweep {
 public:
  // Throws Error "[lr-find] ..." unless 0 < from < to and there are 10 steps or more.
  explicit LrSweep(const LrSweepOptions& options);

  // from * (to / from)^(k / (steps - 1)) in step k, for a Trainer.
  ScheduleOptions schedule() const;
  // The loss of the next step. False: it diverges (or is not finite), and the sweep is over.
  bool add(double lr, double loss);

  struct Row {
    double lr = 0, loss = 0, smoothed = 0;
  };
  const std::vector<Row>& rows() const { return rows_; }  // of finite losses
  bool diverged() const { return diverged_; }

  struct Suggestion {
    double steepest = 0;  // rate at which the smoothed loss falls fastest in log(rate)
    double lowest = 0;    // rate of the smallest smoothed loss: too large already
  };
  // Nothing when the loss does not fall anywhere: no rate is better than another then. A fall
  // counts where the mean loss of the five steps behind it is below that of the five up to it: a
  // single batch that is easy, or the last ones before the loss explodes, make none.
  std::optional<Suggestion> suggestion() const;
  // Where a drawing's axis of the loss is to end: the larger of twice the lowest smoothed loss and
  // 1.1 times the largest one up to there. A diverging step is not seen; it would flatten the rest.
  // 0 without a row.
  double drawn_up_to() const;

 private:
  LrSweepOptions options_;
  std::vector<Row> rows_;
  double average_ = 0, least_ = 0;
  bool diverged_ = false;
};

}  // namespace thorax
