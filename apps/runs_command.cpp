// `thorax runs`: a table of the runs below a folder; their metrics as CSV; TensorBoard.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "apps/command.h"
#include "apps/report/table.h"
#include "apps/report/text.h"
#include "apps/run_events.h"
#include "apps/run_index.h"
#include "engine/io/atomic_file.h"
#include "engine/io/json_text.h"
#include "engine/io/output_folder.h"
#include "engine/train/run_folder.h"
#include "engine/train/stop_signal.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string folder, sort, metrics, tensorboard;
  std::vector<std::string> filters;
  std::int64_t images = 8;
  double seconds = 10;
  bool json = false, folds = false, follow = false;
};

std::size_t column_of(const Table& table, const std::string& name, const char* option) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (table.columns[i].name == name) return i;
    names.push_back(table.columns[i].name);
  }
  fail("[runs] {} {}: there is no such column; there are: {}", option, name,
       fmt::join(names, ", "));
}

// Rows whose cell is VALUE in every COLUMN=VALUE; a text that holds VALUE is enough.
std::vector<std::size_t> chosen_rows(const Table& table, const std::vector<std::string>& filters) {
  std::vector<std::pair<std::size_t, std::string>> wanted;
  for (const std::string& filter : filters) {
    const std::size_t equals = filter.find('=');
    THORAX_CHECK(equals != std::string::npos, "[runs] --filter {}: wants COLUMN=VALUE", filter);
    wanted.emplace_back(column_of(table, filter.substr(0, equals), "--filter"),
                        filter.substr(equals + 1));
  }
  std::vector<std::size_t> rows;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const bool fits = std::all_of(wanted.begin(), wanted.end(), [&](const auto& w) {
      const std::string text = cell_text(table.rows[r][w.first], table.columns[w.first]);
      return table.columns[w.first].kind == CellKind::text
                 ? text.find(w.second) != std::string::npos
                 : text == w.second;
    });
    if (fits) rows.push_back(r);
  }
  return rows;
}

double number_of(const Cell& cell) {
  if (const auto* integer = std::get_if<std::int64_t>(&cell)) return static_cast<double>(*integer);
  if (const auto* real = std::get_if<double>(&cell)) return *real;
  return -std::numeric_limits<double>::infinity();
}

// Texts upwards, numbers downwards: the best AUC first. "-COLUMN" the other way round.
void sort_rows(Table& table, std::string name) {
  const bool reverse = name.starts_with("-");
  if (reverse) name.erase(0, 1);
  const std::size_t c = column_of(table, name, "--sort");
  const bool text = table.columns[c].kind == CellKind::text;
  std::stable_sort(table.rows.begin(), table.rows.end(), [&](const auto& left, const auto& right) {
    const auto& a = reverse ? right : left;
    const auto& b = reverse ? left : right;
    if (text) return cell_text(a[c], table.columns[c]) < cell_text(b[c], table.columns[c]);
    return number_of(a[c]) > number_of(b[c]);
  });
}

void say_unreadable(const RunIndex& index) {
  for (const std::string& reason : index.unreadable)
    fmt::print(stderr, "[runs] left out: {}\n", visible(reason));
}

void check_out(const Options& o) {
  const fs::path out = fs::weakly_canonical(o.tensorboard);
  for (const RunEntry& run : find_runs(o.folder).runs)
    THORAX_CHECK(!is_inside(out, fs::canonical(run.folder)),
                 "[runs] --tensorboard {}: lies inside the run {}; name a folder beside it",
                 o.tensorboard, run.name);
}

void write_tensorboard(const Options& o) {
  check_out(o);
  const StopSignal stop;
  for (bool first = true;; first = false) {
    const RunIndex index = find_runs(o.folder);
    THORAX_CHECK(!first || !index.runs.empty() || o.follow, "[runs] {}: no run is below it",
                 o.folder);
    const EventCounts counts = write_events(index.runs, {o.tensorboard, o.images});
    if (first) {
      say_unreadable(index);
      for (const std::string& note : counts.notes)
        fmt::print(stderr, "[runs] note: {}\n", visible(note));
    }
    if (first || counts.written > 0)
      fmt::print("{}: {} runs, {} event files, {} of them new or longer; tensorboard --logdir {}\n",
                 visible(o.tensorboard), index.runs.size(), counts.files, counts.written,
                 visible(o.tensorboard));
    std::fflush(stdout);
    if (!o.follow) return;
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(o.seconds);
    while (std::chrono::steady_clock::now() < until && !stop_requested())
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (stop_requested()) return;
  }
}

void run(const Options& o) {
  THORAX_CHECK(!o.follow || !o.tensorboard.empty(), "[runs] --follow goes with --tensorboard");
  if (!o.tensorboard.empty()) return write_tensorboard(o);
  if (!o.metrics.empty()) check_output_file(o.metrics);
  const RunIndex index = find_runs(o.folder);
  say_unreadable(index);
  if (!o.metrics.empty()) {
    atomic_write(o.metrics, metrics_csv(index.runs));
    fmt::print("{}: the metrics of {} runs\n", visible(o.metrics), index.runs.size());
    return;
  }
  Table table = run_table(index.runs, o.folds);
  std::vector<std::vector<Cell>> rows;
  for (const std::size_t r : chosen_rows(table, o.filters)) rows.push_back(table.rows[r]);
  table.rows = std::move(rows);
  if (!o.sort.empty()) sort_rows(table, o.sort);
  if (o.json)
    fmt::print("{}\n", dump_json(to_json(table), 2));
  else if (table.rows.empty())
    fmt::print("{}: no run is below it{}\n", visible(o.folder),
               o.filters.empty() ? "" : " that --filter leaves");
  else
    fmt::print("{}", to_text(table));
}

void add(CLI::App& root) {
  static Options o;
  CLI::App* c = root.add_subcommand("runs", "The runs below a folder; their curves in TensorBoard");
  c->add_option("folder", o.folder, "Where to look")->required();
  c->add_flag("--folds", o.folds, "A row for every fold");
  c->add_option("--sort", o.sort,
                "By this column: texts upwards, numbers downwards; -COLUMN the other way round");
  c->add_option("--filter", o.filters, "Only rows where COLUMN=VALUE; texts need only hold VALUE");
  c->add_flag("--json", o.json, "Print JSON");
  c->add_option("--metrics", o.metrics, "Write every epoch's metrics to this CSV file");
  c->add_option("--tensorboard", o.tensorboard,
                "Write event files below this folder: metrics, configuration, pictures, "
                "precision-recall curves");
  c->add_option("--images", o.images, "With --tensorboard: most pictures of each folder")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1000000}));
  c->add_flag("--follow", o.follow, "With --tensorboard: go on as the runs do, until Ctrl-C");
  c->add_option("--seconds", o.seconds, "With --follow: how often to look")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 86400.0));
  c->footer(
      "Examples:\n  thorax runs runs --sort AUC --filter state=finished\n"
      "  thorax runs runs --tensorboard boards --follow");
  c->callback([] { run(o); });
}

}  // namespace
THORAX_COMMAND(72, add)
}  // namespace thorax::app
