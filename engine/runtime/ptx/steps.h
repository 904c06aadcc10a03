// The table of instructions. Included by steps_v3.cpp and steps_v4.cpp, which compile it for
// different processors, and by nobody else; no function of a library with code of its own may be
// called here, since the linker keeps one copy of it.
#pragma once

#include "engine/runtime/ptx/opcodes.h"
#include "engine/runtime/ptx/operations.h"
#include "engine/runtime/ptx/steps_memory.h"
#include "engine/runtime/ptx/steps_warp.h"
#include "engine/runtime/ptx/tables.h"

namespace thorax::ptx {
namespace {

// Both forms of a step.
#define BOTH(...) \
  { __VA_ARGS__, true >, __VA_ARGS__, false > }
#define BOTH1(name) \
  { name<true>, name<false> }

#define UNARY(name, letter, T, Op, kind) \
  { name, letter letter, Kind::kind, BOTH(unary < T, Op) }
#define BINARY(name, letter, T, Op, kind) \
  { name, letter letter letter, Kind::kind, BOTH(binary < T, Op) }
#define TERNARY(name, letter, T, Op, kind) \
  { name, letter letter letter letter, Kind::kind, BOTH(ternary < T, Op) }
// Integers of every width.
#define SIGNED(base, Op)                                   \
  BINARY(base ".s16", "h", std::int16_t, Op, integer),     \
      BINARY(base ".s32", "w", std::int32_t, Op, integer), \
      BINARY(base ".s64", "l", std::int64_t, Op, integer)
#define UNSIGNED(base, Op)                                  \
  BINARY(base ".u16", "h", std::uint16_t, Op, integer),     \
      BINARY(base ".u32", "w", std::uint32_t, Op, integer), \
      BINARY(base ".u64", "l", std::uint64_t, Op, integer)
#define BITWISE(base, Op)                                     \
  BINARY(base ".b16", "h", std::uint16_t, Op, integer),       \
      BINARY(base ".b32", "w", std::uint32_t, Op, integer),   \
      BINARY(base ".b64", "l", std::uint64_t, Op, integer), { \
    base ".pred", "ppp", Kind::predicate, BOTH(logic < Op)    \
  }
#define REAL(base, Op) \
  BINARY(base ".f32", "f", float, Op, float32), BINARY(base ".f64", "d", double, Op, float64)
#define SHIFT(name, letter, T, Op) \
  { name, letter letter "w", Kind::integer, BOTH(shift < T, Op) }
#define COMPARE(name, letters, T, Op) \
  { name, "p" letters, Kind::predicate, BOTH(compare < T, Op) }
#define COMPARE_INTEGERS(base, Op)                                                                 \
  COMPARE(base ".s16", "hh", std::int16_t, Op), COMPARE(base ".u16", "hh", std::uint16_t, Op),     \
      COMPARE(base ".s32", "ww", std::int32_t, Op), COMPARE(base ".u32", "ww", std::uint32_t, Op), \
      COMPARE(base ".s64", "ll", std::int64_t, Op), COMPARE(base ".u64", "ll", std::uint64_t, Op)
#define COMPARE_BITS(base, Op)                                                                  \
  COMPARE(base ".b16", "hh", std::uint16_t, Op), COMPARE(base ".b32", "ww", std::uint32_t, Op), \
      COMPARE(base ".b64", "ll", std::uint64_t, Op)
#define COMPARE_REAL(base, Op) \
  COMPARE("setp." base ".f32", "ff", float, Op), COMPARE("setp." base ".f64", "dd", double, Op)
#define SELECT(name, letter, T) \
  { name, letter letter letter "p", Kind::move, BOTH(select < T) }
#define CONVERT(name, letters, To, From, Op) \
  { name, letters, Kind::conversion, BOTH(convert < To, From, Op) }
#define TO_INTEGER(how, Round)                                                                    \
  CONVERT("cvt." how ".s32.f32", "wf", std::int32_t, float, ToInteger<std::int32_t COMMA Round>), \
      CONVERT("cvt." how ".u32.f32", "wf", std::uint32_t, float,                                  \
              ToInteger<std::uint32_t COMMA Round>),                                              \
      CONVERT("cvt." how ".s64.f32", "lf", std::int64_t, float,                                   \
              ToInteger<std::int64_t COMMA Round>),                                               \
      CONVERT("cvt." how ".u64.f32", "lf", std::uint64_t, float,                                  \
              ToInteger<std::uint64_t COMMA Round>)
#define TO_INTEGER_64(how, Round)                                                                  \
  CONVERT("cvt." how ".s32.f64", "wd", std::int32_t, double, ToInteger<std::int32_t COMMA Round>), \
      CONVERT("cvt." how ".u32.f64", "wd", std::uint32_t, double,                                  \
              ToInteger<std::uint32_t COMMA Round>),                                               \
      CONVERT("cvt." how ".s64.f64", "ld", std::int64_t, double,                                   \
              ToInteger<std::int64_t COMMA Round>),                                                \
      CONVERT("cvt." how ".u64.f64", "ld", std::uint64_t, double,                                  \
              ToInteger<std::uint64_t COMMA Round>)
#define COMMA ,
#define MATRIX(shape, types, kElement, kDepth)                                \
  {                                                                           \
    "mma.sync.aligned." shape ".row.col.f32." types ".f32", "", Kind::matrix, \
        BOTH(multiply_matrices < Element::kElement, kDepth)                   \
  }
#define LOAD_MATRIX(kCount, count)                                             \
  {"ldmatrix.sync.aligned.m8n8." count ".shared.b16", "", Kind::matrix,        \
   BOTH(load_matrix < kCount, false)},                                         \
  {                                                                            \
    "ldmatrix.sync.aligned.m8n8." count ".trans.shared.b16", "", Kind::matrix, \
        BOTH(load_matrix < kCount, true)                                       \
  }

constexpr Opcode kOpcodes[] = {
    SIGNED("add", Add),
    UNSIGNED("add", Add),
    REAL("add", Add),
    REAL("add.rn", Add),
    SIGNED("sub", Sub),
    UNSIGNED("sub", Sub),
    REAL("sub", Sub),
    REAL("sub.rn", Sub),
    SIGNED("mul.lo", Mul),
    UNSIGNED("mul.lo", Mul),
    REAL("mul", Mul),
    REAL("mul.rn", Mul),
    BINARY("mul.hi.s32", "w", std::int32_t, MulHigh, integer),
    BINARY("mul.hi.u32", "w", std::uint32_t, MulHigh, integer),
    BINARY("mul.hi.s64", "l", std::int64_t, MulHigh, integer),
    BINARY("mul.hi.u64", "l", std::uint64_t, MulHigh, integer),
    {"mul.wide.s32", "lww", Kind::integer, BOTH(widen < std::int64_t, std::int32_t, MulWide)},
    {"mul.wide.u32", "lww", Kind::integer, BOTH(widen < std::uint64_t, std::uint32_t, MulWide)},
    {"mul.wide.s16", "whh", Kind::integer, BOTH(widen < std::int32_t, std::int16_t, MulWide)},
    {"mul.wide.u16", "whh", Kind::integer, BOTH(widen < std::uint32_t, std::uint16_t, MulWide)},
    TERNARY("mad.lo.s16", "h", std::int16_t, MulAdd, integer),
    TERNARY("mad.lo.u16", "h", std::uint16_t, MulAdd, integer),
    TERNARY("mad.lo.s32", "w", std::int32_t, MulAdd, integer),
    TERNARY("mad.lo.u32", "w", std::uint32_t, MulAdd, integer),
    TERNARY("mad.lo.s64", "l", std::int64_t, MulAdd, integer),
    TERNARY("mad.lo.u64", "l", std::uint64_t, MulAdd, integer),
    {"mad.wide.s32", "lwwl", Kind::integer, BOTH(mad_wide < std::int64_t, std::int32_t)},
    {"mad.wide.u32", "lwwl", Kind::integer, BOTH(mad_wide < std::uint64_t, std::uint32_t)},
    SIGNED("div", Divide),
    UNSIGNED("div", Divide),
    SIGNED("rem", Remainder),
    UNSIGNED("rem", Remainder),
    SIGNED("min", Min),
    UNSIGNED("min", Min),
    REAL("min", Min),
    SIGNED("max", Max),
    UNSIGNED("max", Max),
    REAL("max", Max),
    BITWISE("and", And),
    BITWISE("or", Or),
    BITWISE("xor", Xor),
    UNARY("not.b16", "h", std::uint16_t, Not, integer),
    UNARY("not.b32", "w", std::uint32_t, Not, integer),
    UNARY("not.b64", "l", std::uint64_t, Not, integer),
    {"not.pred", "pp", Kind::predicate, BOTH1(not_predicate)},
    UNARY("neg.s16", "h", std::int16_t, Negate, integer),
    UNARY("neg.s32", "w", std::int32_t, Negate, integer),
    UNARY("neg.s64", "l", std::int64_t, Negate, integer),
    UNARY("neg.f32", "f", float, Negate, float32),
    UNARY("neg.f64", "d", double, Negate, float64),
    UNARY("abs.s32", "w", std::int32_t, Absolute, integer),
    UNARY("abs.s64", "l", std::int64_t, Absolute, integer),
    UNARY("abs.f32", "f", float, Absolute, float32),
    UNARY("abs.f64", "d", double, Absolute, float64),
    SHIFT("shl.b16", "h", std::uint16_t, ShiftLeft),
    SHIFT("shl.b32", "w", std::uint32_t, ShiftLeft),
    SHIFT("shl.b64", "l", std::uint64_t, ShiftLeft),
    SHIFT("shr.u16", "h", std::uint16_t, ShiftRight),
    SHIFT("shr.s16", "h", std::int16_t, ShiftRight),
    SHIFT("shr.u32", "w", std::uint32_t, ShiftRight),
    SHIFT("shr.s32", "w", std::int32_t, ShiftRight),
    SHIFT("shr.u64", "l", std::uint64_t, ShiftRight),
    SHIFT("shr.s64", "l", std::int64_t, ShiftRight),
    SHIFT("shr.b32", "w", std::uint32_t, ShiftRight),
    SHIFT("shr.b64", "l", std::uint64_t, ShiftRight),
    UNARY("clz.b32", "w", std::uint32_t, CountLeadingZeros, integer),
    UNARY("popc.b32", "w", std::uint32_t, CountOnes, integer),
    TERNARY("prmt.b32", "w", std::uint32_t, PermuteBytes, integer),
    {"bfi.b32", "wwwww", Kind::integer, BOTH(insert_bits < std::uint32_t)},
    {"bfi.b64", "lllww", Kind::integer, BOTH(insert_bits < std::uint64_t)},
    COMPARE_INTEGERS("setp.eq", Equal),
    COMPARE_BITS("setp.eq", Equal),
    COMPARE_INTEGERS("setp.ne", NotEqual),
    COMPARE_BITS("setp.ne", NotEqual),
    COMPARE_INTEGERS("setp.lt", Less),
    COMPARE_INTEGERS("setp.le", LessEqual),
    COMPARE_INTEGERS("setp.gt", Greater),
    COMPARE_INTEGERS("setp.ge", GreaterEqual),
    COMPARE_REAL("eq", Equal),
    COMPARE_REAL("ne", NotEqual),
    COMPARE_REAL("lt", Less),
    COMPARE_REAL("le", LessEqual),
    COMPARE_REAL("gt", Greater),
    COMPARE_REAL("ge", GreaterEqual),
    COMPARE_REAL("equ", EqualOrNan),
    COMPARE_REAL("neu", NotEqualOrNan),
    COMPARE_REAL("ltu", LessOrNan),
    COMPARE_REAL("leu", LessEqualOrNan),
    COMPARE_REAL("gtu", GreaterOrNan),
    COMPARE_REAL("geu", GreaterEqualOrNan),
    COMPARE_REAL("num", Numbers),
    COMPARE_REAL("nan", AnyNan),
    SELECT("selp.b16", "h", std::uint16_t),
    SELECT("selp.u16", "h", std::uint16_t),
    SELECT("selp.s16", "h", std::uint16_t),
    SELECT("selp.b32", "w", std::uint32_t),
    SELECT("selp.u32", "w", std::uint32_t),
    SELECT("selp.s32", "w", std::uint32_t),
    SELECT("selp.f32", "f", std::uint32_t),
    SELECT("selp.b64", "l", std::uint64_t),
    SELECT("selp.u64", "l", std::uint64_t),
    SELECT("selp.s64", "l", std::uint64_t),
    SELECT("selp.f64", "d", std::uint64_t),
    TERNARY("fma.rn.f32", "f", float, Fma, float32),
    TERNARY("fma.rn.f64", "d", double, Fma, float64),
    {"fma.rm.f32", "ffff", Kind::float32, BOTH(rounded < fma_down)},
    {"add.rz.f32", "fff", Kind::float32, BOTH(rounded < add_rz)},
    REAL("div.rn", DivideReal),
    UNARY("rcp.rn.f32", "f", float, Reciprocal, float32),
    UNARY("rcp.rn.f64", "d", double, Reciprocal, float64),
    UNARY("sqrt.rn.f32", "f", float, SquareRoot, float32),
    UNARY("sqrt.rn.f64", "d", double, SquareRoot, float64),
    UNARY("ex2.approx.ftz.f32", "f", float, Exp2, special_function),
    UNARY("lg2.approx.ftz.f32", "f", float, Log2, special_function),
    UNARY("rcp.approx.ftz.f32", "f", float, ReciprocalFlushed, special_function),
    UNARY("rsqrt.approx.ftz.f32", "f", float, InverseSquareRoot, special_function),
    UNARY("sqrt.approx.ftz.f32", "f", float, SquareRootFlushed, special_function),
    UNARY("rcp.approx.ftz.f64", "d", double, ReciprocalGross, special_function),
    CONVERT("cvt.u16.u32", "hw", std::uint16_t, std::uint32_t, Cast),
    CONVERT("cvt.u32.u16", "wh", std::uint32_t, std::uint16_t, Cast),
    CONVERT("cvt.s32.s16", "wh", std::int32_t, std::int16_t, Cast),
    CONVERT("cvt.u64.u16", "lh", std::uint64_t, std::uint16_t, Cast),
    CONVERT("cvt.u16.u64", "hl", std::uint16_t, std::uint64_t, Cast),
    CONVERT("cvt.u64.u32", "lw", std::uint64_t, std::uint32_t, Cast),
    CONVERT("cvt.s64.s32", "lw", std::int64_t, std::int32_t, Cast),
    CONVERT("cvt.u32.u64", "wl", std::uint32_t, std::uint64_t, Cast),
    CONVERT("cvt.rn.f32.s32", "fw", float, std::int32_t, Cast),
    CONVERT("cvt.rn.f32.u32", "fw", float, std::uint32_t, Cast),
    CONVERT("cvt.rn.f32.s64", "fl", float, std::int64_t, Cast),
    CONVERT("cvt.rn.f32.u64", "fl", float, std::uint64_t, Cast),
    CONVERT("cvt.rn.f32.u16", "fh", float, std::uint16_t, Cast),
    CONVERT("cvt.rn.f32.s16", "fh", float, std::int16_t, Cast),
    CONVERT("cvt.rn.f64.s32", "dw", double, std::int32_t, Cast),
    CONVERT("cvt.rn.f64.u32", "dw", double, std::uint32_t, Cast),
    CONVERT("cvt.rn.f64.s64", "dl", double, std::int64_t, Cast),
    CONVERT("cvt.rn.f64.u64", "dl", double, std::uint64_t, Cast),
    CONVERT("cvt.rn.f64.u16", "dh", double, std::uint16_t, Cast),
    CONVERT("cvt.f64.f32", "df", double, float, Cast),
    CONVERT("cvt.rn.f32.f64", "fd", float, double, Cast),
    CONVERT("cvt.f32.f16", "fh", float, std::uint16_t, HalfToFloat),
    CONVERT("cvt.rn.f16.f32", "hf", std::uint16_t, float, FloatToHalf),
    CONVERT("cvt.rna.tf32.f32", "wf", std::uint32_t, float, FloatToTf32),
    CONVERT("cvt.sat.f32.f32", "ff", float, float, Saturate),
    CONVERT("cvt.rmi.f32.f32", "ff", float, float, Floor),
    CONVERT("cvt.rni.f32.f32", "ff", float, float, Nearest),
    CONVERT("cvt.rzi.f32.f32", "ff", float, float, Truncate),
    CONVERT("cvt.rpi.f32.f32", "ff", float, float, Ceiling),
    CONVERT("cvt.rpi.f64.f64", "dd", double, double, Ceiling),
    CONVERT("cvt.rni.f64.f64", "dd", double, double, Nearest),
    TO_INTEGER("rzi", Truncate),
    TO_INTEGER("rni", Nearest),
    TO_INTEGER_64("rzi", Truncate),
    TO_INTEGER_64("rni", Nearest),
    {"bar.sync", "", Kind::barrier, BOTH(barrier < 0)},
    {"barrier.sync", "", Kind::barrier, BOTH(barrier < 0)},
    {"bar.red.popc.u32", "wwp", Kind::barrier, BOTH(barrier < 1)},
    {"bar.red.and.pred", "pwp", Kind::barrier, BOTH(barrier < 2)},
    {"bar.red.or.pred", "pwp", Kind::barrier, BOTH(barrier < 3)},
    {"bar.warp.sync", "w", Kind::barrier, BOTH1(warp_barrier)},
    {"shfl.sync.up.b32", "", Kind::shuffle, BOTH(shuffle < Shuffle::up)},
    {"shfl.sync.down.b32", "", Kind::shuffle, BOTH(shuffle < Shuffle::down)},
    {"shfl.sync.bfly.b32", "", Kind::shuffle, BOTH(shuffle < Shuffle::butterfly)},
    {"shfl.sync.idx.b32", "", Kind::shuffle, BOTH(shuffle < Shuffle::index)},
    {"vote.sync.ballot.b32", "wpw", Kind::shuffle, BOTH(vote < Vote::ballot)},
    {"vote.sync.any.pred", "ppw", Kind::shuffle, BOTH(vote < Vote::any)},
    {"vote.sync.all.pred", "ppw", Kind::shuffle, BOTH(vote < Vote::all)},
    {"vote.sync.uni.pred", "ppw", Kind::shuffle, BOTH(vote < Vote::uniform)},
    {"membar.cta", "", Kind::barrier, BOTH1(fence)},
    {"membar.gl", "", Kind::barrier, BOTH1(fence)},
    {"membar.sys", "", Kind::barrier, BOTH1(fence)},
    {"cp.async.ca.shared.global", "", Kind::async_copy, BOTH1(copy_async)},
    {"cp.async.cg.shared.global", "", Kind::async_copy, BOTH1(copy_async)},
    {"cp.async.commit_group", "", Kind::async_copy, BOTH1(commit_copies)},
    {"cp.async.wait_group", "i", Kind::async_copy, BOTH1(wait_copies)},
    {"cp.async.wait_all", "", Kind::async_copy, BOTH1(wait_all_copies)},
    LOAD_MATRIX(1, "x1"),
    LOAD_MATRIX(2, "x2"),
    LOAD_MATRIX(4, "x4"),
    MATRIX("m16n8k8", "f16.f16", f16, 8),
    MATRIX("m16n8k16", "f16.f16", f16, 16),
    MATRIX("m16n8k8", "bf16.bf16", bf16, 8),
    MATRIX("m16n8k16", "bf16.bf16", bf16, 16),
    MATRIX("m16n8k4", "tf32.tf32", tf32, 4),
    MATRIX("m16n8k8", "tf32.tf32", tf32, 8),
    {"trap", "", Kind::control, BOTH1(trap)},
};

constexpr Builtins kBuiltins{.branch = BOTH(branch < false),
                             .branch_not = BOTH(branch < true),
                             .jump = BOTH1(jump),
                             .join = BOTH1(join),
                             .finish = BOTH1(finish),
                             .guard = BOTH(guard < false),
                             .guard_not = BOTH(guard < true),
                             .unguard = BOTH1(unguard),
                             .mark = BOTH1(mark),
                             .check = BOTH1(check),
                             .copy_32 = BOTH(unary < std::uint32_t, Cast),
                             .copy_64 = BOTH(unary < std::uint64_t, Cast),
                             .copy_predicate = BOTH1(copy_predicate),
                             .pack_16 = BOTH1(pack_16),
                             .unpack_16 = BOTH1(unpack_16),
                             .pack_32 = BOTH1(pack_32),
                             .unpack_32 = BOTH1(unpack_32),
                             .add_64 = BOTH(binary < std::uint64_t, Add),
                             .subtract_64 = BOTH(binary < std::uint64_t, Sub)};

#define ACCESS(space) \
  { Space::space, BOTH(access < Space::space) }
constexpr AccessRow kAccesses[] = {ACCESS(generic), ACCESS(global), ACCESS(shared),
                                   ACCESS(local),   ACCESS(param),  ACCESS(constant)};

#define MOVES(T, R, count)                                     \
  {                                                            \
    sizeof(T), std::is_signed_v<T>, count, sizeof(R),          \
        {load<T, R, count, true>, load<T, R, count, false>}, { \
      store<T, R, count, true>, store<T, R, count, false>      \
    }                                                          \
  }
#define MOVES_ALL(T, R) MOVES(T, R, 1), MOVES(T, R, 2), MOVES(T, R, 4)
constexpr MoveRow kMoves[] = {
    MOVES_ALL(std::uint8_t, std::uint32_t),  MOVES(std::int8_t, std::uint32_t, 1),
    MOVES_ALL(std::uint16_t, std::uint32_t), MOVES(std::int16_t, std::uint32_t, 1),
    MOVES_ALL(std::uint32_t, std::uint32_t), MOVES(std::int32_t, std::uint32_t, 1),
    MOVES(std::uint8_t, std::uint64_t, 1),   MOVES(std::int8_t, std::uint64_t, 1),
    MOVES(std::uint16_t, std::uint64_t, 1),  MOVES(std::int16_t, std::uint64_t, 1),
    MOVES(std::uint32_t, std::uint64_t, 1),  MOVES(std::int32_t, std::uint64_t, 1),
    MOVES(std::uint64_t, std::uint64_t, 1),  MOVES(std::uint64_t, std::uint64_t, 2)};

#define ATOMIC(op, type, T, code)                                      \
  {                                                                    \
    op "." type, sizeof(T), static_cast<std::uint8_t>(Atomic::code), { \
      atomic<T, true>, atomic<T, false>                                \
    }                                                                  \
  }
constexpr AtomicRow kAtomics[] = {ATOMIC("add", "u32", std::uint32_t, add),
                                  ATOMIC("add", "s32", std::int32_t, add),
                                  ATOMIC("add", "u64", std::uint64_t, add),
                                  ATOMIC("add", "f32", float, add),
                                  ATOMIC("add", "f64", double, add),
                                  ATOMIC("min", "u32", std::uint32_t, min),
                                  ATOMIC("min", "s32", std::int32_t, min),
                                  ATOMIC("min", "u64", std::uint64_t, min),
                                  ATOMIC("min", "s64", std::int64_t, min),
                                  ATOMIC("max", "u32", std::uint32_t, max),
                                  ATOMIC("max", "s32", std::int32_t, max),
                                  ATOMIC("max", "u64", std::uint64_t, max),
                                  ATOMIC("max", "s64", std::int64_t, max),
                                  ATOMIC("and", "b32", std::uint32_t, bit_and),
                                  ATOMIC("or", "b32", std::uint32_t, bit_or),
                                  ATOMIC("xor", "b32", std::uint32_t, bit_xor),
                                  ATOMIC("exch", "b32", std::uint32_t, exchange),
                                  ATOMIC("exch", "b64", std::uint64_t, exchange),
                                  ATOMIC("cas", "b32", std::uint32_t, cas),
                                  ATOMIC("cas", "b64", std::uint64_t, cas)};

constexpr StepTables kTables{
    kOpcodes, std::size(kOpcodes), &kBuiltins, kAccesses,          std::size(kAccesses),
    kMoves,   std::size(kMoves),   kAtomics,   std::size(kAtomics)};

}  // namespace
}  // namespace thorax::ptx
