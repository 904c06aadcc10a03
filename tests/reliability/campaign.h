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
  disk_full,      // ENOSPC from this call on
  read_only,      // EROFS from this call on
  io_error,       // EIO once
  no_descriptor,  // EMFILE once
  interrupted,    // EINTR once
  short_write,    // half a write once
};
constexpr int kFaults = 12;
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
  // give the same files. `variants` random power losses are made at each call. Throws
  // std::runtime_error when a check fails.
  Campaign(Scenario scenario, Places places, int variants, std::uint64_t seed);

  const Scenario& scenario() const { return scenario_; }
  // Points that leave the same files are in one group and are judged by one run.
  const std::vector<std::vector<Point>>& groups() const { return groups_; }
  // What is wrong; empty when nothing is.
  std::string check(const Point& point, const std::filesystem::path& folder) const;
  std::string describe(const Point& point) const;
  std::size_t calls() const { return log_.size(); }

  // A run of `arguments` in `folder` under the shim, with `extra` in its environment.
  ProcessOutcome run(const Arguments& arguments, const std::filesystem::path& folder,
                     std::vector<std::pair<std::string, std::string>> extra = {}) const;
  const Tree& before() const { return before_; }
  // "": the folder holds what an undisturbed run leaves; else what differs.
  std::string difference(const Tree& found) const;
  // Does what the pages tell the user to do and compares; "" when all is well.
  std::string remedied(const std::filesystem::path& folder) const;
  // What a run that has failed may not leave: names that an undisturbed run never gives a file for
  // good.
  std::string leftovers(const Tree& found) const;

 private:
  void enumerate(int variants, std::uint64_t seed);
  Tree state(const Point& point) const;
  std::string check_state(const Point& point, const std::filesystem::path& folder) const;
  std::string check_failure(const Point& point, const std::filesystem::path& folder) const;
  std::string broken_replacement(const Tree& found) const;

  Scenario scenario_;
  Places places_;
  Tree before_, after_;
  std::vector<Disk> start_;  // one: the folder before the run
  std::vector<LoggedCall> log_;
  std::map<std::string, bool> known_;  // names that files have for good at some time
  std::vector<std::vector<Point>> groups_;
};

// Files as they are compared: what tells when and how often a run was started is left out.
Tree comparable(const Tree& tree);

}  // namespace thorax::reliability
