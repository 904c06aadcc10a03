// One block of a launch, event by event: what the page of `thorax kernel` plays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/runtime/ptx/counters.h"
#include "engine/runtime/ptx/request.h"

namespace thorax::ptx {

// What a warp did that others may see: an access to memory, a copy, a barrier, an exchange between
// lanes, a product of matrices.
struct Event {
  std::uint32_t instruction = 0;  // in Program::function
  std::uint32_t warp = 0;
  std::uint32_t lanes = 0;   // that were active
  std::uint32_t before = 0;  // other instructions of this warp since its last event
  Request request;           // empty for what is no access
};

struct Recording {
  const Program* program = nullptr;
  sim::BlockShape shape;
  sim::Index3 block;             // that was recorded
  std::size_t shared_bytes = 0;  // static and dynamic
  std::vector<unsigned char> parameters;
  std::vector<Range> memory;  // blocks of device memory
  // In the order of this machine: warp after warp until all wait at a barrier.
  std::vector<Event> events;
  std::uint64_t left_out = 0;  // events beyond the most that were asked for
  Counts counts;               // of the block, all of it

  explicit Recording(const Program& of) : program(&of), counts(of) {}
  // Before the step is run.
  void note(Warp& warp, const Step& step);

 private:
  friend class Recorder;
  std::size_t most_ = 0;
  std::vector<std::uint32_t> before_;  // by warp
};

// While it lives, the block of this index of every launch on a ptx device is recorded, up to `most`
// events each; launches whose grid has no such block are not. One at a time in the process, which
// launches from one thread of the host meanwhile.
class Recorder {
 public:
  Recorder(sim::Index3 block, std::size_t most);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  const std::vector<std::unique_ptr<Recording>>& recordings() const { return recordings_; }
  // A launch begins. nullptr: it is not recorded.
  Recording* begin(const Program& program, const sim::BlockShape& shape, std::size_t shared_bytes,
                   const std::vector<unsigned char>& parameters, const std::vector<Range>& memory);

 private:
  sim::Index3 block_;
  std::size_t most_;
  std::vector<std::unique_ptr<Recording>> recordings_;
};

// That which lives, or nullptr.
Recorder* recorder();

}  // namespace thorax::ptx
