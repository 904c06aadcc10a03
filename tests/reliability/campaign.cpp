#include "tests/reliability/campaign.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <random>
#include <set>
#include <stdexcept>

namespace thorax::reliability {

namespace fs = std::filesystem;

namespace {

constexpr const char* kNames[kFaults] = {"kill -9",
                                         "kill -9 in a write",
                                         "kill -9 for real",
                                         "power loss: fsynced only",
                                         "power loss: names only",
                                         "power loss: random",
                                         "ENOSPC from then on",
                                         "EROFS from then on",
                                         "EIO",
                                         "EMFILE",
                                         "EINTR",
                                         "short write",
                                         "ENOMEM once",
                                         "ENOMEM from then on if large"};

struct Injection {
  const char* kind;
  int error;
};
Injection injection(Fault fault) {
  switch (fault) {
    case Fault::real_kill:
      return {"kill", 0};
    case Fault::disk_full:
      return {"broken", ENOSPC};
    case Fault::read_only:
      return {"broken", EROFS};
    case Fault::io_error:
      return {"fail", EIO};
    case Fault::no_descriptor:
      return {"fail", EMFILE};
    case Fault::interrupted:
      return {"fail", EINTR};
    case Fault::short_write:
      return {"short", 0};
    default:
      throw std::logic_error("no call fails there");
  }
}

// Whether the manual page of a call has this error.
bool applies(Fault fault, const LoggedCall& call) {
  const bool writes_names =
      call.call != Call::write && call.call != Call::sync &&
      (call.call != Call::open || (call.flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC)) != 0);
  switch (fault) {
    case Fault::torn:
    case Fault::short_write:
      return call.call == Call::write && call.data.size() > 1;
    case Fault::disk_full:
      return call.call == Call::write || call.call == Call::mkdir || call.call == Call::link ||
             (call.call == Call::open && (call.flags & O_CREAT) != 0);
    case Fault::read_only:
      return writes_names;
    case Fault::no_descriptor:
      return call.call == Call::open;
    case Fault::interrupted:
      // No file system of Linux interrupts the opening of a folder.
      return (call.call == Call::open && (call.flags & O_DIRECTORY) == 0) ||
             call.call == Call::write || call.call == Call::sync || call.call == Call::truncate;
    default:
      return true;
  }
}

bool is_state(Fault fault) {
  return fault == Fault::kill || fault == Fault::torn || fault == Fault::power_none ||
         fault == Fault::power_names || fault == Fault::power_prefixes;
}

LoggedCall half_of(LoggedCall write) {
  write.data.resize(write.data.size() / 2);
  return write;
}

bool is_memory(Fault fault) {
  return fault == Fault::no_memory || fault == Fault::no_large_memory;
}

// Everything between `from` and the next `to`, wherever it occurs.
void blank(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + from.size())) {
    const std::size_t begin = at + from.size(), end = text.find(to, begin);
    if (end == std::string::npos) return;
    text.erase(begin, end - begin);
  }
}

// What a run has said in the end; standard output may follow what was said first.
std::string last_line(std::string text) {
  if (const std::size_t error = text.rfind("thorax: error:"); error != std::string::npos)
    text = text.substr(error, text.find('\n', error) - error);
  const std::size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return "(it said nothing)";
  const std::size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

// The name that a temporary file is written for: without what chance puts into it.
std::string target_of(const std::string& path) {
  std::string name = path.substr(0, path.find(".tmp-"));
  for (const std::string_view word : {".replaced-", ".kept-"})
    if (const std::size_t at = name.find(word); at != std::string::npos)
      name.erase(at + word.size(), 16);
  return name;
}

// A checkpoint's other names on its way: a message names the checkpoint.
std::string told_name(const std::string& path) {
  std::string name = target_of(path);
  for (const std::string_view word : {".new.", ".link.", ".prev."})
    if (const std::size_t at = name.find(word); at != std::string::npos)
      name.replace(at, word.size(), ".");
  return name;
}

}  // namespace

std::string ended(const ProcessOutcome& outcome) {
  if (outcome.hung) return "did not end";
  if (outcome.exit_code < 0) return fmt::format("ended by signal {}", outcome.signal);
  return fmt::format("exit code {}: {}", outcome.exit_code, last_line(outcome.output));
}

MemoryUse read_memory_use(const fs::path& report) {
  MemoryUse use;
  std::ifstream file(report);
  if (!(file >> use.allocations >> use.peak_bytes >> use.large_allocations >> use.tensor_bytes))
    throw std::runtime_error(report.string() + ": the program wrote no report of its memory");
  return use;
}

const char* name_of(Fault fault) {
  return kNames[static_cast<int>(fault)];
}

Tally& Tally::operator+=(const Tally& other) {
  all += other.all;
  tried += other.tried;
  lost += other.lost;
  runs += other.runs;
  return *this;
}

Tree comparable(const Tree& tree) {
  Tree result = tree;
  for (auto& [name, content] : result) {
    if (target_of(name).ends_with("provenance.json")) content.clear();
    if (name.ends_with("report.html"))
      blank(content, "<summary>provenance.json</summary>", "</details>");
  }
  return result;
}

ProcessOutcome Campaign::run(const Arguments& arguments, const fs::path& folder,
                             std::vector<std::pair<std::string, std::string>> extra,
                             std::vector<Signal> signals) const {
  ProcessRequest request{.arguments = {places_.thorax.string()}, .folder = folder};
  request.arguments.insert(request.arguments.end(), arguments.begin(), arguments.end());
  request.environment = {{"LD_PRELOAD", places_.shim},
                         {"THORAX_FAULT_FOLDER", folder},
                         {"THORAX_FAULT_CLOCK", "1"},
                         {"OMP_NUM_THREADS", "1"},
                         {"HOME", places_.base / "home"},
                         {"XDG_CACHE_HOME", places_.base / "home"},
                         {"PATH", (places_.base / "bin").string() + ":/usr/bin:/bin"}};
  request.signals = std::move(signals);
  request.environment.insert(request.environment.end(), extra.begin(), extra.end());
  return run_process(request);
}

Campaign::Campaign(Scenario scenario, Places places, int variants, int allocations,
                   std::uint64_t seed)
    : scenario_(std::move(scenario)), places_(std::move(places)) {
  const fs::path folder = places_.base / "reference", log = places_.base / "reference.log";
  const auto prepare = [&](const fs::path& where) {
    write_tree({}, where);
    for (const Arguments& arguments : scenario_.before) {
      const ProcessOutcome made = run(arguments, where);
      if (made.exit_code != 0)
        throw std::runtime_error(fmt::format("{}: {}", scenario_.name, ended(made)));
    }
  };
  prepare(folder);
  before_ = read_tree(folder);
  start_.emplace_back(folder);
  fs::remove(log);
  const ProcessOutcome first = run(scenario_.command, folder, {{"THORAX_FAULT_LOG", log}});
  if (first.exit_code != 0)
    throw std::runtime_error(
        fmt::format("{}: the undisturbed run failed: {}", scenario_.name, ended(first)));
  after_ = read_tree(folder);
  log_ = read_log(log);
  Disk disk = start_[0];
  for (const LoggedCall& call : log_) disk.apply(call);
  if (disk.tree(Survivors::all) != after_)
    throw std::runtime_error(fmt::format(
        "{}: its {} logged calls do not give its folder: something writes past the shim",
        scenario_.name, log_.size()));
  // Elsewhere, and in a folder of another name: where a run lies may not show in its files.
  const fs::path second = places_.base / "second";
  prepare(second);
  const fs::path report = places_.base / "memory.txt";
  const ProcessOutcome again =
      run(scenario_.command, second,
          {{"THORAX_MEMORY_REPORT", report}, {"THORAX_MEMORY_LEAST", fmt::format("{}", kLarge)}});
  memory_ = read_memory_use(report);
  seconds_ = again.seconds;
  const std::string different = again.exit_code != 0 ? ended(again) : difference(read_tree(second));
  if (!different.empty())
    throw std::runtime_error(
        fmt::format("{}: a second undisturbed run differs: {}", scenario_.name, different));
  for (const Tree* tree : {&before_, &after_})
    for (const auto& [name, content] : *tree) known_[name] = true;
  // A file that is made under its own name, or renamed to a name from which it is never taken.
  for (const LoggedCall& call : log_) {
    if (call.error != 0) continue;
    if (call.call == Call::mkdir) known_[call.path + "/"] = true;
    if (call.call == Call::rename) {
      known_.erase(call.path);
      known_[call.other] = true;
    }
    if (call.call == Call::open && target_of(call.path) == call.path) known_[call.path] = true;
  }
  if (variants < 0) return;
  enumerate(variants, seed);
  sample_allocations(allocations, seed);
}

void Campaign::sample_allocations(int count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (const auto& [fault, all] : {std::pair{Fault::no_memory, memory_.allocations},
                                   {Fault::no_large_memory, memory_.large_allocations}}) {
    std::set<std::uint32_t> chosen;
    const auto wanted = static_cast<std::size_t>(std::min<std::int64_t>(count, all));
    while (chosen.size() < wanted)
      chosen.insert(static_cast<std::uint32_t>(1 + random() % static_cast<std::uint64_t>(all)));
    for (const std::uint32_t number : chosen) groups_.push_back({{fault, number}});
  }
}

void Campaign::enumerate(int variants, std::uint64_t seed) {
  std::map<std::string, std::size_t> states;
  const auto add_state = [&](const Point& point, const std::string& hash) {
    const auto [found, fresh] = states.try_emplace(hash, groups_.size());
    if (fresh) groups_.emplace_back();
    groups_[found->second].push_back(point);
  };
  Disk disk = start_[0];
  for (std::uint32_t i = 1; i <= log_.size() + 1; ++i) {
    // Before call i; after the last one what was done must be there.
    add_state({Fault::kill, i}, disk.hash(Survivors::all));
    add_state({Fault::power_none, i}, disk.hash(Survivors::none));
    add_state({Fault::power_names, i}, disk.hash(Survivors::names));
    for (int v = 0; v < variants; ++v) {
      const std::uint64_t variant = seed + static_cast<std::uint64_t>(v);
      add_state({Fault::power_prefixes, i, variant}, disk.hash(Survivors::prefixes, variant + i));
    }
    if (i > log_.size()) break;
    const LoggedCall& call = log_[i - 1];
    if (applies(Fault::torn, call)) {
      disk.apply(half_of(call));
      add_state({Fault::torn, i}, disk.hash(Survivors::all));
      disk.take_back(call);
    }
    disk.apply(call);
    groups_.push_back({{Fault::real_kill, i}});
    for (int f = static_cast<int>(Fault::disk_full); f <= static_cast<int>(Fault::short_write); ++f)
      if (applies(static_cast<Fault>(f), call)) groups_.push_back({{static_cast<Fault>(f), i}});
  }
}

Tree Campaign::state(const Point& point) const {
  Disk disk = start_[0];
  for (std::uint32_t i = 1; i < point.call; ++i) disk.apply(log_[i - 1]);
  switch (point.fault) {
    case Fault::torn:
      disk.apply(half_of(log_[point.call - 1]));
      return disk.tree(Survivors::all);
    case Fault::power_none:
      return disk.tree(Survivors::none);
    case Fault::power_names:
      return disk.tree(Survivors::names);
    case Fault::power_prefixes:
      return disk.tree(Survivors::prefixes, point.variant + point.call);
    default:
      return disk.tree(Survivors::all);
  }
}

std::string Campaign::describe(const Point& point) const {
  if (is_memory(point.fault)) return "an allocation";
  return point.call <= log_.size() ? reliability::describe(log_[point.call - 1]) : "(the end)";
}

std::string Campaign::difference(const Tree& found, bool stopped) const {
  Tree wanted = comparable(after_), there = comparable(found);
  if (stopped)
    for (Tree* tree : {&wanted, &there})
      std::erase_if(
          *tree, [](const auto& entry) { return entry.first.ends_with("last.prev.safetensors"); });
  std::string text;
  const auto say = [&](const std::string& what) { text += (text.empty() ? "" : "; ") + what; };
  for (const auto& [name, content] : wanted) {
    const auto other = there.find(name);
    if (other == there.end())
      say(name + " is missing");
    else if (other->second != content)
      say(fmt::format("{} has other content ({} bytes, {} wanted)", name, other->second.size(),
                      content.size()));
  }
  for (const auto& [name, content] : there)
    if (!wanted.contains(name)) say(name + " is left over");
  return text;
}

std::string Campaign::leftovers(const Tree& found) const {
  std::string text;
  for (const auto& [name, content] : found)
    if (!known_.contains(name)) text += (text.empty() ? "" : ", ") + name;
  return text;
}

bool Campaign::leftovers_told(const Tree& found, const std::string& output) const {
  Tree rest = found;
  for (const auto& [name, content] : found) {
    if (after_.contains(name)) continue;
    // The outermost folder that is too much, or the file itself.
    std::size_t end = name.find('/');
    while (end != std::string::npos && after_.contains(name.substr(0, end + 1)))
      end = name.find('/', end + 1);
    if (output.find(name.substr(0, end)) == std::string::npos) return false;
    rest.erase(name);
  }
  return difference(rest).empty();
}

std::string Campaign::broken_replacement(const Tree& found) const {
  if (!scenario_.replaces_files) return {};
  for (const auto& [name, content] : before_) {
    const auto now = found.find(name);
    const auto wanted = after_.find(name);
    if (now == found.end() && wanted == after_.end())
      continue;  // a run may remove what is outdated
    if (now == found.end()) return name + ", an earlier result, is lost";
    if (now->second != content && (wanted == after_.end() || now->second != wanted->second))
      return name + ", an earlier result, is neither the old file nor the new one";
  }
  return {};
}

std::string Campaign::remedied(const fs::path& folder) const {
  const ProcessOutcome outcome = run(scenario_.remedy, folder);
  if (outcome.exit_code != 0) return "afterwards: " + ended(outcome);
  const std::string different = difference(read_tree(folder));
  return different.empty() ? "" : "afterwards: " + different;
}

std::string Campaign::check(const Point& point, const fs::path& folder) const {
  if (is_memory(point.fault)) return check_memory(point, folder);
  return is_state(point.fault) ? check_state(point, folder) : check_failure(point, folder);
}

std::string Campaign::check_state(const Point& point, const fs::path& folder) const {
  const Tree there = state(point);
  if (point.call > log_.size()) {
    const std::string different = difference(there);
    if (!different.empty()) return "the command had reported that it was done: " + different;
  }
  if (const std::string broken = broken_replacement(there); !broken.empty()) return broken;
  write_tree(there, folder);
  return remedied(folder);
}

std::string Campaign::check_failure(const Point& point, const fs::path& folder) const {
  write_tree(before_, folder);
  const Injection how = injection(point.fault);
  const fs::path log = folder.string() + ".log";
  fs::remove(log);
  const ProcessOutcome outcome =
      run(scenario_.command, folder,
          {{"THORAX_FAULT", fmt::format("{} {} {}", point.call, how.kind, how.error)},
           {"THORAX_FAULT_LOG", log}});
  const Tree there = read_tree(folder);
  if (const std::string broken = broken_replacement(there); !broken.empty()) return broken;
  if (point.fault == Fault::real_kill) {
    if (outcome.signal != SIGKILL) return "was not killed: " + ended(outcome);
    // The log tells the truth: the same files, but for the random part of temporary names.
    const auto shape = [](const Tree& tree) {
      std::multiset<std::pair<std::string, std::string>> files;
      for (const auto& [name, content] : comparable(tree)) files.emplace(target_of(name), content);
      return files;
    };
    // In which order a replaced run's files are removed is the file system's affair.
    const bool any_order = log_[point.call - 1].path.find(".replaced-") != std::string::npos;
    if (!any_order && shape(there) != shape(state({Fault::kill, point.call})))
      return "the folder is not as the log says";
    return remedied(folder);
  }
  const bool absorbed = point.fault == Fault::interrupted || point.fault == Fault::short_write;
  if (outcome.exit_code != 0 && (absorbed || outcome.exit_code != 1)) return ended(outcome);
  if (outcome.exit_code == 0) {
    // What could not be removed may be left for the next start, if that is said.
    if (!leftovers_told(there, outcome.output))
      if (const std::string different = difference(there); !different.empty())
        return "exit code 0, but " + different;
  } else {
    const std::vector<LoggedCall> failed =
        fs::exists(log) ? read_log(log) : std::vector<LoggedCall>{};
    if (failed.size() != 1) return "the fault did not come: " + ended(outcome);
    const auto named = [&](const std::string& path) {
      const std::string name = path == "." ? folder.string() : path;
      const bool said =
          outcome.output.find(name.substr(0, name.find(".tmp-"))) != std::string::npos ||
          (path == "." && outcome.output.find("] .:") != std::string::npos);
      return !path.empty() && (said || outcome.output.find(target_of(name)) != std::string::npos ||
                               outcome.output.find(told_name(name)) != std::string::npos);
    };
    // A fault that stays may be got round in one file and end the command in the next.
    const bool stays = point.fault == Fault::disk_full || point.fault == Fault::read_only;
    if (!named(failed[0].path) && !named(failed[0].other) &&
        !(stays && outcome.output.find("out") != std::string::npos))
      return fmt::format("the message does not name {}: {}", failed[0].path, ended(outcome));
    // A disk that stays broken lets nothing be removed.
    const bool once = point.fault == Fault::io_error || point.fault == Fault::no_descriptor;
    const bool removing = failed[0].call == Call::unlink || failed[0].call == Call::rmdir;
    if (once && !removing)
      if (const std::string left = leftovers(there); !left.empty())
        return fmt::format("left over after the error: {}", left);
  }
  return remedied(folder);
}

// Once memory is short, a command may go on without (a cache) or must say so and end; what it has
// written by then is whole.
std::string Campaign::check_memory(const Point& point, const fs::path& folder) const {
  write_tree(before_, folder);
  const bool all = point.fault == Fault::no_large_memory;
  const ProcessOutcome outcome =
      run(scenario_.command, folder,
          {{"THORAX_FAULT_MEMORY",
            fmt::format("{} {} {}", point.call, all ? kLarge : 0, all ? "all" : "once")}});
  const Tree there = read_tree(folder);
  if (const std::string broken = broken_replacement(there); !broken.empty()) return broken;
  if (outcome.exit_code == 0) {
    const std::string different = difference(there);
    if (!different.empty()) return "exit code 0, but " + different;
    return {};
  }
  if (outcome.exit_code != 1) return ended(outcome);
  if (outcome.output.find("memory") == std::string::npos)
    return "the message does not speak of memory: " + ended(outcome);
  if (const std::string left = leftovers(there); !left.empty())
    return fmt::format("left over after the error: {}", left);
  return remedied(folder);
}

}  // namespace thorax::reliability
