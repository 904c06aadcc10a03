#include "apps/bench/kernel_rows.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "apps/bench/step_timing.h"
#include "data/csv.h"
#include "engine/runtime/allocator.h"
#include "engine/runtime/parallel.h"
#include "engine/runtime/ptx_devices.h"
#include "engine/runtime/sim/census.h"
#include "kernels/common/trial.h"
#include "kernels/linear/linear.h"

namespace thorax::app {
namespace {

// Runs once under a count that runs nothing.
void count(KernelRow& row, const KernelRun& run) {
  const sim::Census census;
  run.work();
  std::int64_t launches = 0, blocks = 0;
  for (const sim::Launch& l : census.launches()) {
    if (l.kernel == "fill" || l.kernel == "copy") continue;
    ++launches;
    blocks += static_cast<std::int64_t>(l.blocks);
  }
  row.launches = launches;
  row.blocks = blocks;
}

// A column of the CSV file: its title, and the field of a row.
struct Column {
  const char* title;
  std::string (*text)(const KernelRow&);
};

std::string number(const std::optional<double>& value, double scale = 1) {
  return value ? fmt::format("{:.6g}", *value * scale) : std::string();
}
std::string number(const std::optional<std::int64_t>& value) {
  return value ? std::to_string(*value) : std::string();
}

using R = const KernelRow&;
// A number of what was counted on ptx:N.
std::string counted(R r, double PtxCounts::*field, double scale = 1) {
  return r.counted ? fmt::format("{:.6g}", (*r.counted).*field * scale) : std::string();
}
constexpr Column kColumns[] = {
    {"operation", [](R r) { return r.operation; }},
    {"pass", [](R r) { return r.pass; }},
    {"shape", [](R r) { return r.shape; }},
    {"dtype", [](R r) { return r.dtype; }},
    {"provider", [](R r) { return r.provider; }},
    {"device", [](R r) { return r.device; }},
    {"machine", [](R r) { return r.machine; }},
    {"threads", [](R r) { return std::to_string(r.threads); }},
    {"median_ms", [](R r) { return number(r.median, 1e3); }},
    {"spread_ms", [](R r) { return number(r.spread, 1e3); }},
    {"gflop_per_s", [](R r) { return number(r.flops, 1e-9); }},
    {"gb_per_s", [](R r) { return number(r.bytes, 1e-9); }},
    {"of_measured_peak", [](R r) { return number(r.of_peak); }},
    {"of_copy_bandwidth", [](R r) { return number(r.of_copy); }},
    {"workspace_bytes", [](R r) { return number(r.workspace); }},
    {"launches_counted", [](R r) { return number(r.launches); }},
    {"blocks_counted", [](R r) { return number(r.blocks); }},
    {"instructions_counted", [](R r) { return counted(r, &PtxCounts::instructions); }},
    {"sectors_a_request_counted", [](R r) { return counted(r, &PtxCounts::sectors_a_request); }},
    {"wavefronts_a_request_counted",
     [](R r) { return counted(r, &PtxCounts::wavefronts_a_request); }},
    {"dram_bytes_simulated", [](R r) { return counted(r, &PtxCounts::dram_bytes); }},
    {"dram_over_least_simulated", [](R r) { return number(r.dram_over_least); }},
    {"predicted_ms", [](R r) { return counted(r, &PtxCounts::predicted_seconds, 1e3); }},
    {"predicted_bound", [](R r) { return r.counted ? r.counted->predicted_bound : ""; }},
    {"kernels", [](R r) { return r.counted ? r.counted->kernels : ""; }},
    {"check", [](R r) { return r.check; }},
    {"error_of_allowed", [](R r) { return number(r.error_of_allowed); }},
    {"baseline_ratio", [](R r) { return number(r.ratio); }},
    {"note", [](R r) { return r.note; }},
};

// What makes two rows of two files the same measurement.
constexpr const char* kKey[] = {"operation", "pass", "shape", "dtype", "provider", "device"};

}  // namespace

KernelBench::KernelBench(Device device, int repeats, int sampled_blocks)
    : device_(device), timer_(device, repeats), sampled_blocks_(sampled_blocks) {}

double KernelBench::copy_rate() {
  if (copy_rate_) return *copy_rate_;
  const std::int64_t bytes = std::int64_t{device_.kind == DeviceKind::cpu ? 64 : 256} << 20;
  const Tensor from = Tensor::full({bytes}, 1, DType::u8, device_);
  const Tensor to = Tensor::full({bytes}, 2, DType::u8, device_);
  const auto copy = [&] {
    if (device_.kind != DeviceKind::cpu)
      return copy_bytes(to.raw(), device_, from.raw(), device_, static_cast<std::size_t>(bytes));
    parallel_for(0, bytes, 1 << 20, [&](std::int64_t first, std::int64_t last) {
      std::memcpy(to.data<std::uint8_t>() + first, from.data<std::uint8_t>() + first,
                  static_cast<std::size_t>(last - first));
    });
  };
  copy_rate_ = 2.0 * static_cast<double>(bytes) / timer_.median(copy);
  return *copy_rate_;
}

std::optional<double> KernelBench::peak(const std::string& dtype) {
  if (const auto known = peaks_.find(dtype); known != peaks_.end()) return known->second;
  std::optional<double>& best = peaks_[dtype];
  LinearProblem problem;
  const bool cpu = device_.kind == DeviceKind::cpu;
  problem.rows = cpu ? 1024 : 8192;
  problem.in_features = problem.out_features = cpu ? 1024 : 4096;
  for (const DType type : {DType::f32, DType::f16, DType::bf16})
    if (name_of(type) == dtype) problem.dtype = type;
  if (name_of(problem.dtype) != dtype) return best;  // tf32: no product of matrices rounds so
  for (const LinearProvider& p : linear_providers().all()) {
    const std::string_view name = p.name;
    if (p.device != device_.kind || p.priority(problem) < 0) continue;
    if (name == "reference" || name == "cuda/naive") continue;
    const Tensor x = trial_values(problem.input_shape(), problem.dtype, device_, 1),
                 w = trial_values(problem.weight_shape(), problem.dtype, device_, 2),
                 y = Tensor::empty(problem.output_shape(), problem.dtype, device_);
    const double rate = problem.flops() / timer_.median([&] { p.forward(problem, x, w, {}, y); });
    if (!best || rate > *best) best = rate;
  }
  return best;
}

void KernelBench::fill(KernelRow& row, const KernelPass& pass, const KernelRun& run) {
  const auto count_ptx = [&] {
    row.counted = count_on_ptx(device_, run.work, sampled_blocks_);
    row.launches = row.counted->launches;
    row.blocks = row.counted->blocks;
    row.dram_over_least = row.counted->dram_bytes / pass.bytes;
  };
  if (sampled_blocks_ > 0) {
    row.check = "sampled";
    return count_ptx();
  }
  row.error_of_allowed = run.check();
  if (!(*row.error_of_allowed <= 1)) {
    row.check = "wrong";
    row.note = fmt::format("the error is {:.3g} times what rounding allows; not timed",
                           *row.error_of_allowed);
    return;
  }
  row.check = "ok";
  Allocator& memory = allocator(device_);
  const std::size_t before = memory.stats().in_use;
  memory.reset_peak();
  if (is_ptx(device_)) {
    count_ptx();
  } else {
    run.work();
    synchronize(device_);
  }
  row.workspace = static_cast<std::int64_t>(memory.stats().peak_in_use - before);
  if (row.counted) return;
  if (device_.kind == DeviceKind::sim) return count(row, run);
  const auto [median, spread] = quartiles(timer_.sorted_seconds(run.work));
  row.median = median;
  row.spread = spread;
  if (!(*row.median > 0)) return;
  row.bytes = pass.bytes / *row.median;
  row.of_copy = *row.bytes / copy_rate();
  if (pass.flops == 0) return;
  row.flops = pass.flops / *row.median;
  if (const std::optional<double> best = peak(row.dtype)) row.of_peak = *row.flops / *best;
}

void KernelBench::measure(const KernelPass& pass, const std::function<void(KernelRow)>& done) {
  KernelRow common;
  common.operation = pass.operation;
  common.pass = pass.pass;
  common.shape = pass.shape;
  common.dtype = pass.dtype;
  common.provider = "all";
  common.device = device_text(device_);
  common.machine = machine_name(device_);
  common.threads = num_threads();
  const auto attempt = [&](KernelRow& row, const auto& work) {
    try {
      work();
    } catch (const Error& error) {
      row.check = "failed";
      row.note = error.what();
      std::replace(row.note.begin(), row.note.end(), '\n', ' ');
      synchronize(device_);  // throws when the device is of no use any more
    }
  };
  std::vector<KernelRun> runs;
  attempt(common, [&] { runs = pass.prepare(); });
  if (!common.check.empty()) return done(common);
  for (const KernelRun& run : runs) {
    KernelRow row = common;
    row.provider = run.provider;
    row.dtype = run.dtype;
    if (run.unsupported.empty()) {
      attempt(row, [&] { fill(row, pass, run); });
    } else {
      row.check = "unsupported";
      row.note = run.unsupported;
    }
    done(row);
  }
}

std::string kernel_csv(const std::vector<KernelRow>& rows) {
  std::vector<std::string> fields;
  for (const Column& column : kColumns) fields.emplace_back(column.title);
  std::string text = csv_line(fields);
  for (const KernelRow& row : rows) {
    fields.clear();
    for (const Column& column : kColumns) fields.push_back(column.text(row));
    text += csv_line(fields);
  }
  return text;
}

nlohmann::ordered_json kernel_json(const std::vector<KernelRow>& rows) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  const auto value = [](const auto& optional, double scale = 1) {
    return optional ? nlohmann::ordered_json(static_cast<double>(*optional) * scale)
                    : nlohmann::ordered_json();
  };
  const auto whole = [](const std::optional<std::int64_t>& optional) {
    return optional ? nlohmann::ordered_json(*optional) : nlohmann::ordered_json();
  };
  for (const KernelRow& r : rows) {
    const auto counts = [&](double PtxCounts::*field, double scale = 1) {
      return r.counted ? nlohmann::ordered_json((*r.counted).*field * scale)
                       : nlohmann::ordered_json();
    };
    const auto texts = [&](std::string PtxCounts::*field) {
      return r.counted ? nlohmann::ordered_json((*r.counted).*field) : nlohmann::ordered_json();
    };
    all.push_back({{"operation", r.operation},
                   {"pass", r.pass},
                   {"shape", r.shape},
                   {"dtype", r.dtype},
                   {"provider", r.provider},
                   {"device", r.device},
                   {"machine", r.machine},
                   {"threads", r.threads},
                   {"median_ms", value(r.median, 1e3)},
                   {"spread_ms", value(r.spread, 1e3)},
                   {"gflop_per_s", value(r.flops, 1e-9)},
                   {"gb_per_s", value(r.bytes, 1e-9)},
                   {"of_measured_peak", value(r.of_peak)},
                   {"of_copy_bandwidth", value(r.of_copy)},
                   {"workspace_bytes", whole(r.workspace)},
                   {"launches_counted", whole(r.launches)},
                   {"blocks_counted", whole(r.blocks)},
                   {"instructions_counted", counts(&PtxCounts::instructions)},
                   {"sectors_a_request_counted", counts(&PtxCounts::sectors_a_request)},
                   {"wavefronts_a_request_counted", counts(&PtxCounts::wavefronts_a_request)},
                   {"dram_bytes_simulated", counts(&PtxCounts::dram_bytes)},
                   {"dram_over_least_simulated", value(r.dram_over_least)},
                   {"predicted_ms", counts(&PtxCounts::predicted_seconds, 1e3)},
                   {"predicted_bound", texts(&PtxCounts::predicted_bound)},
                   {"kernels", texts(&PtxCounts::kernels)},
                   {"check", r.check},
                   {"error_of_allowed", value(r.error_of_allowed)},
                   {"baseline_ratio", value(r.ratio)},
                   {"note", r.note}});
  }
  return all;
}

std::string kernel_header() {
  return fmt::format("{:<17}{:<9}{:<46} {:<6}{:<18}{:>11}{:>10}{:>10}{:>8}{:>7}{:>7}{:>10}  {}",
                     "operation", "pass", "shape", "dtype", "provider", "median ms", "spread ms",
                     "GFLOP/s", "GB/s", "peak", "copy", "workspace", "check");
}

std::string kernel_line(const KernelRow& r) {
  const auto text = [](const std::optional<double>& value, double scale, int digits) {
    return value ? fmt::format("{:.{}f}", *value * scale, digits) : std::string("-");
  };
  const auto percent = [](const std::optional<double>& value) {
    return value ? fmt::format("{:.0f} %", *value * 100) : std::string("-");
  };
  std::string line = fmt::format(
      "{:<17}{:<9}{:<46} {:<6}{:<18}{:>11}{:>10}{:>10}{:>8}{:>7}{:>7}{:>10}  {}", r.operation,
      r.pass, r.shape, r.dtype, r.provider, text(r.median, 1e3, 4), text(r.spread, 1e3, 4),
      text(r.flops, 1e-9, 1), text(r.bytes, 1e-9, 1), percent(r.of_peak), percent(r.of_copy),
      r.workspace ? std::to_string(*r.workspace) : "-", r.check);
  if (r.launches) line += fmt::format(", {} launches, {} blocks", *r.launches, *r.blocks);
  if (r.counted)
    line += fmt::format(
        ", {:.3g} instructions, {:.1f} sectors and {:.1f} wavefronts a request, DRAM {:.2f} times "
        "the least; predicted {:.4f} ms ({})",
        r.counted->instructions, r.counted->sectors_a_request, r.counted->wavefronts_a_request,
        *r.dram_over_least, r.counted->predicted_seconds * 1e3, r.counted->predicted_bound);
  if (r.ratio) line += fmt::format(", {:.2f} times the baseline's speed", *r.ratio);
  if (!r.note.empty()) line += ": " + r.note;
  return line;
}

Baseline::Baseline(const std::string& file) {
  const CsvTable table = CsvTable::read(file);
  const int median = table.column("median_ms");
  for (std::int64_t i = 0; i < table.rows(); ++i) {
    const std::string& text = table.at(i, median);
    if (text.empty()) continue;  // failed, or simulated
    double milliseconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), milliseconds);
    THORAX_CHECK(error == std::errc() && end == text.data() + text.size() && milliseconds > 0 &&
                     std::isfinite(milliseconds),
                 "[bench kernels] {}: median_ms is '{}', not a positive number; --baseline takes "
                 "what --csv has written",
                 table.where(i), text);
    std::vector<std::string> key;
    for (const char* title : kKey) key.push_back(table.at(i, table.column(title)));
    THORAX_CHECK(medians_.emplace(key, Entry{milliseconds * 1e-3}).second,
                 "[bench kernels] {}: a second row of {}; keep one of each problem, pass and "
                 "provider",
                 table.where(i), fmt::join(key, ", "));
  }
}

void Baseline::compare(KernelRow& row) {
  if (!row.median) return;
  const auto found =
      medians_.find({row.operation, row.pass, row.shape, row.dtype, row.provider, row.device});
  if (found == medians_.end()) return;
  row.ratio = found->second.median / *row.median;
  met_ += !found->second.met;
  found->second.met = true;
}

}  // namespace thorax::app
