// Loops of machine code: a listing made of a small kernel, and what is none.
#include "apps/bench/sass.h"

#include <doctest/doctest.h>

#include "data/csv.h"
#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"
#include "tests/apps/commands.h"

using namespace thorax;
using namespace thorax::test;
using app::SassClass;

namespace {

// nvcc -cubin -arch=sm_75 of
//   __global__ void two_loops(const float* a, float* b, int n, int k) {
//     __shared__ float tile[32];
//     float sum = 0;
//   #pragma unroll 1
//     for (int i = 0; i < n; ++i) {
//       tile[threadIdx.x] = a[i * 32 + threadIdx.x];
//       __syncthreads();
//   #pragma unroll 1
//       for (int j = 0; j < k; ++j) sum += tile[j] * tile[(j + threadIdx.x) % 32];
//       __syncthreads();
//     }
//     b[threadIdx.x] = sum;
//   }
// by cuobjdump -res-usage and -sass, without the encodings.
constexpr const char* kTwoLoops = R"sass(Resource usage:
 Common:
  GLOBAL:0
 Function _Z9two_loopsPKfPfii:
  REG:10 STACK:0 SHARED:128 LOCAL:0 CONSTANT[0]:376 TEXTURE:0 SURFACE:0 SAMPLER:0
	code for sm_75
	.target	sm_75
		Function : _Z9two_loopsPKfPfii
	.headerflags	@"EF_CUDA_SM75 EF_CUDA_VIRTUAL_SM(EF_CUDA_SM75)"
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
        /*0010*/                   ISETP.LT.AND P0, PT, RZ, c[0x0][0x170], PT ;
        /*0020*/              @!P0 IMAD.MOV.U32 R5, RZ, RZ, RZ ;
        /*0030*/              @!P0 BRA 0x210 ;
        /*0040*/                   S2R R7, SR_TID.X ;
        /*0050*/                   MOV R5, RZ ;
        /*0060*/                   IMAD.MOV.U32 R0, RZ, RZ, RZ ;
        /*0070*/                   MOV R3, 0x4 ;
        /*0080*/                   IMAD R2, R0, 0x20, R7 ;
        /*0090*/                   IMAD.WIDE.U32 R2, R2, R3, c[0x0][0x160] ;
        /*00a0*/                   LDG.E.SYS R2, [R2] ;
        /*00b0*/                   IMAD.MOV.U32 R4, RZ, RZ, 0x1 ;
        /*00c0*/                   ISETP.LE.AND P0, PT, R4, c[0x0][0x174], PT ;
        /*00d0*/                   STS [R7.X4], R2 ;
        /*00e0*/                   BAR.SYNC 0x0 ;
        /*00f0*/              @!P0 BRA 0x1d0 ;
        /*0100*/                   IMAD.MOV.U32 R2, RZ, RZ, RZ ;
        /*0110*/                   MOV R3, R7 ;
        /*0120*/                   UMOV UR4, URZ ;
        /*0130*/                   IMAD.SHL.U32 R4, R3.reuse, 0x4, RZ ;
        /*0140*/                   LDS.U R6, [UR4] ;
        /*0150*/                   IADD3 R2, R2, 0x1, RZ ;
        /*0160*/                   UIADD3 UR4, UR4, 0x4, URZ ;
        /*0170*/                   IADD3 R3, R3, 0x1, RZ ;
        /*0180*/                   LOP3.LUT R4, R4, 0x7c, RZ, 0xc0, !PT ;
        /*0190*/                   ISETP.GE.AND P0, PT, R2, c[0x0][0x174], PT ;
        /*01a0*/                   LDS.U R4, [R4] ;
        /*01b0*/                   FFMA R5, R4, R6, R5 ;
        /*01c0*/              @!P0 BRA 0x130 ;
        /*01d0*/                   IADD3 R0, R0, 0x1, RZ ;
        /*01e0*/                   BAR.SYNC 0x0 ;
        /*01f0*/                   ISETP.GE.AND P0, PT, R0, c[0x0][0x170], PT ;
        /*0200*/              @!P0 BRA 0x70 ;
        /*0210*/                   S2R R2, SR_TID.X ;
        /*0220*/                   MOV R3, 0x4 ;
        /*0230*/                   IMAD.WIDE.U32 R2, R2, R3, c[0x0][0x168] ;
        /*0240*/                   STG.E.SYS [R2], R5 ;
        /*0250*/                   EXIT ;
        /*0260*/                   BRA 0x260;
        /*0270*/                   NOP;
		..........
)sass";

std::string changed(const std::string& from, const std::string& to) {
  std::string text = kTwoLoops;
  const std::size_t at = text.find(from);
  REQUIRE(at != text.npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("loops of a kernel: nested, with their instructions by class") {
  const auto kernels = app::parse_sass(kTwoLoops, "k.sass");
  REQUIRE(kernels.size() == 1);
  CHECK(kernels[0].name == "_Z9two_loopsPKfPfii");
  CHECK(kernels[0].capability == 75);
  CHECK(kernels[0].registers == 10);
  CHECK(kernels[0].shared == 128);
  CHECK(kernels[0].instructions.size() == 40);
  const auto loops = kernels[0].loops();
  REQUIRE(loops.size() == 2);
  const app::SassLoop &outer = loops[0], &inner = loops[1];
  CHECK(outer.head == 0x70);
  CHECK(outer.depth == 1);
  CHECK_FALSE(outer.innermost);
  CHECK(outer.blocks == 4);
  CHECK(outer.instructions() == 26);
  CHECK(outer[SassClass::ldg] == 1);
  CHECK(outer[SassClass::sts] == 1);
  CHECK(outer[SassClass::barrier] == 2);
  CHECK(outer[SassClass::lds] == 2);
  CHECK(outer[SassClass::stg] == 0);
  CHECK(inner.head == 0x130);
  CHECK(inner.depth == 2);
  CHECK(inner.innermost);
  CHECK(inner.blocks == 1);
  CHECK(inner.instructions() == 10);
  CHECK(inner[SassClass::ffma] == 1);
  CHECK(inner[SassClass::lds] == 2);
  CHECK(inner[SassClass::imad] == 1);
  CHECK(inner[SassClass::integer] == 4);
  CHECK(inner[SassClass::uniform] == 1);
  CHECK(inner[SassClass::control] == 1);
}

TEST_CASE("classes of opcodes") {
  const auto is = [](const char* opcode, SassClass c) {
    CHECK_MESSAGE(app::class_of(opcode) == c,
                  opcode << " is " << app::name_of(app::class_of(opcode)));
  };
  is("HMMA.16816.F32", SassClass::hmma);
  is("LDS.U.128", SassClass::lds);
  is("LDSM.16.M88.4", SassClass::ldsm);
  is("LDGSTS.E.BYPASS.128", SassClass::ldgsts);
  is("LDGDEPBAR", SassClass::barrier);
  is("LDG.E.128.CONSTANT", SassClass::ldg);
  is("IMAD.MOV.U32", SassClass::imad);
  is("IADD3.X", SassClass::integer);
  is("UIADD3", SassClass::uniform);
  is("FADD", SassClass::float32);
  is("FFMA.FTZ", SassClass::ffma);
  is("HFMA2.MMA", SassClass::half);
  is("STL", SassClass::local);
  is("FOO", SassClass::other);
}

TEST_CASE("a region that ends elsewhere, cold code behind the end, a jump into nowhere") {
  const std::string head = "code for sm_90\nFunction : f\n";
  // The loop's rare part lies behind EXIT and comes back.
  const auto cold = app::parse_sass(head +
                                        "/*0000*/ FADD R0, R0, R1 ;\n/*0010*/ @P1 BRA 0x50 ;\n"
                                        "/*0020*/ FFMA R0, R0, R1, R2 ;\n/*0030*/ @P0 BRA 0x0 ;\n"
                                        "/*0040*/ EXIT ;\n/*0050*/ MUFU.RCP R0, R0 ;\n"
                                        "/*0060*/ BRA 0x20 ;\n",
                                    "k")[0]
                        .loops();
  REQUIRE(cold.size() == 1);
  CHECK(cold[0].blocks == 3);
  CHECK(cold[0].instructions() == 6);
  CHECK(cold[0][SassClass::mufu] == 1);
  // BSYNC goes to where BSSY says.
  const auto region = app::parse_sass(head +
                                          "/*0000*/ BSSY B1, 0x40 ;\n/*0010*/ @P0 BRA 0x30 ;\n"
                                          "/*0020*/ MOV R0, R1 ;\n/*0030*/ BSYNC B1 ;\n"
                                          "/*0040*/ @P1 BRA 0x0 ;\n/*0050*/ EXIT ;\n",
                                      "k")[0]
                          .loops();
  REQUIRE(region.size() == 1);
  CHECK(region[0].instructions() == 5);
  CHECK(app::parse_sass(head + "/*0000*/ BRA 0x1230 ;\n", "k")[0].loops().empty());
  CHECK(app::parse_sass(head, "k")[0].loops().empty());
  // Behind the end only space is filled.
  CHECK(app::parse_sass(head + "/*0000*/ EXIT ;\n/*0010*/ BRA 0x10;\n", "k")[0].loops().empty());
}

TEST_CASE("what is no listing is refused with its line") {
  const auto refused = [](const std::string& text, const char* what) {
    try {
      app::parse_sass(text, "k.sass");
      FAIL("taken: " << text);
    } catch (const Error& error) {
      CHECK_MESSAGE(has(error.what(), what), error.what());
      CHECK_MESSAGE(has(error.what(), "[sass] k.sass"), error.what());
    }
  };
  refused("", "there is no function");
  refused("Function : f\n", "k.sass:1: a function before any 'code for sm_...'");
  refused(changed("sm_75", "sm_x"), "an architecture is 'sm_' and a number");
  refused(changed("Function : _Z9two_loopsPKfPfii", "Function :"), "a function without a name");
  refused(changed("Function : _Z9two_loopsPKfPfii", ""), "an instruction outside a function");
  refused(changed("/*0020*/", "/*0010*/"), "not behind the one before it");
  refused(changed("/*0020*/", "/*xyz*/"), "without its address");
  refused(changed("NOP", ""), "an address without an instruction");
  refused(changed("REG:10", "REG:many"), "are small numbers");
  refused(changed("REG:10", "REG:99999999"), "are small numbers");
}

TEST_CASE("bench sass: a row for each loop") {
  const TemporaryFolder t;
  atomic_write(t / "k.sass", kTwoLoops);
  run({"bench", "sass", t / "k.sass", "--csv", t / "k.csv"});
  const CsvTable table = CsvTable::read(t / "k.csv");
  REQUIRE(table.rows() == 2);
  CHECK(table.at(1, table.column("kernel")) == "two_loops");
  CHECK(table.at(1, table.column("arch")) == "sm_75");
  CHECK(table.at(1, table.column("registers")) == "10");
  CHECK(table.at(1, table.column("loop")) == "0x0130");
  CHECK(table.at(1, table.column("ffma")) == "1");
  // A name that is not mangled stays as it is.
  atomic_write(t / "f.sass", "code for sm_90\nFunction : f\n/*0000*/ BRA 0x0 ;\n");
  CHECK(has(run({"bench", "sass", t / "f.sass"}), "\nf,sm_90,,,0x0000,1,1,1,1,"));
  CHECK(has(refuse({"bench", "sass", t / "none.sass"}), "none.sass: cannot be read"));
  CHECK(has(refuse({"bench", "sass", t / "k.csv"}), "there is no function"));
}
