// Every kernel of the PTX files that nvcc made, where there are any (THORAX_PTX, the build's ptx/).
#include <doctest/doctest.h>

#include <map>
#include <string>

#include "engine/runtime/ptx/library.h"
#include "engine/runtime/ptx/symbols.h"

using namespace thorax;

TEST_CASE("every kernel of the PTX files can run") {
  std::string why;
  const std::string folder = ptx::find_folder(why);
  if (folder.empty()) {
    MESSAGE("left out: " << why);
    return;
  }
  const ptx::Library library(folder);
  std::map<int, int> kernels;
  for (const auto& [module, entry] : library.kernels()) {
    ++kernels[module->target()];
    // Throws for an instruction, directive or operand that is not known.
    CHECK_NOTHROW_MESSAGE(ptx::make_program(*module, *entry), ptx::demangled(entry->name));
  }
  for (const auto& [target, count] : kernels) {
    MESSAGE("sm_" << target << ": " << count << " kernels ready to run");
    CHECK(count > 300);
  }
}

TEST_CASE("names of kernels in PTX") {
  const std::string name =
      "_ZN6thorax10cuda_build54_GLOBAL__N__c3ea7157_15_dropout_cuda_cu_212a9c07_12965"
      "14dropout_kernelIfLi4EEEvPKT_";
  CHECK(ptx::file_in(name) == "dropout_cuda_cu");
  CHECK(ptx::file_in("_ZN6thorax6kernelEv").empty());
  CHECK(ptx::demangled(name) ==
        "void thorax::sim_build::(anonymous namespace)::dropout_kernel<float, 4>(float const*)");
}
