// Every crash point and every fault on every command: see tests/RELIABILITY.md.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "tests/reliability/campaign.h"
#include "tests/reliability/gnuplot_stub.h"
#include "tests/reliability/memory_checks.h"
#include "tests/reliability/soak.h"
#include "tests/support/temp_folder.h"

namespace thorax::reliability {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kUsage =
    "  --thorax FILE    the program\n"
    "  --shim FILE      the library that makes the faults\n"
    "  --folder FOLDER  scratch folder (default: one that is removed at the end)\n"
    "  --minutes N      time limit (default: until every point was tried)\n"
    "  --points N       runs per command at most\n"
    "  --command NAME   only this command; may be given several times\n"
    "  --point POINT    only this one, as \"CALL FAULT [VARIANT]\"; the fault by its number from "
    "0\n"
    "  --seed N         order of the points, and what random power losses leave\n"
    "  --variants N     random power losses at each call (default 3)\n"
    "  --allocations N  allocations that fail, one a run, of each kind (default 200)\n"
    "  --jobs N         processes at a time (default 2)\n"
    "  --table FILE     CSV file for the figures\n"
    "  --data FOLDER    real images in place of phantoms (default none)\n"
    "  --signals N      instead of points: signals at random moments until N have met a run\n"
    "  --memory 1       instead of points: peak memory, --memory-limit, image bombs\n";

struct Options {
  Places places;
  double minutes = 0;       // 0: no limit
  std::int64_t points = 0;  // runs per command at most; 0: no limit
  std::vector<std::string> commands;
  std::string only_point;  // "CALL FAULT [VARIANT]"
  std::string table;
  fs::path data;  // real images; empty: phantoms
  std::int64_t signals = 0;
  bool memory = false;
  std::uint64_t seed = 0;
  int variants = 3;
  int allocations = 200;
  int jobs = 2;
};

struct Work {
  std::unique_ptr<Campaign> campaign;
  std::vector<std::size_t> order;  // of its groups
  std::size_t next = 0;
  double seconds = 0;
  std::array<Tally, kFaults> tallies{};
  std::vector<Loss> losses;
};

// Groups are taken from the command that has had the least time so far.
class Pool {
 public:
  Pool(std::vector<Work>& works, const Options& options, Clock::time_point end)
      : works_(works), options_(options), end_(end) {}

  void run() {
    std::vector<std::thread> threads;
    for (int j = 0; j < options_.jobs; ++j) threads.emplace_back([this, j] { serve(j); });
    for (std::thread& thread : threads) thread.join();
  }

 private:
  void serve(int number) {
    const fs::path folder = options_.places.base / fmt::format("work_{}", number);
    for (;;) {
      Work* work = nullptr;
      std::size_t group = 0;
      {
        const std::scoped_lock lock(mutex_);
        if (Clock::now() >= end_) return;
        for (Work& w : works_)
          if (w.next < w.order.size() && (work == nullptr || w.seconds < work->seconds)) work = &w;
        if (work == nullptr) return;
        group = work->order[work->next++];
      }
      const std::vector<Point>& points = work->campaign->groups()[group];
      const Clock::time_point start = Clock::now();
      std::string wrong;
      try {
        wrong = work->campaign->check(points.front(), folder);
      } catch (const std::exception& error) {
        wrong = fmt::format("the check itself failed: {}", error.what());
      }
      const std::scoped_lock lock(mutex_);
      work->seconds += std::chrono::duration<double>(Clock::now() - start).count();
      ++work->tallies[static_cast<std::size_t>(points.front().fault)].runs;
      for (const Point& point : points) {
        Tally& tally = work->tallies[static_cast<std::size_t>(point.fault)];
        ++tally.tried;
        if (!wrong.empty()) ++tally.lost;
      }
      if (wrong.empty()) continue;
      const Point& point = points.front();
      work->losses.push_back(
          {work->campaign->scenario().name, point, work->campaign->describe(point), wrong});
      fmt::print("LOST  {}: {} at call {} ({}){}: {}\n", work->campaign->scenario().name,
                 name_of(point.fault), point.call, work->campaign->describe(point),
                 points.size() > 1 ? fmt::format(" and {} other points", points.size() - 1) : "",
                 wrong);
      std::fflush(stdout);
    }
  }

  std::vector<Work>& works_;
  const Options& options_;
  Clock::time_point end_;
  std::mutex mutex_;
};

Point parse_point(const std::string& text) {
  Point point{};
  unsigned call = 0;
  int fault = 0;
  unsigned long long variant = 0;
  if (std::sscanf(text.c_str(), "%u %d %llu", &call, &fault, &variant) < 2 || fault < 0 ||
      fault >= kFaults)
    throw std::runtime_error(fmt::format("--point '{}': wanted is CALL FAULT [VARIANT]", text));
  point.call = call;
  point.fault = static_cast<Fault>(fault);
  point.variant = variant;
  return point;
}

std::string table_of(const std::vector<Work>& works) {
  std::string text = "command,fault,points,tried,runs,lost\n";
  Tally whole;
  for (const Work& work : works) {
    Tally sum;
    for (int f = 0; f < kFaults; ++f) {
      const Tally& t = work.tallies[static_cast<std::size_t>(f)];
      if (t.all == 0) continue;
      text += fmt::format("{},{},{},{},{},{}\n", work.campaign->scenario().name,
                          name_of(static_cast<Fault>(f)), t.all, t.tried, t.runs, t.lost);
      sum += t;
    }
    text += fmt::format("{},all,{},{},{},{}\n", work.campaign->scenario().name, sum.all, sum.tried,
                        sum.runs, sum.lost);
    whole += sum;
  }
  return text +
         fmt::format("all,all,{},{},{},{}\n", whole.all, whole.tried, whole.runs, whole.lost);
}

// Whether all is well.
bool memory(const std::vector<const Campaign*>& campaigns, const fs::path& inputs,
            const Options& o) {
  const fs::path folder = o.places.base / "work_0";
  std::vector<std::string> wrong = check_peaks(campaigns);
  for (const auto& check : {check_limit, check_bombs})
    for (const std::string& line : check(*campaigns.at(0), inputs, folder)) wrong.push_back(line);
  for (const std::string& line : wrong) fmt::print("WRONG  {}\n", line);
  return wrong.empty();
}

int run(const Options& o) {
  const Clock::time_point start = Clock::now();
  const fs::path inputs = o.places.base / "inputs";
  fs::create_directories(o.places.base / "home");
  make_gnuplot_stub(o.places.base / "bin");
  const bool real = !o.data.empty();
  real ? make_real_inputs(o.places.thorax, o.data, inputs) : make_inputs(o.places.thorax, inputs);
  std::vector<Work> works;
  bool failed = false;
  const bool points = o.signals == 0 && !o.memory;
  for (const Scenario& scenario : real ? real_scenarios(o.data, inputs) : all_scenarios(inputs)) {
    if (!o.commands.empty() &&
        std::find(o.commands.begin(), o.commands.end(), scenario.name) == o.commands.end())
      continue;
    Work work;
    try {
      work.campaign = std::make_unique<Campaign>(scenario, o.places, points ? o.variants : -1,
                                                 o.allocations, o.seed);
    } catch (const std::exception& error) {
      fmt::print("LOST  {}\n", error.what());
      failed = true;
      continue;
    }
    const auto& groups = work.campaign->groups();
    for (std::size_t i = 0; i < groups.size(); ++i) {
      work.order.push_back(i);
      for (const Point& point : groups[i])
        ++work.tallies[static_cast<std::size_t>(point.fault)].all;
    }
    std::mt19937_64 random(o.seed);
    std::shuffle(work.order.begin(), work.order.end(), random);
    if (o.points > 0 && static_cast<std::size_t>(o.points) < work.order.size())
      work.order.resize(static_cast<std::size_t>(o.points));
    if (points)
      fmt::print("{}: {} calls, {} different runs\n", scenario.name, work.campaign->calls(),
                 groups.size());
    std::fflush(stdout);
    works.push_back(std::move(work));
  }
  if (!o.only_point.empty()) {
    const Point point = parse_point(o.only_point);
    const fs::path folder = o.places.base / "work_0";
    const std::string wrong = works.at(0).campaign->check(point, folder);
    fmt::print("{} at call {} ({}): {}\nthe folder: {}\n", name_of(point.fault), point.call,
               works[0].campaign->describe(point), wrong.empty() ? "nothing is wrong" : wrong,
               folder.string());
    return wrong.empty() ? 0 : 1;
  }
  std::vector<const Campaign*> campaigns;
  for (const Work& work : works) campaigns.push_back(work.campaign.get());
  if (o.memory) return memory(campaigns, inputs, o) && !failed ? 0 : 1;
  const Clock::time_point end =
      o.minutes > 0 ? start + std::chrono::milliseconds(static_cast<long>(o.minutes * 60000))
                    : Clock::time_point::max();
  std::string table;
  if (o.signals > 0) {
    table = "command,signal,sent,lost\n";
    SoakRow all{"all", "all"};
    for (const SoakRow& row : soak(campaigns, o.signals, o.places.base, o.jobs, o.seed, end)) {
      table += fmt::format("{},{},{},{}\n", row.command, row.signal, row.sent, row.lost);
      all.sent += row.sent;
      all.lost += row.lost;
    }
    table += fmt::format("all,all,{},{}\n", all.sent, all.lost);
    failed = failed || all.lost > 0;
  } else {
    Pool(works, o, end).run();
    table = table_of(works);
    for (const Work& work : works) failed = failed || !work.losses.empty();
  }
  fmt::print("\n{}", table);
  if (!o.table.empty()) {
    std::ofstream file(o.table);
    file << table;
    if (!file.flush()) throw std::runtime_error(o.table + ": cannot be written");
  }
  fmt::print("{:.0f} s, seed {}\n", std::chrono::duration<double>(Clock::now() - start).count(),
             o.seed);
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace thorax::reliability

int main(int argc, char** argv) {
  using namespace thorax::reliability;
  namespace fs = std::filesystem;
  if (is_gnuplot_stub(argv[0])) return run_gnuplot_stub();
  Options o;
  std::string base;
  const auto usage = [](const std::string& what) {
    fmt::print(stderr, "reliability: {}\n{}", what, kUsage);
    return 2;
  };
  const std::map<std::string, std::function<void(const std::string&)>> options{
      {"--thorax", [&](const std::string& v) { o.places.thorax = v; }},
      {"--shim", [&](const std::string& v) { o.places.shim = v; }},
      {"--folder", [&](const std::string& v) { base = v; }},
      {"--minutes", [&](const std::string& v) { o.minutes = std::stod(v); }},
      {"--points", [&](const std::string& v) { o.points = std::stoll(v); }},
      {"--command", [&](const std::string& v) { o.commands.push_back(v); }},
      {"--point", [&](const std::string& v) { o.only_point = v; }},
      {"--seed", [&](const std::string& v) { o.seed = std::stoull(v); }},
      {"--variants", [&](const std::string& v) { o.variants = std::stoi(v); }},
      {"--allocations", [&](const std::string& v) { o.allocations = std::stoi(v); }},
      {"--jobs", [&](const std::string& v) { o.jobs = std::stoi(v); }},
      {"--data", [&](const std::string& v) { o.data = fs::canonical(v); }},
      {"--signals", [&](const std::string& v) { o.signals = std::stoll(v); }},
      {"--memory", [&](const std::string& v) { o.memory = std::stoi(v) != 0; }},
      {"--table", [&](const std::string& v) { o.table = v; }}};
  for (int i = 1; i < argc; i += 2) {
    const auto option = options.find(argv[i]);
    if (option == options.end()) return usage(fmt::format("unknown option {}", argv[i]));
    if (i + 1 == argc) return usage(fmt::format("{} needs a value", argv[i]));
    try {
      option->second(argv[i + 1]);
    } catch (const std::exception&) {
      return usage(fmt::format("{} {}: wants a number", argv[i], argv[i + 1]));
    }
  }
  if (!fs::is_regular_file(o.places.thorax) || !fs::is_regular_file(o.places.shim))
    return usage("--thorax and --shim must name files");
  try {
    std::unique_ptr<thorax::test::TempFolder> scratch;
    if (base.empty()) {
      scratch = std::make_unique<thorax::test::TempFolder>();
      base = scratch->path();
    }
    std::filesystem::create_directories(base);
    o.places.base = std::filesystem::canonical(base);
    o.places.thorax = std::filesystem::canonical(o.places.thorax);
    o.places.shim = std::filesystem::canonical(o.places.shim);
    return run(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "reliability: {}\n", error.what());
    return 1;
  }
}
