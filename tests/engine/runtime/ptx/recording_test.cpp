// A block's recording: events in order, addresses, what is left out.
#include "engine/runtime/ptx/recording.h"

#include "tests/engine/runtime/ptx/rig.h"

using namespace thorax;
using test::PtxMemory;

namespace {

struct Recorded {
  std::unique_ptr<ptx::Module> module;
  std::unique_ptr<ptx::Program> program;
  std::unique_ptr<ptx::Recorder> recorder;

  const ptx::Recording& only() const {
    REQUIRE(recorder->recordings().size() == 1);
    return *recorder->recordings()[0];
  }
  std::string name(const ptx::Event& event) const {
    return program->function.instructions[event.instruction].name;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const ptx::Event& event : only().events)
      all.push_back(std::to_string(event.warp) + " " + name(event));
    return all;
  }
};

Recorded record(const std::string& body, float* a, float* b, const test::PtxLaunch& launch,
                sim::Index3 block, std::size_t most) {
  Recorded r;
  r.module = std::make_unique<ptx::Module>("test.ptx", test::ptx_text(body));
  r.program = ptx::make_program(*r.module, r.module->entries().at(0));
  r.recorder = std::make_unique<ptx::Recorder>(block, most);
  const ptx::Argument arguments[] = {{&a, 8}, {&b, 8}, {&launch.n, 4}};
  ptx::execute(*r.program, {80, 48 * 1024, 163 * 1024},
               {{launch.blocks, 1, 1}, {launch.threads, 1, 1}, launch.dynamic_shared}, arguments);
  return r;
}

// Every thread hands its element to the next one through shared memory; odd lanes store it.
const std::string kShift =
    ".shared .align 16 .b8 tile[512];\n"
    "mov.u32 %r5, tile;\nmad.lo.s32 %r6, %r2, 4, %r5;\nld.global.f32 %f1, [%l1];\n"
    "st.shared.f32 [%r6], %f1;\nbar.sync 0;\n"
    "ld.shared.f32 %f2, [%r6];\nand.b32 %r7, %r2, 1;\nsetp.eq.u32 %p1, %r7, 1;\n"
    "@%p1 st.global.f32 [%l2], %f2;";

}  // namespace

TEST_CASE("events of a block in the order of the machine, warp after warp until a barrier") {
  PtxMemory<float> a(std::vector<float>(256, 1.0f)), b(std::vector<float>(256, 0.0f));
  const Recorded r = record(kShift, a.data(), b.data(), {3, 64}, {1, 0, 0}, 100);
  CHECK(r.names() == std::vector<std::string>{"0 ld.global.f32", "0 st.shared.f32", "0 bar.sync",
                                              "1 ld.global.f32", "1 st.shared.f32", "1 bar.sync",
                                              "0 ld.shared.f32", "0 st.global.f32",
                                              "1 ld.shared.f32", "1 st.global.f32"});
  const ptx::Recording& recording = r.only();
  CHECK(recording.left_out == 0);
  CHECK(recording.block.x == 1);
  CHECK(recording.shared_bytes == 512);
  const auto& events = recording.events;
  // The second warp's load: lane 0 is thread 32.
  const ptx::Request& load = events[3].request;
  CHECK(load.bytes == 4);
  CHECK(load.global.lanes == ptx::kAllLanes);
  CHECK(load.shared.lanes == 0);
  CHECK(load.global.at[0] == reinterpret_cast<std::uintptr_t>(a.data() + 32));
  CHECK(load.global.at[31] == reinterpret_cast<std::uintptr_t>(a.data() + 63));
  CHECK(events[4].request.shared.at[1] == 4 * 33);
  // Only odd lanes store; and what came in between is counted.
  CHECK(events[7].lanes == 0xaaaaaaaau);
  CHECK(events[7].request.global.lanes == 0xaaaaaaaau);
  CHECK(events[7].before == 2);
  // Counts are of this block alone.
  std::uint64_t barriers = 0;
  for (std::size_t i = 0; i < recording.counts.lines().size(); ++i)
    if (r.program->function.instructions[i].name == "bar.sync")
      barriers += recording.counts.lines()[i].executed;
  CHECK(barriers == 2);
}

TEST_CASE("a recording is as long as asked, its counts are whole") {
  PtxMemory<float> a(std::vector<float>(256, 1.0f)), b(std::vector<float>(256, 0.0f));
  const auto executed = [](const Recorded& r) {
    std::vector<std::uint64_t> all;
    for (const ptx::LineCounts& line : r.only().counts.lines()) all.push_back(line.executed);
    return all;
  };
  const auto whole = executed(record(kShift, a.data(), b.data(), {1, 64}, {}, 100));
  const Recorded cut = record(kShift, a.data(), b.data(), {1, 64}, {}, 4);
  CHECK(cut.only().events.size() == 4);
  CHECK(cut.only().left_out == 6);
  CHECK(executed(cut) == whole);
}

TEST_CASE("a copy has both its addresses; a launch without the block is not recorded") {
  PtxMemory<float> a(std::vector<float>(4096, 1.0f)), b(std::vector<float>(256, 0.0f));
  const std::string copy =
      ".shared .align 16 .b8 tile[512];\nmov.u32 %r5, tile;\nmad.lo.s32 %r6, %r2, 16, %r5;\n"
      "ld.param.u64 %l4, [a];\nmul.wide.u32 %l5, %r2, 16;\nadd.s64 %l6, %l4, %l5;\n"
      "cp.async.cg.shared.global [%r6], [%l6], 16;\ncp.async.commit_group;\n"
      "cp.async.wait_group 0;";
  {
    const Recorded r = record(copy, a.data(), b.data(), {}, {}, 100);
    const ptx::Request& request = r.only().events.at(0).request;
    CHECK(request.bytes == 16);
    CHECK(request.global.at[3] == reinterpret_cast<std::uintptr_t>(a.data() + 12));
    CHECK(request.shared.at[3] == 48);
    CHECK(request.shared.lanes == ptx::kAllLanes);
    CHECK(r.only().events.size() == 3);
  }
  const Recorded none = record(copy, a.data(), b.data(), {}, {1, 0, 0}, 100);
  CHECK(none.recorder->recordings().empty());
  CHECK_THROWS_AS(ptx::Recorder({}, 1), Error);
}
