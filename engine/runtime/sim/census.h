// Counts what a program launches on simulated devices without running it: how many kernels, with
// how many blocks, for which operation. Costs no computing, so that whole training steps at the
// sizes of a real run take about a second.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace thorax::sim {

struct Launch {
  std::string operation;  // whose function launched it ("conv2d"); empty outside any
  std::string kernel;     // as its source names it; "fill" and "copy" are the device's own
  std::uint64_t blocks = 0;
  unsigned threads = 0;  // of a block
  std::size_t dynamic_shared = 0;
};

// While it lives, kernels, fills and copies within a simulated device are recorded and not run;
// device memory keeps whatever it holds. Results are meaningless: nothing may decide by them. Of
// one thread of the host, the one that makes it; one at a time. Throws Error "[census] ..." for a
// second one. Nothing may be captured as a graph meanwhile.
class Census {
 public:
  Census();
  ~Census();
  Census(const Census&) = delete;
  Census& operator=(const Census&) = delete;

  const std::vector<Launch>& launches() const { return launches_; }

 private:
  friend bool counted(const char*, std::uint64_t, unsigned, std::size_t);
  std::vector<Launch> launches_;
};

bool census_runs();  // on this thread
// For the simulated device: whether a census took the launch, which is then not to be run.
bool counted(const char* kernel, std::uint64_t blocks, unsigned threads,
             std::size_t dynamic_shared);

}  // namespace thorax::sim
