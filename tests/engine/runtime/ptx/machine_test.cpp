// The machine on kernels written in PTX: values to the bit, control flow, and what it refuses.
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/engine/runtime/ptx/rig.h"

using namespace thorax;
using test::lanes_of;
using test::ptx_text;
using test::PtxMemory;
using test::run_ptx;

namespace {

std::vector<std::uint32_t> numbers(std::uint32_t count = 32) {
  std::vector<std::uint32_t> all(count);
  std::iota(all.begin(), all.end(), 0u);
  return all;
}
std::uint32_t one_lane(const std::string& body, std::uint32_t value) {
  const auto lanes = lanes_of(body, std::vector<std::uint32_t>(32, value));
  for (const std::uint32_t lane : lanes) CHECK(lane == lanes[0]);
  return lanes[0];
}
std::uint32_t bits(float value) {
  return std::bit_cast<std::uint32_t>(value);
}

// The error of a kernel: `body` after the registers are set up.
std::string error_of(const std::string& body, const test::PtxLaunch& launch = {},
                     const std::string& before = "") {
  PtxMemory<float> a(std::vector<float>(64, 1.0f)), b(std::vector<float>(64, 0.0f));
  try {
    run_ptx(ptx_text(body, before), a.data(), b.data(), launch);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
void check_error(const std::string& error, const std::string& part) {
  CAPTURE(error);
  CHECK(error.find(part) != std::string::npos);
  CHECK(error.find("kernels/test.cu:7") != std::string::npos);
  CHECK(error.find("test.ptx:") != std::string::npos);
}

}  // namespace

TEST_CASE("integers wrap, shift by their width and more, divide as GPUs do") {
  CHECK(one_lane("add.s32 %r3, %r4, 1;", 0x7fffffffu) == 0x80000000u);
  CHECK(one_lane("mul.lo.s32 %r3, %r4, -3;", 5) == static_cast<std::uint32_t>(-15));
  CHECK(one_lane("mul.hi.u32 %r3, %r4, %r4;", 0xffffffffu) == 0xfffffffeu);
  CHECK(one_lane("mul.hi.s32 %r3, %r4, %r4;", 0xffffffffu) == 0);
  CHECK(one_lane("shl.b32 %r3, %r4, 32;", 7) == 0);
  CHECK(one_lane("shr.s32 %r3, %r4, 40;", 0x80000000u) == 0xffffffffu);
  CHECK(one_lane("shr.u32 %r3, %r4, 31;", 0x80000000u) == 1);
  CHECK(one_lane("div.s32 %r3, %r4, -1;", 0x80000000u) == 0x80000000u);
  CHECK(one_lane("div.s32 %r3, %r4, 7;", static_cast<std::uint32_t>(-50)) ==
        static_cast<std::uint32_t>(-7));
  CHECK(one_lane("div.u32 %r3, %r4, 3;", 0xffffffffu) == 0x55555555u);
  CHECK(one_lane("div.u32 %r3, %r4, 0;", 5) == 0xffffffffu);
  CHECK(one_lane("rem.s32 %r3, %r4, 7;", static_cast<std::uint32_t>(-50)) ==
        static_cast<std::uint32_t>(-1));
  CHECK(one_lane("clz.b32 %r3, %r4;", 0) == 32);
  CHECK(one_lane("prmt.b32 %r3, %r4, 0x88776655, 30212;", 0x44332211u) == 0x88771155u);
  CHECK(one_lane("cvt.u64.u32 %l4, %r4; bfi.b64 %l5, %l4, 5, 32, 32;"
                 "mov.b64 {%r5, %r3}, %l5;",
                 0xabcdu) == 0xabcdu);
  CHECK(one_lane("mov.b32 {%h1, %h2}, %r4; mov.b32 %r3, {%h2, %h1};", 0x12345678u) == 0x56781234u);
}

TEST_CASE("division of 32 bits is exact for hard quotients") {
  for (const std::uint32_t b :
       {1u, 2u, 3u, 7u, 641u, 65535u, 0x7fffffffu, 0xfffffffeu, 0xffffffffu})
    for (const std::uint32_t a : {0u, 1u, b - 1, b, b + 1, 0x80000000u, 0xfffffffeu, 0xffffffffu}) {
      const std::string second = std::to_string(b);
      CHECK(one_lane("div.u32 %r3, %r4, " + second + ";", a) == a / b);
      CHECK(one_lane("rem.u32 %r3, %r4, " + second + ";", a) == a % b);
    }
}

TEST_CASE("floating point is rounded as the instruction says") {
  const auto f = [](const std::string& body, float x) {
    return one_lane("mov.b32 %f4, %r4;" + body + "mov.b32 %r3, %f3;", bits(x));
  };
  // 1 + 2^-24 lies between 1 and the next number.
  CHECK(f("add.f32 %f3, %f4, 0f33800000;", 1.0f) == bits(1.0f));
  CHECK(f("add.rz.f32 %f3, %f4, 0fB3000000;", 1.0f) == bits(std::nextafter(1.0f, 0.0f)));
  CHECK(f("fma.rm.f32 %f3, %f4, %f4, 0fB3000000;", 1.0f) == bits(std::nextafter(1.0f, 0.0f)));
  CHECK(f("fma.rn.f32 %f3, %f4, %f4, 0fB3000000;", 1.0f) == bits(1.0f));
  CHECK(f("fma.rn.f32 %f3, %f4, %f4, 0fBF800000;", 1.0f + 0x1p-12f) == bits(0x1p-11f + 0x1p-24f));
  CHECK(f("mul.f32 %f3, %f4, 0f3F000000;", 0x1p-149f * 3) == bits(0x1p-149f * 2));
  CHECK(f("ex2.approx.ftz.f32 %f3, %f4;", -127.0f) == bits(0.0f));
  CHECK(f("ex2.approx.ftz.f32 %f3, %f4;", 10.0f) == bits(1024.0f));
  CHECK(f("rcp.approx.ftz.f32 %f3, %f4;", 0x1p-130f) == bits(HUGE_VALF));
  CHECK(f("cvt.sat.f32.f32 %f3, %f4;", std::nanf("")) == bits(0.0f));
  CHECK(f("cvt.rni.f32.f32 %f3, %f4;", 2.5f) == bits(2.0f));
  CHECK(f("max.f32 %f3, %f4, 0f3F800000;", std::nanf("")) == bits(1.0f));
  CHECK(f("min.f32 %f3, %f4, 0f80000000;", 0.0f) == bits(-0.0f));
  CHECK(f("cvt.rzi.s32.f32 %r5, %f4; mov.b32 %f3, %r5;", 3e10f) == 0x7fffffffu);
  CHECK(f("cvt.rzi.s32.f32 %r5, %f4; mov.b32 %f3, %r5;", std::nanf("")) == 0);
  CHECK(f("cvt.rzi.u32.f32 %r5, %f4; mov.b32 %f3, %r5;", -1.5f) == 0);
  CHECK(f("cvt.rna.tf32.f32 %r5, %f4; mov.b32 %f3, %r5;", 1.0f + 0x1p-11f) ==
        bits(1.0f + 0x1p-10f));
  const auto half = [&](float x) {
    return f(
        "cvt.rn.f16.f32 %h1, %f4; mov.b32 %r5, {%h1, %h1}; and.b32 %r6, %r5, 0xffff;"
        "mov.b32 %f3, %r6;",
        x);
  };
  CHECK(half(1.0f) == 0x3c00u);
  CHECK(half(65519.996f) == 0x7bffu);
  CHECK(half(65520.0f) == 0x7c00u);
  CHECK(half(-0x1p-24f) == 0x8001u);
  CHECK(half(0x1p-25f) == 0);
  CHECK(half(1.0f + 0x1p-11f) == 0x3c00u);
  CHECK(half(1.0f + 3 * 0x1p-11f) == 0x3c02u);
  for (std::uint32_t h = 0; h < 0x7c00u; h += 37) {
    const std::uint32_t wide =
        one_lane("mov.b32 {%h1, %h2}, %r4; cvt.f32.f16 %f3, %h1; mov.b32 %r3, %f3;", h);
    CHECK(half(std::bit_cast<float>(wide)) == h);
  }
}

TEST_CASE("lanes that part meet again at the immediate post-dominator") {
  // Each lane sums 1 .. its number in a loop of its own length; then all shuffle together.
  const auto lanes = lanes_of(
      "mov.u32 %r5, 0;\nmov.u32 %r6, %r4;\n"
      "$L1:\nsetp.eq.s32 %p1, %r6, 0;\n@%p1 bra $L2;\n"
      "add.s32 %r5, %r5, %r6;\nadd.s32 %r6, %r6, -1;\nbra.uni $L1;\n"
      "$L2:\nand.b32 %r7, %r4, 1;\nsetp.eq.s32 %p2, %r7, 0;\n@!%p2 bra $L3;\n"
      "add.s32 %r5, %r5, 1000;\nbra.uni $L4;\n$L3:\nadd.s32 %r5, %r5, 2000;\n"
      "$L4:\nshfl.sync.bfly.b32 %r3|%p3, %r5, 1, 31, -1;",
      numbers());
  for (std::uint32_t i = 0; i < 32; ++i) {
    const std::uint32_t other = i ^ 1;
    CHECK(lanes[i] == other * (other + 1) / 2 + (other % 2 == 0 ? 1000 : 2000));
  }
  // Some return early; a predicate in front of an instruction; a block of 40 threads.
  const auto rest = lanes_of(
      "mov.u32 %r3, 5;\nsetp.lt.u32 %p1, %r4, 3;\n@%p1 st.global.u32 [%l2], %r4;\n@%p1 ret;\n"
      "setp.gt.u32 %p2, %r4, 35;\n@%p2 add.s32 %r3, %r3, %r4;",
      numbers(40));
  for (std::uint32_t i = 0; i < 40; ++i) CHECK(rest[i] == (i < 3 ? i : i > 35 ? 5 + i : 5));
}

TEST_CASE("shuffles, votes and barriers combine lanes and warps") {
  const auto up = lanes_of("shfl.sync.up.b32 %r3|%p1, %r4, 3, 0, -1;", numbers());
  const auto down = lanes_of("shfl.sync.down.b32 %r3, %r4, 3, 31, -1;", numbers());
  const auto index = lanes_of("shfl.sync.idx.b32 %r3, %r4, 2, 0x181f, -1;", numbers());
  const auto ballot =
      lanes_of("setp.gt.u32 %p1, %r4, 20; vote.sync.ballot.b32 %r3, %p1, -1;", numbers());
  for (std::uint32_t i = 0; i < 32; ++i) {
    CHECK(up[i] == (i >= 3 ? i - 3 : i));
    CHECK(down[i] == (i < 29 ? i + 3 : i));
    CHECK(index[i] == i / 8 * 8 + 2);
    CHECK(ballot[i] == 0xffe00000u);
  }
  // 96 threads reverse through shared memory; bar.red counts over all of them.
  const auto reversed = lanes_of(
      ".shared .align 4 .b8 tile[384];\nmov.u32 %r5, tile;\nshl.b32 %r6, %r2, 2;\n"
      "add.s32 %r7, %r5, %r6;\nst.shared.u32 [%r7], %r4;\nbar.sync 0;\n"
      "sub.s32 %r8, %r5, %r6;\nld.shared.u32 %r9, [%r8+380];\n"
      "setp.lt.u32 %p1, %r4, 50;\nbar.red.popc.u32 %r10, 0, %p1;\nmad.lo.s32 %r3, %r10, 1000, %r9;",
      numbers(96));
  for (std::uint32_t i = 0; i < 96; ++i) CHECK(reversed[i] == 50000 + 95 - i);
}

TEST_CASE("atomics add up over warps and blocks") {
  PtxMemory<std::uint32_t> a(std::vector<std::uint32_t>(256, 0)), b({0, 100, 0, 0});
  run_ptx(ptx_text("ld.param.u64 %l4, [b];\natom.global.add.u32 %r3, [%l4], 1;\n"
                   "atom.global.min.s32 %r3, [%l4+4], %r2;\nst.global.u32 [%l1], %r3;"),
          a.data(), b.data(), {10, 256});
  CHECK(b.values()[0] == 2560);
  CHECK(b.values()[1] == 0);
}

TEST_CASE("cp.async delivers at its wait, and zeros past what is valid") {
  const std::string copy =
      ".shared .align 16 .b8 tile[128];\nmov.u32 %r5, tile;\nshl.b32 %r6, %r2, 2;\n"
      "add.s32 %r7, %r5, %r6;\nsetp.lt.u32 %p1, %r2, 16;\nselp.u32 %r8, 4, 0, %p1;\n"
      "cp.async.ca.shared.global [%r7], [%l1], 4, %r8;\ncp.async.commit_group;\n";
  const auto arrived =
      lanes_of(copy + "cp.async.wait_group 0;\nld.shared.u32 %r3, [%r7];", numbers());
  const auto early =
      lanes_of(copy + "cp.async.wait_group 1;\nld.shared.u32 %r3, [%r7];", numbers());
  for (std::uint32_t i = 0; i < 32; ++i) {
    CHECK(arrived[i] == (i < 16 ? i : 0));
    CHECK(early[i] == 0xffffffffu);
  }
}

TEST_CASE("ldmatrix and mma follow the layouts of the PTX ISA") {
  // A (16 x 8) = element (r, k) is r + k / 8, B (8 x 8) is the identity: D is A's first 8 columns.
  const std::string body =
      "ld.global.u32 %r4, [%l1];\n"
      ".shared .align 16 .b8 tile[256];\nmov.u32 %r5, tile;\nshl.b32 %r6, %r2, 2;\n"
      "add.s32 %r7, %r5, %r6;\nst.shared.u32 [%r7], %r4;\nld.global.u32 %r8, [%l1+128];\n"
      "st.shared.u32 [%r7+128], %r8;\nbar.sync 0;\nand.b32 %r9, %r2, 15;\nshl.b32 %r10, %r9, 4;\n"
      "add.s32 %r11, %r5, %r10;\n"
      "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r12, %r13}, [%r11];\n"
      // B: element (k, n) of the lane: k = 2 t and 2 t + 1, n = group.
      "and.b32 %r14, %r2, 3;\nshl.b32 %r14, %r14, 1;\nshr.u32 %r15, %r2, 2;\n"
      "sub.s32 %r16, %r15, %r14;\nsetp.eq.s32 %p1, %r16, 0;\nsetp.eq.s32 %p2, %r16, 1;\n"
      "selp.b32 %r17, 0x3c00, 0, %p1;\nselp.b32 %r18, 0x3c000000, 0, %p2;\nor.b32 %r19, %r17, "
      "%r18;\n"
      "mov.f32 %f1, 0f00000000;\n"
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f2,%f3,%f4,%f5}, {%r12,%r13}, {%r19}, "
      "{%f1,%f1,%f1,%f1};\n"
      "st.global.f32 [%l2], %f2;\nst.global.f32 [%l2+128], %f3;\nst.global.f32 [%l2+256], %f4;\n"
      "st.global.f32 [%l2+384], %f5;";
  std::vector<std::uint32_t> packed(64);
  const auto half_of = [](int value) {  // 0 .. 2047
    return value == 0
               ? 0u
               : static_cast<std::uint32_t>((bits(static_cast<float>(value)) - 0x38000000u) >> 13);
  };
  for (int r = 0; r < 16; ++r)
    for (int k = 0; k < 8; k += 2)
      packed[static_cast<std::size_t>(r * 4 + k / 2)] = half_of(8 * r + k) | half_of(8 * r + k + 1)
                                                                                 << 16;
  PtxMemory<std::uint32_t> a(packed);
  PtxMemory<float> b(std::vector<float>(128, -1));
  run_ptx(ptx_text(body), a.data(), b.data());
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
      CHECK(b.values()[static_cast<std::size_t>(32 * i + lane)] == 8 * row + column);
    }
}

TEST_CASE("a load of shared memory by ld.global is an error that names the lines") {
  const std::string error = error_of(
      ".shared .align 16 .b8 tile[256];\nmov.u64 %l4, tile;\ncvta.shared.u64 %l5, %l4;\n"
      "cvta.to.global.u64 %l6, %l5;\nld.global.nc.f32 %f1, [%l6+8];");
  check_error(error, "an address of shared memory (byte 8)");
  CHECK(error.find("ld.global.nc.f32") != std::string::npos);
  CHECK(error.find("thread (0, 0, 0) of block (0, 0, 0)") != std::string::npos);
  // The generic load of the same address is right.
  CHECK(error_of(".shared .align 16 .b8 tile[256];\nmov.u64 %l4, tile;\ncvta.shared.u64 %l5, %l4;\n"
                 "ld.f32 %f1, [%l5+8];") == "");
}

TEST_CASE("accesses out of bounds or not aligned, registers nobody wrote, barriers not all reach") {
  check_error(error_of("ld.global.f32 %f1, [%l1+136];"), "byte 256 of a block of 256 bytes");
  check_error(error_of("ld.global.f32 %f1, [%l1+2];"), "is not a multiple of it");
  check_error(error_of("ld.global.v4.f32 {%f1,%f2,%f3,%f4}, [%l1];"), "for 16 bytes");
  check_error(error_of("ld.shared.f32 %f1, [%l3];"), "byte 0 of 0 bytes of shared memory");
  check_error(error_of("mov.u64 %l4, 16; st.global.f32 [%l4], 0f00000000;"),
              "is not device memory");
  check_error(error_of("add.f32 %f1, %f2, %f2;"), "register %f2 was never written");
  check_error(error_of("setp.lt.u32 %p1, %r2, 7;\n@%p1 mov.f32 %f2, 0f00000000;\n"
                       "add.f32 %f1, %f2, %f2;"),
              "thread (7, 0, 0)");
  check_error(error_of("setp.lt.u32 %p1, %r2, 7;\n@%p1 bra $L1;\nbar.sync 0;\n$L1:"),
              "not all threads of the warp");
  check_error(error_of("setp.lt.u32 %p1, %r2, 32;\n@%p1 ret;\nbar.sync 0;", {1, 64}),
              "not all threads of the block");
  check_error(error_of("setp.lt.u32 %p1, %r2, 7;\n@%p1 bra $L1;\n"
                       "shfl.sync.bfly.b32 %r3, %r2, 1, 31, -1;\n$L1:"),
              "membermask ffffffff");
  check_error(error_of("trap;"), "trap");
}

TEST_CASE("text that is not known is an error, not skipped") {
  check_error(error_of("frob.b32 %r3, %r2;"), "the instruction is not known");
  check_error(error_of("add.s32 %r3, %l1, 1;"), "register %l1 has 64 bits, not 32 bits");
  check_error(error_of("ld.global.f32 %f1, %l1;"), "no address where one must stand");
  CHECK(error_of(".frob 3;").find("the directive '.frob' is not known") != std::string::npos);
  CHECK(error_of("call f;").find("not supported") != std::string::npos);
  CHECK(error_of("bra $Lnowhere;").find("a branch to no label") != std::string::npos);
  CHECK_THROWS_AS(ptx::Module("x.ptx", "int main() {}"), Error);
  CHECK_THROWS_AS(ptx::Module("x.ptx", ".version 9.0\n.target sm_75\n.entry f() {"), Error);
}
