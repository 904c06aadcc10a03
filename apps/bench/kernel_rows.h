// The rows of `thorax bench kernels`: one for each problem, pass and provider, checked before it is
// timed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/bench/device_timer.h"
#include "apps/bench/kernel_work.h"
#include "apps/bench/ptx_counts.h"

namespace thorax::app {

struct KernelRow {
  std::string operation, pass, shape, dtype, provider, device, machine;
  int threads = 0;    // of the CPU
  std::string check;  // ok, wrong, failed, unsupported, or sampled: not checked
  std::string note;   // why it is not ok
  std::optional<double> error_of_allowed;  // at most 1 where the result is right
  // Seconds; the spread is the distance of the quartiles. None on a simulated device.
  std::optional<double> median, spread;
  std::optional<double> flops, bytes;            // a second
  std::optional<double> of_peak, of_copy;        // shares of what this run measured
  std::optional<std::int64_t> workspace;         // bytes beside the pass's own tensors
  std::optional<std::int64_t> launches, blocks;  // counted, on a simulated device
  std::optional<PtxCounts> counted;              // on ptx:N
  std::optional<double> dram_over_least;         // of `counted`, over the bytes of the pass
  std::optional<double> ratio;                   // earlier median / this median
  bool bad() const { return check == "wrong" || check == "failed"; }
};

// Measures rows on one device, and once what they are shares of: the bandwidth of a copy, and for
// each type the fastest product of large matrices.
class KernelBench {
 public:
  // sampled_blocks > 0, on ptx:N: of each launch so many blocks for each multiprocessor are
  // counted, and nothing is checked.
  KernelBench(Device device, int repeats, int sampled_blocks = 0);
  // The rows of a pass, each given to `done` as soon as it is there. A row that fails is a row; the
  // Error goes on only when the device does not work any more.
  void measure(const KernelPass& pass, const std::function<void(KernelRow)>& done);

 private:
  void fill(KernelRow& row, const KernelPass& pass, const KernelRun& run);
  double copy_rate();
  std::optional<double> peak(const std::string& dtype);

  Device device_;
  DeviceTimer timer_;
  int sampled_blocks_ = 0;
  std::optional<double> copy_rate_;
  std::map<std::string, std::optional<double>> peaks_;
};

std::string kernel_csv(const std::vector<KernelRow>& rows);
nlohmann::ordered_json kernel_json(const std::vector<KernelRow>& rows);
std::string kernel_line(const KernelRow& row);
std::string kernel_header();

// An earlier CSV file of this command.
class Baseline {
 public:
  // Throws Error "[bench kernels] FILE: ..." (or the table's own) for a file that is none.
  explicit Baseline(const std::string& file);
  // Sets the row's ratio where the file has a time for the same operation, pass, shape, dtype,
  // provider and device.
  void compare(KernelRow& row);
  // Rows with a time that no compare() has met.
  std::size_t unmet() const { return medians_.size() - met_; }

 private:
  struct Entry {
    double median;
    bool met = false;
  };
  std::map<std::vector<std::string>, Entry> medians_;
  std::size_t met_ = 0;
};

}  // namespace thorax::app
