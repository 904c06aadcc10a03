// Graphs of the simulated device: what was launched, and the memory it was given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace thorax::sim {

// Kernels keep the addresses they were captured with. A GPU would read and write there whatever has
// become of the memory; here every address among a launch's arguments that lies in a block of
// memory holds the graph to that block: replay is an Error when it was freed since.
class Graphs {
 public:
  void allocated(void* block, std::size_t bytes);
  void released(void* block) noexcept;

  void begin(int index);
  void add(const char* name, std::span<const std::byte> arguments, std::function<void()> run);
  std::uint64_t end(int index);
  void abandon(int index) noexcept;
  // Throws Error "[sim] graph: ..." naming the launch whose memory is gone.
  void replay(std::uint64_t graph);
  void drop(std::uint64_t graph) noexcept;
  std::size_t size(std::uint64_t graph);

 private:
  struct Block {
    std::size_t bytes = 0;
    std::uint64_t number = 0;  // of the allocation: an address may be given out again
  };
  struct Launch {
    std::string name;
    std::function<void()> run;
  };
  struct Use {
    std::uintptr_t address = 0;
    std::uint64_t number = 0;
    std::string launch;  // the first that has it
  };
  struct Recording {
    std::vector<Launch> launches;
    std::map<std::uint64_t, Use> uses;  // by number of the allocation
  };

  std::mutex mutex_;
  std::map<std::uintptr_t, Block> blocks_;
  std::uint64_t allocations_ = 0, captured_ = 0;
  Recording open_;
  std::map<std::uint64_t, Recording> graphs_;
};

}  // namespace thorax::sim
