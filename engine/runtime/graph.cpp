#include "engine/runtime/graph.h"

#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <utility>

#include "engine/runtime/allocator.h"
#include "engine/runtime/device.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr std::size_t kMaxDevices = 64;
std::atomic<bool>& flag(Device device) {
  static std::array<std::array<std::atomic<bool>, kMaxDevices>, 3> flags{};
  return flags[static_cast<std::size_t>(device.kind)][static_cast<std::size_t>(device.index)];
}

struct Pinned {
  std::mutex mutex;
  std::map<std::uintptr_t, std::size_t> blocks;
};
Pinned& pinned() {
  static Pinned& instance = *new Pinned;  // static objects release pinned memory late
  return instance;
}

// Of the graph that this thread captures.
thread_local std::vector<std::function<void()>>* effects_of_capture = nullptr;

[[noreturn]] void refused(const std::string& where, const char* what) {
  fail("[graph] {} cannot be captured (a graph of {} is being recorded)", what, where);
}

}  // namespace

namespace capture_detail {

void refuse(Device device, const char* what) {
  if (capturing(device)) refused(to_string(device), what);
}

void refuse(DeviceKind kind, const char* what) {
  for (int i = 0; i < device_count(kind); ++i) refuse(Device{kind, i}, what);
}

void note_pinned(void* block, std::size_t bytes) {
  Pinned& all = pinned();
  const std::scoped_lock lock(all.mutex);
  all.blocks[reinterpret_cast<std::uintptr_t>(block)] = bytes;
}

void forget_pinned(void* block) noexcept {
  Pinned& all = pinned();
  const std::scoped_lock lock(all.mutex);
  all.blocks.erase(reinterpret_cast<std::uintptr_t>(block));
}

bool is_pinned(const void* from, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(from);
  Pinned& all = pinned();
  const std::scoped_lock lock(all.mutex);
  const auto after = all.blocks.upper_bound(address);
  if (after == all.blocks.begin()) return false;
  const auto& [start, length] = *std::prev(after);
  return address - start <= length && bytes <= length - (address - start);
}

void refuse_pageable(Device device, const void* from, std::size_t bytes) {
  if (capturing(device) && !is_pinned(from, bytes))
    refused(to_string(device), "a copy from pageable host memory");
}

}  // namespace capture_detail

bool capturing(Device device) {
  return device.kind != DeviceKind::cpu && flag(device).load(std::memory_order_relaxed);
}

Graph Graph::capture(Device device, const std::function<void()>& body) {
  THORAX_CHECK(device.kind != DeviceKind::cpu,
               "[graph] the CPU computes at once: only cuda and sim devices have graphs");
  DeviceBackend& backend = device_backend(device.kind);
  THORAX_CHECK(backend.supports_graphs(), "[graph] {} has no graphs", to_string(device));
  capture_detail::refuse(device, "a second graph");
  Allocator& memory = allocator(device);
  Graph graph;
  const std::uint64_t own = memory.begin_private();
  const auto give_up = [&](bool begun) {
    if (begun) backend.abandon_capture(device.index);
    flag(device) = false;
    effects_of_capture = nullptr;
    memory.end_private();
    memory.drop_private(own);
  };
  bool begun = false;
  try {
    backend.begin_capture(device.index);
    begun = true;
    flag(device) = true;
    effects_of_capture = &graph.effects_;
    body();
    effects_of_capture = nullptr;
    begun = false;  // ended, well or not
    graph.graph_ = backend.end_capture(device.index);
  } catch (...) {
    give_up(begun);
    throw;
  }
  flag(device) = false;
  memory.end_private();
  graph.memory_ = own;
  graph.device_ = device;
  return graph;
}

Graph::~Graph() {
  drop();
}

Graph::Graph(Graph&& other) noexcept
    : device_(std::exchange(other.device_, {})),
      graph_(other.graph_),
      memory_(other.memory_),
      effects_(std::move(other.effects_)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
  if (this == &other) return *this;
  drop();
  device_ = std::exchange(other.device_, {});
  graph_ = other.graph_;
  memory_ = other.memory_;
  effects_ = std::move(other.effects_);
  return *this;
}

void Graph::drop() noexcept {
  if (!defined()) return;
  device_backend(device_.kind).drop_graph(device_.index, graph_);
  allocator(device_).drop_private(memory_);
  device_ = {};
}

void Graph::replay() const {
  THORAX_CHECK(defined(), "[graph] nothing was captured");
  capture_detail::refuse(device_, "a replay");
  device_backend(device_.kind).replay(device_.index, graph_);
  for (const std::function<void()>& effect : effects_) effect();
}

void at_replay(std::function<void()> effect) {
  if (effects_of_capture == nullptr)
    effect();
  else
    effects_of_capture->push_back(std::move(effect));
}

std::size_t Graph::size() const {
  return defined() ? device_backend(device_.kind).graph_size(device_.index, graph_) : 0;
}

}  // namespace thorax
