// Counters: answers that are known from the rules of coalescing and banks.
#include "tests/engine/runtime/ptx/rig.h"

using namespace thorax;
using test::PtxMemory;

namespace {

// The counts of the last instruction whose name begins so, in one warp unless told otherwise.
ptx::LineCounts counts_of(const std::string& body, const std::string& name,
                          const test::PtxLaunch& launch = {}) {
  PtxMemory<float> a(std::vector<float>(4096, 1.0f)), b(std::vector<float>(4096, 0.0f));
  std::vector<std::string> names;
  const auto lines = test::count_ptx(test::ptx_text(body), a.data(), b.data(), launch, names);
  ptx::LineCounts found;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i].starts_with(name)) found = lines[i];
  return found;
}
// A load of global memory, `bytes` apart from lane to lane.
ptx::LineCounts global(int bytes, const std::string& load) {
  return counts_of("ld.param.u64 %l4, [a];\nmul.wide.u32 %l5, %r2, " + std::to_string(bytes) +
                       ";\nadd.s64 %l6, %l4, %l5;\n" + load,
                   "ld.global");
}
// Of shared memory at the address in %r5, which `address` computes.
std::uint64_t wavefronts(const std::string& address, const std::string& access) {
  return counts_of(".shared .align 16 .b8 tile[16384];\n" + address + "\n" + access,
                   access.substr(0, access.find(' ')))
      .wavefronts;
}

}  // namespace

TEST_CASE("sectors and bytes of global memory by stride") {
  const std::string one = "ld.global.f32 %f1, [%l6];";
  const ptx::LineCounts unit = global(4, one);
  CHECK(unit.executed == 1);
  CHECK(unit.lanes == 32);
  CHECK(unit.sectors == 4);
  CHECK(unit.bytes == 128);
  CHECK(unit.unique_bytes == 128);
  CHECK(global(8, one).sectors == 8);
  CHECK(global(32, one).sectors == 32);
  CHECK(global(128, one).sectors == 32);
  const ptx::LineCounts same = global(0, one);
  CHECK(same.sectors == 1);
  CHECK(same.bytes == 128);
  CHECK(same.unique_bytes == 4);
  CHECK(global(4, "ld.global.f32 %f1, [%l6+16];").sectors == 5);  // not aligned to a sector
  CHECK(global(16, "ld.global.v4.f32 {%f1,%f2,%f3,%f4}, [%l6];").sectors == 16);
  CHECK(global(8, "ld.global.v2.f32 {%f1,%f2}, [%l6];").sectors == 8);
}

TEST_CASE("wavefronts of shared memory by stride and width") {
  const auto stride = [](int bytes, const std::string& access) {
    return wavefronts(
        "mov.u32 %r6, tile;\nmad.lo.s32 %r5, %r2, " + std::to_string(bytes) + ", %r6;", access);
  };
  const std::string word = "ld.shared.f32 %f1, [%r5];";
  CHECK(stride(4, word) == 1);
  CHECK(stride(0, word) == 1);  // a broadcast
  CHECK(stride(8, word) == 2);
  CHECK(stride(16, word) == 4);
  CHECK(stride(128, word) == 32);
  CHECK(stride(132, word) == 1);
  CHECK(stride(8, "ld.shared.v2.f32 {%f1,%f2}, [%r5];") == 2);
  CHECK(stride(16, "ld.shared.v4.f32 {%f1,%f2,%f3,%f4}, [%r5];") == 4);
  CHECK(stride(128, "ld.shared.v4.f32 {%f1,%f2,%f3,%f4}, [%r5];") == 32);
  CHECK(stride(4, "st.shared.f32 [%r5], 0f00000000;") == 1);
}

TEST_CASE("a transpose with and without padding, ldmatrix of plain and swizzled rows") {
  // Columns of a tile of 32 x 32 floats.
  const auto column = [](int pitch) {
    return wavefronts(
        "mov.u32 %r6, tile;\nmad.lo.s32 %r5, %r2, " + std::to_string(4 * pitch) + ", %r6;",
        "ld.shared.f32 %f1, [%r5];");
  };
  CHECK(column(32) == 32);
  CHECK(column(33) == 1);
  // Eight rows of 128 bytes each and one chunk of 16 bytes of each, for four matrices side by side.
  const std::string rows = "mov.u32 %r6, tile;\nand.b32 %r7, %r2, 7;\nshr.u32 %r8, %r2, 3;\n";
  const std::string load = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10,%r11,%r12,%r13}, [%r5];";
  const std::string at =
      "shl.b32 %r9, %r7, 7;\nshl.b32 %r14, %r8, 4;\nadd.s32 %r15, %r9, %r14;\n"
      "add.s32 %r5, %r15, %r6;";
  CHECK(wavefronts(rows + at, load) == 32);
  CHECK(wavefronts(rows + "xor.b32 %r8, %r8, %r7;\n" + at, load) == 4);
}

TEST_CASE("instructions are counted by warp and active lane, barriers and groups of copies too") {
  const std::string loop =
      "mov.u32 %r5, 0;\n$L1:\nadd.s32 %r5, %r5, 1;\nsetp.lt.u32 %p1, %r5, 10;\n@%p1 bra $L1;\n"
      "setp.lt.u32 %p2, %r2, 5;\n@%p2 mul.lo.s32 %r6, %r5, %r5;\nbar.sync 0;";
  const test::PtxLaunch launch{3, 64};
  CHECK(counts_of(loop, "setp.lt.u32", launch).executed == 6);
  CHECK(counts_of(loop, "bra", launch).executed == 60);
  CHECK(counts_of(loop, "bra", launch).lanes == 60 * 32);
  CHECK(counts_of(loop, "mul.lo", launch).executed == 3);
  CHECK(counts_of(loop, "mul.lo", launch).lanes == 15);
  CHECK(counts_of(loop, "bar.sync", launch).executed == 6);
  const std::string copy =
      ".shared .align 16 .b8 tile[512];\nmov.u32 %r5, tile;\nmad.lo.s32 %r6, %r2, 16, %r5;\n"
      "ld.param.u64 %l4, [a];\nmul.wide.u32 %l5, %r2, 16;\nadd.s64 %l6, %l4, %l5;\n"
      "cp.async.cg.shared.global [%r6], [%l6], 16;\ncp.async.commit_group;\n"
      "cp.async.wait_group 0;";
  CHECK(counts_of(copy, "cp.async.cg").sectors == 16);
  CHECK(counts_of(copy, "cp.async.cg").bytes == 512);
  CHECK(counts_of(copy, "cp.async.commit_group").executed == 1);
}
