// The PTX files of a folder and the kernels in them.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/runtime/ptx/machine.h"
#include "engine/runtime/ptx/module.h"
#include "engine/runtime/ptx/program.h"

namespace thorax::ptx {

class Library {
 public:
  // Reads all *.ptx below `folder`. Throws Error "[ptx] ...".
  explicit Library(const std::string& folder);

  // That kernel for a card of the compute capability: of the PTX of several architectures the
  // newest that the card runs, as the driver chooses. Throws Error naming what there is.
  const Program& find(const Kernel& kernel, int compute_capability);

  struct Found {
    const Module* module;
    const Module::Entry* entry;
  };
  // All kernels of all files.
  std::vector<Found> kernels() const;

 private:
  // "file.cu" (empty for names that all files share) and the demangled name.
  using Key = std::pair<std::string, std::string>;
  std::string folder_;
  std::vector<std::unique_ptr<Module>> modules_;
  std::map<Key, std::vector<Found>> kernels_;
  std::mutex mutex_;
  std::map<const Module::Entry*, std::unique_ptr<Program>> programs_;
  std::map<std::pair<const char*, int>, const Program*> found_;  // by Kernel::symbol, capability
};

// That of find_folder(), read when it is first asked for.
Library& library();

}  // namespace thorax::ptx
