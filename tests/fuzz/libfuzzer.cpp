// The harnesses as libFuzzer wants them. One program holds all of them; the name it is called by
// (a link in the build folder) says which one runs.
#include <algorithm>
#include <cstring>

#include "tests/fuzz/harness.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {
using namespace thorax::fuzz;

const Harness* chosen = nullptr;

void plain(Buffer& bytes, std::size_t max_bytes) {
  const std::size_t size = std::min(bytes.size(), max_bytes);
  bytes.resize(std::max<std::size_t>(max_bytes, 1));
  bytes.resize(LLVMFuzzerMutate(bytes.data(), size, max_bytes));
}
}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char*** argv) {
  const std::string name = std::filesystem::path((*argv)[0]).filename().string();
  const auto found = harnesses().find(name);
  if (found == harnesses().end()) {
    std::fprintf(stderr, "there is no harness '%s'; call the program by one of these names:\n",
                 name.c_str());
    for (const auto& [known, harness] : harnesses()) std::fprintf(stderr, "%s\n", known.c_str());
    std::exit(2);
  }
  chosen = &found->second;
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chosen->run({data, size});
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  if (chosen->mutate == nullptr) return LLVMFuzzerMutate(data, size, max_size);
  const Buffer changed = chosen->mutate({data, size}, max_size, seed, plain);
  const std::size_t kept = std::min(changed.size(), max_size);
  std::memcpy(data, changed.data(), kept);
  return kept;
}

// GDCM 3.0.21 forgets OpenJPEG's stream when a JPEG 2000 frame is broken: some 50 bytes a file,
// which is not ours to mend.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libopenjp2\n";
}
