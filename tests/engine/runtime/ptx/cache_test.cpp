// L1, L2 and DRAM: traffic that is known from what a kernel reads and writes.
#include "engine/runtime/parallel.h"
#include "tests/engine/runtime/ptx/rig.h"

using namespace thorax;
using test::PtxMemory;

namespace {

constexpr std::size_t kL2 = 64 * 1024;
ptx::Card small_card() {
  ptx::Card card = ptx::card_named("A100");
  card.multiprocessors = 4;
  card.l2_bytes = kL2;
  return card;
}

// A card and what launches leave in its caches.
class Rig {
 public:
  // The body has the address of the thread's float of `a` in %l1 and of `b` in %l2, over all
  // blocks, and its number in %r4.
  ptx::LaunchCounts run(const std::string& body, const void* a, const void* b, unsigned blocks,
                        unsigned threads = 128) {
    const ptx::Module module(
        "test.ptx", test::ptx_text("mov.u32 %r3, %ctaid.x;\nmov.u32 %r5, %ntid.x;\n"
                                   "mad.lo.s32 %r4, %r3, %r5, %r2;\nmul.lo.s32 %r6, %r3, %r5;\n"
                                   "mul.wide.u32 %l4, %r6, 4;\nadd.s64 %l1, %l1, %l4;\n"
                                   "add.s64 %l2, %l2, %l4;\n" +
                                   body));
    const auto program = ptx::make_program(module, module.entries().at(0));
    const std::uint32_t n = 0;
    const ptx::Argument arguments[] = {{&a, 8}, {&b, 8}, {&n, 4}};
    const sim::BlockShape shape{{blocks, 1, 1}, {threads, 1, 1}, 0};
    ptx::Counts counts(*program);
    ptx::execute_counted(*program, {80, 48 * 1024, 163 * 1024}, shape, arguments, counts, memory_);
    ptx::LaunchCounts launch = ptx::summary(*program, counts, card_, shape);
    launch.traffic = memory_.traffic();
    return launch;
  }
  ptx::CardMemory& memory() { return memory_; }

 private:
  ptx::Card card_ = small_card();
  ptx::CardMemory memory_{card_};
};

const std::string kLoad = "ld.global.f32 %f1, [%l1];";
const std::string kCopy = kLoad + "\nst.global.f32 [%l2], %f1;";

}  // namespace

TEST_CASE("a streaming copy moves its bytes, each once") {
  constexpr std::size_t kBytes = 4 * kL2;
  PtxMemory<float> a(std::vector<float>(kBytes / 4, 1.0f)), b(std::vector<float>(kBytes / 4, 0.0f));
  Rig rig;
  const ptx::LaunchCounts copy = rig.run(kCopy, a.data(), b.data(), kBytes / 4 / 128);
  CHECK(copy.traffic.l2_read == kBytes);
  CHECK(copy.traffic.l2_written == kBytes);
  CHECK(copy.traffic.least_read == kBytes);
  CHECK(copy.traffic.least_written == kBytes);
  CHECK(copy.traffic.dram_read == kBytes);
  CHECK(copy.traffic.l1_hits == 0);
  CHECK(copy.sectors_a_request() == 4);
  // What still lies in L2 is written at the end; sectors that are written whole are not fetched.
  const std::uint64_t early = copy.traffic.dram_written;
  CHECK(early > 0);
  const ptx::Traffic rest = rig.memory().write_back();
  CHECK(early + rest.dram_written == kBytes);
  CHECK(rest.dram_read == 0);
  CHECK(rig.memory().write_back().dram() == 0);
}

TEST_CASE("a map that is read twice comes from DRAM once when it fits in L2, else twice") {
  for (const std::size_t bytes : {kL2 / 2, kL2 / 4 * 3, 2 * kL2}) {
    CAPTURE(bytes);
    PtxMemory<float> a(std::vector<float>(bytes / 4, 1.0f));
    Rig rig;
    const auto blocks = static_cast<unsigned>(bytes / 4 / 128);
    CHECK(rig.run(kLoad, a.data(), a.data(), blocks).traffic.dram_read == bytes);
    const ptx::LaunchCounts again = rig.run(kLoad, a.data(), a.data(), blocks);
    CHECK(again.traffic.l2_read == bytes);
    CHECK(again.traffic.least_read == bytes);
    CHECK(again.traffic.dram_read == (bytes > kL2 ? bytes : 0));
  }
}

TEST_CASE("what a block reads again comes from its L1, unless the load goes around it") {
  PtxMemory<float> a(std::vector<float>(128, 1.0f));
  CHECK(Rig().run(kLoad + kLoad, a.data(), a.data(), 1).traffic.l1_hits == 512);
  CHECK(Rig().run(kLoad + kLoad, a.data(), a.data(), 1).traffic.l2_read == 512);
  const std::string around = "ld.volatile.global.f32 %f1, [%l1];";
  const ptx::Traffic not_cached = Rig().run(around + around, a.data(), a.data(), 1).traffic;
  CHECK(not_cached.l1_hits == 0);
  CHECK(not_cached.l2_read == 1024);
  CHECK(not_cached.dram_read == 512);
  // Blocks share L2 and not L1: all read the first one's floats.
  const std::string first =
      "mul.wide.u32 %l5, %r6, 4;\nsub.s64 %l1, %l1, %l5;\n" + kLoad + "\n" + kLoad;
  const ptx::Traffic shared = Rig().run(first, a.data(), a.data(), 8).traffic;
  CHECK(shared.l2_read == 8 * 512);
  CHECK(shared.l1_hits == 8 * 512);
  CHECK(shared.dram_read == 512);
  CHECK(shared.least_read == 512);
}

TEST_CASE("strided accesses move whole sectors, stores of a part of one fetch it") {
  // One float of each sector: eight times the bytes.
  constexpr std::size_t kThreads = 1024;
  PtxMemory<float> a(std::vector<float>(8 * kThreads, 1.0f));
  const std::string strided =
      "ld.param.u64 %l5, [a];\nmul.wide.u32 %l6, %r4, 32;\nadd.s64 %l7, %l5, %l6;\n";
  Rig read;
  const ptx::LaunchCounts loads =
      read.run(strided + "ld.global.f32 %f1, [%l7];", a.data(), a.data(), kThreads / 128);
  CHECK(loads.sectors_a_request() == 32);
  CHECK(loads.traffic.dram_read == 8 * 4 * kThreads);
  Rig write;
  const std::string store = "st.global.f32 [%l7], 0f00000000;";
  const ptx::Traffic stores =
      write.run(strided + store, a.data(), a.data(), kThreads / 128).traffic;
  CHECK(stores.dram_read == 0);
  CHECK(stores.least_read == 0);
  CHECK(stores.least_written == 32 * kThreads);
  const ptx::Traffic rest = write.memory().write_back();
  CHECK(rest.dram_read == 32 * kThreads);
  CHECK(rest.dram_written == 32 * kThreads);
  // In place: read and written, both are needed.
  Rig both;
  const ptx::Traffic in_place =
      both.run(strided + "ld.global.f32 %f1, [%l7];\n" + store, a.data(), a.data(), kThreads / 128)
          .traffic;
  CHECK(in_place.least_read == 32 * kThreads);
  CHECK(in_place.least_written == 32 * kThreads);
  CHECK(both.memory().write_back().dram_read == 0);
}

TEST_CASE("an atomic reads and writes in L2; a sector that was written first need not be read") {
  PtxMemory<float> a(std::vector<float>(128, 1.0f));
  Rig rig;
  const ptx::Traffic sum =
      rig.run("ld.param.u64 %l5, [a];\natom.global.add.u32 %r7, [%l5], 1;", a.data(), a.data(), 4)
          .traffic;
  CHECK(sum.l2_read == 4 * 4 * 32);  // a sector for each warp
  CHECK(sum.dram_read == 32);
  CHECK(rig.memory().write_back().dram_written == 32);
  const ptx::Traffic own =
      Rig().run("st.global.f32 [%l1], 0f00000000;\n" + kLoad, a.data(), a.data(), 1).traffic;
  CHECK(own.least_read == 0);
  CHECK(own.least_written == 512);
  CHECK(own.dram_read == 0);
}

TEST_CASE("traffic does not depend on the number of the host's threads") {
  const int before = num_threads();
  // Each block reads what others write into, more than L2 holds.
  constexpr std::size_t kBytes = 4 * kL2;
  std::vector<ptx::Traffic> seen;
  for (const int threads : {1, 2, 4}) {
    set_num_threads(threads);
    PtxMemory<float> a(std::vector<float>(kBytes / 4, 1.0f));
    Rig rig;
    const std::string far =
        "xor.b32 %r7, %r4, 16384;\nld.param.u64 %l5, [a];\nmul.wide.u32 %l6, %r7, 4;\n"
        "add.s64 %l7, %l5, %l6;\nst.global.f32 [%l7], 0f00000000;\n" +
        kLoad;
    seen.push_back(rig.run(far, a.data(), a.data(), kBytes / 4 / 128).traffic);
  }
  set_num_threads(before);
  for (const ptx::Traffic& traffic : seen) {
    CHECK(traffic.dram_read == seen[0].dram_read);
    CHECK(traffic.dram_written == seen[0].dram_written);
    CHECK(traffic.l1_hits == seen[0].l1_hits);
  }
}

TEST_CASE("a sample of the blocks stands for all blocks") {
  constexpr unsigned kBlocks = 8 * 64 + 7;  // on 4 multiprocessors
  PtxMemory<float> a(std::vector<float>(kBlocks * 128, 1.0f)),
      b(std::vector<float>(kBlocks * 128, 0.0f));
  Rig all;
  const ptx::LaunchCounts whole = all.run(kCopy, a.data(), b.data(), kBlocks);
  for (const int each : {1, 2, 1000}) {
    CAPTURE(each);
    std::fill_n(b.data(), kBlocks * 128, 0.0f);
    Rig some;
    some.memory().sample(each);
    const ptx::LaunchCounts part = some.run(kCopy, a.data(), b.data(), kBlocks);
    CHECK(part.instructions == whole.instructions);
    CHECK(part.global_sectors == whole.global_sectors);
    CHECK(part.traffic.l2_read == whole.traffic.l2_read);
    CHECK(part.traffic.dram_read == whole.traffic.dram_read);
    CHECK(part.traffic.least_written == whole.traffic.least_written);
    // All but what stays in L2 is written back while the launch runs.
    CHECK(part.traffic.dram_written >= part.traffic.least_written - kL2);
    CHECK(part.traffic.dram_written <= whole.traffic.least_written);
    const std::vector<float> written = b.values();
    CHECK(std::count(written.begin(), written.end(), 1.0f) ==
          std::min<std::int64_t>(each * 4, kBlocks) * 128);
  }
}
