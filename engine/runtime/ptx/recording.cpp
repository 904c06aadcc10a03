#include "engine/runtime/ptx/recording.h"

#include <utility>

#include "engine/runtime/ptx/opcodes.h"
#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

Recorder* current = nullptr;

bool is_event(Kind kind) {
  switch (kind) {
    case Kind::load_global:
    case Kind::store_global:
    case Kind::load_shared:
    case Kind::store_shared:
    case Kind::load_local:
    case Kind::store_local:
    case Kind::atomic:
    case Kind::async_copy:
    case Kind::matrix:
    case Kind::shuffle:
    case Kind::barrier:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Recording::note(Warp& warp, const Step& step) {
  const auto kind = static_cast<Kind>(step.kind);
  if (kind == Kind::none) return;
  counts.note(warp, step);
  const auto number = static_cast<std::size_t>(warp.number);
  if (before_.size() <= number) before_.resize(number + 1);
  if (!is_event(kind)) {
    ++before_[number];
    return;
  }
  if (events.size() >= most_) {
    ++left_out;
    return;
  }
  events.push_back({step.instruction, static_cast<std::uint32_t>(number), warp.active,
                    std::exchange(before_[number], 0), request_of(warp, step)});
}

Recorder::Recorder(sim::Index3 block, std::size_t most) : block_(block), most_(most) {
  THORAX_CHECK(current == nullptr, "[ptx] a recorder lives already");
  current = this;
}

Recorder::~Recorder() {
  current = nullptr;
}

Recording* Recorder::begin(const Program& program, const sim::BlockShape& shape,
                           std::size_t shared_bytes, const std::vector<unsigned char>& parameters,
                           const std::vector<Range>& memory) {
  if (block_.x >= shape.grid.x || block_.y >= shape.grid.y || block_.z >= shape.grid.z)
    return nullptr;
  Recording& recording = *recordings_.emplace_back(std::make_unique<Recording>(program));
  recording.shape = shape;
  recording.block = block_;
  recording.shared_bytes = shared_bytes;
  recording.parameters = parameters;
  recording.memory = memory;
  recording.most_ = most_;
  return &recording;
}

Recorder* recorder() {
  return current;
}

}  // namespace thorax::ptx
