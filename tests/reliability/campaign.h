// Puts commands through faults at every point of theirs and judges what comes out.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/reliability/disk.h"
#include "tests/reliability/process.h"
#include "tests/reliability/scenarios.h"

namespace thorax::reliability {

struct Places {
  std::filesystem::path thorax;  // the program
  std::filesystem::path shim;    // the library that makes the faults
  std::filesystem::path base;    // scratch folder
};

// What is tried at a point. The order is that of the table.
enum class Fault {
  kill,        // the process is killed before the call; as its log says the folder is then
  torn,        // killed in the middle of a write
  real_kill,   // killed in fact, which also checks the log
  power_none,  // power loss: see Survivors
  power_names,
  power_prefixes,
  disk_full,        // ENOSPC from this call on
  read_only,        // EROFS from this call on
  io_error,         // EIO once
  no_descriptor,    // EMFILE once
  interrupted,      // EINTR once
  short_write,      // half a write once
  no_memory,        // ENOMEM once; `call` counts allocations
  no_large_memory,  // ENOMEM for this and every later allocation of kLarge bytes or more
};
constexpr int kFaults = 14;
constexpr std::size_t kLarge = 65536;
const char* name_of(Fault fault);

struct Point {
  Fault fault;
  std::uint32_t call = 0;     // the fault comes before, at or in this call, from 1
  std::uint64_t variant = 0;  // of power_prefixes
};

struct Tally {
  std::int64_t all = 0, tried = 0, lost = 0;
  std::int64_t runs = 0;  // of the program; points that leave the same files share one
  Tally& operator+=(const Tally& other);
};

// Of one run.
struct MemoryUse {
  std::int64_t allocations = 0;        // how many
  std::int64_t large_allocations = 0;  // of kLarge bytes or more
  std::int64_t peak_bytes = 0;         // of the heap
  std::int64_t tensor_bytes = 0;       // most at a time of the blocks of the engine's allocator
};

struct Loss {
  std::string scenario;
  Point point;
  std::string call, what;
};

// One command: its undisturbed run, its points, and the check of one of them. check() may be called
// by several threads, each with a folder of its own.
class Campaign {
 public:
  // Runs the command undisturbed, twice, and checks that the log gives the folder and that both
  // give the same files. `variants` random power losses are made at each call, and `allocations`
  // random ones fail; with `variants` < 0 there are no points. Throws std::runtime_error when a
  // check fails.
  Campaign(Scenario scenario, Places places, int variants, int allocations, std::uint64_t seed);

  const Scenario& scenario() const { return scenario_; }
  // Points that leave the same files are in one group and are judged by one run.
  const std::vector<std::vector<Point>>& groups() const { return groups_; }
  // What is wrong; empty when nothing is.
  std::string check(const Point& point, const std::filesystem::path& folder) const;
  std::string describe(const Point& point) const;
  std::size_t calls() const { return log_.size(); }
  const MemoryUse& memory() const { return memory_; }
  double seconds() const { return seconds_; }  // of the undisturbed run

  // A run of `arguments` in `folder` under the shim, with `extra` in its environment.
  ProcessOutcome run(const Arguments& arguments, const std::filesystem::path& folder,
                     std::vector<std::pair<std::string, std::string>> extra = {},
                     std::vector<Signal> signals = {}) const;
  // A new start: the folder as it is before the command, with what `scenario.before` makes.
  const Tree& before() const { return before_; }
  // "": the folder holds what an undisturbed run leaves; else what differs. A run that a signal
  // `stopped` has written one checkpoint more, which is the one before its last in the end.
  std::string difference(const Tree& found, bool stopped = false) const;
  // Does what the pages tell the user to do and compares; "" when all is well.
  std::string remedied(const std::filesystem::path& folder) const;
  // What a run that has failed may not leave: names that an undisturbed run never gives a file for
  // good.
  std::string leftovers(const Tree& found) const;

 private:
  void enumerate(int variants, std::uint64_t seed);
  void sample_allocations(int count, std::uint64_t seed);
  std::string check_memory(const Point& point, const std::filesystem::path& folder) const;
  Tree state(const Point& point) const;
  std::string check_state(const Point& point, const std::filesystem::path& folder) const;
  std::string check_failure(const Point& point, const std::filesystem::path& folder) const;
  // Whether `found` is what an undisturbed run leaves and more, all of which `output` names.
  bool leftovers_told(const Tree& found, const std::string& output) const;
  std::string broken_replacement(const Tree& found) const;

  Scenario scenario_;
  Places places_;
  Tree before_, after_;
  std::vector<Disk> start_;  // one: the folder before the run
  std::vector<LoggedCall> log_;
  std::map<std::string, bool> known_;  // names that files have for good at some time
  std::vector<std::vector<Point>> groups_;
  MemoryUse memory_;
  double seconds_ = 0;
};

// What a run with THORAX_MEMORY_REPORT has written.
MemoryUse read_memory_use(const std::filesystem::path& report);

// "exit code 1: thorax: error: ...", for messages.
std::string ended(const ProcessOutcome& outcome);

// Files as they are compared: what tells when and how often a run was started is left out.
Tree comparable(const Tree& tree);

}  // namespace thorax::reliability
