// A launch: its blocks on all cores, in each block warp after warp until all wait at a barrier.
#include "engine/runtime/ptx/machine.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>

#include "engine/runtime/parallel.h"
#include "engine/runtime/ptx/cache.h"
#include "engine/runtime/ptx/counters.h"
#include "engine/runtime/ptx/library.h"
#include "engine/runtime/ptx/measure.h"
#include "engine/runtime/ptx/memory.h"
#include "engine/runtime/ptx/opcodes.h"
#include "engine/runtime/ptx/recording.h"
#include "engine/runtime/ptx/warp.h"
#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

// What one thread of the host keeps from block to block.
class Worker {
 public:
  void run(std::uint64_t launch, Block& block) {
    if (launch != launch_) prepare(block);
    launch_ = launch;
    begin_block(block);
    for (;;) {
      bool ready = false;
      for (std::size_t i = 0; i < count_; ++i) {
        Warp& warp = warps_[i];
        if (warp.state != Warp::State::ready) continue;
        ready = true;
        const Step* step = warp.at;
        if (block.counts != nullptr || block.recording != nullptr) {
          while (step != nullptr) {
            if (block.counts != nullptr) block.counts->note(warp, *step);
            if (block.recording != nullptr) block.recording->note(warp, *step);
            step = step->run[warp.partial](warp, *step);
          }
        }
        while (step != nullptr) step = step->run[warp.partial](warp, *step);
      }
      if (!ready) {
        if (std::all_of(warps_.begin(), warps_.begin() + static_cast<std::ptrdiff_t>(count_),
                        [](const Warp& w) { return w.state == Warp::State::done; }))
          return;
        release_barrier(block);
      }
    }
  }

 private:
  static std::uint64_t threads_of(const Block& block) {
    return std::uint64_t{block.shape.block.x} * block.shape.block.y * block.shape.block.z;
  }

  // Constants and what else is the same in all blocks of the launch.
  void prepare(const Block& block) {
    const Program& program = *block.program;
    const std::uint64_t threads = threads_of(block);
    count_ = (threads + kLanes - 1) / kLanes;
    if (warps_.size() < count_) warps_.resize(count_);
    const std::size_t needed = count_ * program.register_bytes;
    if (capacity_ < needed) {
      registers_.reset(
          static_cast<unsigned char*>(std::aligned_alloc(64, (needed + 63) / 64 * 64)));
      THORAX_CHECK(registers_ != nullptr, "[ptx] no memory for the registers of a block");
      capacity_ = needed;
    }
    std::memset(registers_.get(), 0, needed);
    for (std::size_t i = 0; i < count_; ++i) {
      Warp& warp = warps_[i];
      warp.registers = registers_.get() + i * program.register_bytes;
      warp.number = static_cast<int>(i);
      warp.known.fill({});
      for (const Preset& preset : program.presets) fill(warp, preset, block);
    }
  }

  static void fill(Warp& warp, const Preset& preset, const Block& block) {
    using What = Preset::What;
    if (preset.width == Width::predicate) {
      warp.predicate(preset.offset) = static_cast<std::uint32_t>(preset.bits);
      return;
    }
    const auto axis = [&](const sim::Index3& i) {
      return preset.bits == 0 ? i.x : preset.bits == 1 ? i.y : i.z;
    };
    const sim::Index3 size = block.shape.block;
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const unsigned thread = static_cast<unsigned>(warp.number) * kLanes + lane;
      std::uint64_t value = preset.bits;
      switch (preset.what) {
        case What::constant:
          break;
        case What::tid:
          value = axis({thread % size.x, thread / size.x % size.y, thread / size.x / size.y});
          break;
        case What::ntid:
          value = axis(size);
          break;
        case What::ctaid:
          value = axis(block.index);
          break;
        case What::nctaid:
          value = axis(block.shape.grid);
          break;
        case What::lane:
          value = lane;
          break;
        case What::warp:
          value = static_cast<unsigned>(warp.number);
          break;
      }
      if (preset.width == Width::b64) {
        warp.lanes<std::uint64_t>(preset.offset)[lane] = value;
      } else {
        warp.lanes<std::uint32_t>(preset.offset)[lane] = static_cast<std::uint32_t>(value);
      }
    }
  }

  void begin_block(Block& block) {
    const Program& program = *block.program;
    const std::uint64_t threads = threads_of(block);
    shared_.resize(std::max(shared_.size(), block.shared_bytes));
    // NaN, as in memory nobody wrote.
    std::fill_n(shared_.begin(), block.shared_bytes, std::uint8_t{0xff});
    block.shared = shared_.data();
    for (std::size_t i = 0; i < count_; ++i) {
      Warp& warp = warps_[i];
      std::memset(warp.registers, 0, program.cleared_bytes);
      for (const Preset& preset : program.presets)
        if (preset.what == Preset::What::ctaid) fill(warp, preset, block);
      const std::uint64_t left = threads - i * kLanes;
      warp.live = left >= kLanes ? kAllLanes : (1u << left) - 1;
      warp.set_active(warp.live);
      warp.block = &block;
      warp.split_count = 0;
      warp.at = program.steps.data();
      warp.state = Warp::State::ready;
      warp.copies.clear();
      warp.copy_group.fill(0);
      warp.local.assign(program.local_bytes * kLanes, 0xff);
    }
  }

  // Lets the warps go that wait at a barrier which has all its threads ("bar").
  void release_barrier(const Block& block) {
    bool released = false;
    for (std::size_t i = 0; i < count_; ++i) {
      if (warps_[i].state != Warp::State::at_barrier) continue;
      const Warp::Waiting first = warps_[i].waiting;
      std::vector<Warp*> there;
      std::uint64_t threads = 0, ones = 0;
      bool all = true;
      for (std::size_t k = 0; k < count_; ++k) {
        Warp& warp = warps_[k];
        if (warp.state != Warp::State::at_barrier || warp.waiting.barrier != first.barrier)
          continue;
        if (warp.waiting.threads != first.threads || warp.waiting.reduction != first.reduction)
          fault(warp, *warp.waiting.step, std::countr_zero(warp.live),
                "another kind of the barrier that others wait at");
        there.push_back(&warp);
        threads += static_cast<std::uint64_t>(std::popcount(warp.live));
        ones += static_cast<std::uint64_t>(std::popcount(warp.waiting.predicate));
        all &= warp.waiting.predicate == warp.live;
      }
      if (threads != (first.threads == 0 ? threads_of(block) : first.threads)) continue;
      for (Warp* warp : there) {
        warp->state = Warp::State::ready;
        if (first.reduction == 1)
          for (int lane = 0; lane < kLanes; ++lane)
            warp->lanes<std::uint32_t>(first.result)[lane] = static_cast<std::uint32_t>(ones);
        if (first.reduction > 1)
          warp->predicate(first.result) = (first.reduction == 2 ? all : ones > 0) ? kAllLanes : 0;
      }
      released = true;
    }
    if (released) return;
    for (std::size_t i = 0; i < count_; ++i)
      if (warps_[i].state == Warp::State::at_barrier)
        fault(warps_[i], *warps_[i].waiting.step, std::countr_zero(warps_[i].live),
              "a barrier that not all threads of the block reach");
  }

  struct Free {
    void operator()(unsigned char* p) const { std::free(p); }
  };
  std::uint64_t launch_ = 0;
  std::size_t count_ = 0, capacity_ = 0;
  std::vector<Warp> warps_;
  std::unique_ptr<unsigned char, Free> registers_;
  std::vector<unsigned char> shared_;
};

// The parameters one after the other, as the kernel's PTX lays them out.
std::vector<unsigned char> parameters(const Program& program, std::span<const Argument> arguments) {
  const auto& wanted = program.function.parameters;
  THORAX_CHECK(wanted.size() == arguments.size(), "[ptx] {}: {} arguments, its PTX has {}",
               program.name, arguments.size(), wanted.size());
  std::vector<unsigned char> bytes(std::max<std::size_t>(program.parameter_bytes, 1), 0);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    THORAX_CHECK(wanted[i].bytes == arguments[i].bytes,
                 "[ptx] {}: argument {} has {} bytes, in its PTX {}", program.name, i,
                 arguments[i].bytes, wanted[i].bytes);
    std::memcpy(bytes.data() + wanted[i].offset, arguments[i].data, arguments[i].bytes);
  }
  return bytes;
}

// Wave by wave: the blocks of one on all cores, then their accesses through the card's caches. How
// long a wave is depends on the launch alone, and so does what is counted.
template <class Run>
void run_in_waves(CardMemory& memory, Counts& counts, std::uint64_t threads, std::size_t shared,
                  std::int64_t blocks, const Run& run) {
  const Card& card = memory.card();
  const std::size_t reserved = limits_of(card.capability).reserved;
  const int resident =
      std::max(1, resident_blocks(card.capability, 0, static_cast<int>(threads), shared));
  const auto one = static_cast<std::size_t>(resident);
  const std::size_t taken = one * (shared + reserved);
  // What shared memory leaves, shared by the blocks of a multiprocessor.
  const std::size_t l1 = card.l1_bytes > taken ? (card.l1_bytes - taken) / one : 0;
  std::int64_t wave = std::int64_t{resident} * card.multiprocessors;
  std::int64_t begin_at = 0, end_at = blocks;
  const std::int64_t sampled = std::int64_t{memory.sampled_blocks()} * card.multiprocessors;
  if (sampled > 0 && sampled < blocks) {
    begin_at = (blocks - sampled) / 2;
    end_at = begin_at + sampled;
    wave = card.multiprocessors;
  }
  memory.begin_launch();
  Traffic of_first;
  std::vector<BlockTrace> traces;
  for (std::int64_t first = begin_at; first < end_at; first += wave) {
    const std::int64_t count = std::min(wave, end_at - first);
    traces.resize(static_cast<std::size_t>(count));
    for (BlockTrace& trace : traces) trace.begin(l1);
    parallel_for(0, count, std::max<std::int64_t>(1, count / 16),
                 [&](std::int64_t begin, std::int64_t end) {
                   run(first + begin, first + end, traces.data() + begin);
                 });
    memory.replay(traces);
    if (first == begin_at) of_first = memory.traffic();
  }
  const auto whole = static_cast<std::uint64_t>(blocks);
  const auto ran = static_cast<std::uint64_t>(end_at - begin_at);
  counts.scale(whole, ran);
  memory.scale(whole, static_cast<std::uint64_t>(std::min(wave, end_at - begin_at)), ran, of_first);
}

}  // namespace

void fault(const Warp& warp, const Step& step, int lane, const std::string& what) {
  const Block& block = *warp.block;
  const sim::Index3 size = block.shape.block;
  const unsigned thread =
      static_cast<unsigned>(warp.number) * kLanes + static_cast<unsigned>(std::max(lane, 0));
  fail("[ptx] {}: {}; at {}; thread ({}, {}, {}) of block ({}, {}, {})", block.program->name, what,
       block.program->describe(step.instruction), thread % size.x, thread / size.x % size.y,
       thread / size.x / size.y, block.index.x, block.index.y, block.index.z);
}
void fault(const Warp& warp, const Step& step, int lane, const char* what) {
  fault(warp, step, lane, std::string(what));
}
void fault_unwritten(const Warp& warp, const Step& step, int lane) {
  fault(warp, step, lane,
        fmt::format("register {} was never written",
                    warp.block->program->function.registers[step.a].name));
}
void fault_members(const Warp& warp, const Step& step, int lane, std::uint32_t mask) {
  fault(warp, step, lane,
        fmt::format("membermask {:08x}, and the lanes that execute it are {:08x}", mask,
                    warp.active));
}

const Step* next_lanes(Warp& warp, const Step* join) {
  while (warp.split_count > 0) {
    Warp::Split& top = warp.splits[warp.split_count - 1];
    if (join != nullptr && top.join != join) return join + 1;
    if (const std::uint32_t pending = top.pending & warp.live; pending != 0) {
      top.pending = 0;
      warp.set_active(pending);
      return top.at;
    }
    join = top.join;
    const std::uint32_t all = top.all & warp.live;
    --warp.split_count;
    if (all == 0) {
      join = nullptr;
    } else {
      warp.set_active(all);
    }
  }
  if (join != nullptr) return join + 1;
  warp.state = Warp::State::done;
  return nullptr;
}

void launch(const Kernel& kernel, const sim::Architecture& architecture,
            const sim::BlockShape& shape, std::span<const Argument> arguments) {
  sim::check_launch(kernel.name, architecture, shape);
  const Program& program = library().find(kernel, architecture.compute_capability);
  Measurement* const measurement = Measurement::running();
  if (measurement == nullptr && !counting())
    return execute(program, architecture, shape, arguments);
  Counts counts(program);
  if (measurement == nullptr) {
    execute(program, architecture, shape, arguments, &counts);
  } else {
    execute_counted(program, architecture, shape, arguments, counts, measurement->memory());
  }
  if (counting()) add_launch(program, counts);
  if (measurement != nullptr) {
    LaunchCounts launch = summary(program, counts, measurement->memory().card(), shape);
    launch.traffic = measurement->memory().traffic();
    measurement->add(std::move(launch));
  }
}

namespace {

void execute_on(const Program& program, const sim::Architecture& architecture,
                const sim::BlockShape& shape, std::span<const Argument> arguments, Counts* counts,
                CardMemory* card) {
  THORAX_CHECK(program.static_shared <= architecture.shared_static,
               "[ptx] {}: {} bytes of static shared memory, sm_{} has {}", program.name,
               program.static_shared, architecture.compute_capability, architecture.shared_static);
  const std::size_t shared = program.static_shared + shape.dynamic_shared;
  THORAX_CHECK(shared <= architecture.shared_in_all,
               "[ptx] {}: {} bytes of static and {} of dynamic shared memory, sm_{} has {}",
               program.name, program.static_shared, shape.dynamic_shared,
               architecture.compute_capability, architecture.shared_in_all);
  const std::uint64_t threads = std::uint64_t{shape.block.x} * shape.block.y * shape.block.z;
  THORAX_CHECK(program.function.max_threads == 0 || threads <= program.function.max_threads,
               "[ptx] {}: a block of {} threads; it was compiled for {} (__launch_bounds__)",
               program.name, threads, program.function.max_threads);
  const std::vector<unsigned char> bytes = parameters(program, arguments);
  const auto memory = device_memory();
  Recording* const recording =
      recorder() == nullptr ? nullptr : recorder()->begin(program, shape, shared, bytes, *memory);
  const std::uint64_t recorded =
      recording == nullptr
          ? ~std::uint64_t{0}
          : recording->block.x +
                std::uint64_t{shape.grid.x} *
                    (recording->block.y + std::uint64_t{shape.grid.y} * recording->block.z);
  std::mutex counts_mutex;
  static std::atomic<std::uint64_t> launches{0};
  const std::uint64_t number = ++launches;
  // Blocks first ... last - 1; with a card `traces` has one for each.
  const auto run = [&](std::int64_t first, std::int64_t last, BlockTrace* traces) {
    static thread_local Worker worker;
    Block block;
    block.program = &program;
    block.shape = shape;
    block.shared_bytes = shared;
    block.parameters = bytes.data();
    block.parameter_bytes = program.parameter_bytes;
    block.memory = *memory;
    std::optional<Counts> counted;
    if (counts != nullptr) block.counts = &counted.emplace(program);
    for (std::int64_t i = first; i < last; ++i) {
      const auto b = static_cast<std::uint64_t>(i);
      block.order = b;
      block.index = {static_cast<unsigned>(b % shape.grid.x),
                     static_cast<unsigned>(b / shape.grid.x % shape.grid.y),
                     static_cast<unsigned>(b / shape.grid.x / shape.grid.y)};
      if (traces != nullptr) block.trace = traces + (i - first);
      block.recording = b == recorded ? recording : nullptr;
      worker.run(number, block);
    }
    if (counts != nullptr) {
      const std::scoped_lock lock(counts_mutex);
      counts->add(*counted);
    }
  };
  const auto blocks = static_cast<std::int64_t>(shape.grid.x) * shape.grid.y * shape.grid.z;
  if (card == nullptr) {
    parallel_for(0, blocks, std::max<std::int64_t>(1, blocks / 64),
                 [&](std::int64_t first, std::int64_t last) { run(first, last, nullptr); });
    return;
  }
  run_in_waves(*card, *counts, threads, shared, blocks, run);
}

}  // namespace

void execute(const Program& program, const sim::Architecture& architecture,
             const sim::BlockShape& shape, std::span<const Argument> arguments, Counts* counts) {
  execute_on(program, architecture, shape, arguments, counts, nullptr);
}

void execute_counted(const Program& program, const sim::Architecture& architecture,
                     const sim::BlockShape& shape, std::span<const Argument> arguments,
                     Counts& counts, CardMemory& memory) {
  execute_on(program, architecture, shape, arguments, &counts, &memory);
}

}  // namespace thorax::ptx
