// The commands that are put through every fault, on inputs small enough that a run takes a
// fraction of a second.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace thorax::reliability {

using Arguments = std::vector<std::string>;

struct Scenario {
  std::string name = {};
  std::vector<Arguments> before = {};  // makes what the folder holds at the start
  Arguments command = {};              // the disturbed run, in a folder where its output is "out"
  Arguments remedy = {};               // what its pages tell a user to do after a fault
  // The files that are there before are replaced one by one: at every moment each is whole, the old
  // one or the new one.
  bool replaces_files = false;
};

// Makes phantoms, models and settings in `inputs` with the program; throws when that fails.
void make_inputs(const std::filesystem::path& thorax, const std::filesystem::path& inputs);
std::vector<Scenario> all_scenarios(const std::filesystem::path& inputs);

// The same on real images (the folders that data/README.md names lie in `data`), a few of each
// source at a small size, so that a run takes seconds: for the soak.
void make_real_inputs(const std::filesystem::path& thorax, const std::filesystem::path& data,
                      const std::filesystem::path& inputs);
std::vector<Scenario> real_scenarios(const std::filesystem::path& data,
                                     const std::filesystem::path& inputs);

}  // namespace thorax::reliability
