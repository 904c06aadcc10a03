// Kernels written in PTX, run by the machine of engine/runtime/ptx.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "engine/runtime/ptx/counters.h"
#include "engine/runtime/ptx/machine.h"
#include "engine/runtime/ptx/program.h"
#include "engine/tensor/error.h"

namespace thorax::test {

// Device memory of a test, aligned as cudaMalloc's, so that sectors are counted from its beginning.
template <class T>
class PtxMemory {
 public:
  explicit PtxMemory(const std::vector<T>& values)
      : count_(values.size()),
        data_(static_cast<T*>(::operator new (count_ * sizeof(T), std::align_val_t{256}))) {
    std::copy(values.begin(), values.end(), data_);
    ptx::note_memory(data_, count_ * sizeof(T));
  }
  ~PtxMemory() {
    ptx::forget_memory(data_);
    ::operator delete (data_, std::align_val_t{256});
  }
  PtxMemory(const PtxMemory&) = delete;
  PtxMemory& operator=(const PtxMemory&) = delete;
  T* data() { return data_; }
  std::vector<T> values() const { return {data_, data_ + count_}; }

 private:
  std::size_t count_;
  T* data_;
};

// A kernel with the parameters a, b (.u64) and n (.u32): `body` with registers of every kind.
inline std::string ptx_text(const std::string& body, const std::string& before = "") {
  return ".version 9.0\n.target sm_80\n.address_size 64\n" + before +
         ".visible .entry kernel(.param .u64 a, .param .u64 b, .param .u32 n)\n{\n"
         ".reg .pred %p<16>;\n.reg .b16 %h<16>;\n.reg .b32 %r<32>;\n.reg .f32 %f<32>;\n"
         ".reg .b64 %l<32>;\n.reg .f64 %d<16>;\n.loc 1 7 0\n"
         "ld.param.u64 %l1, [a];\nld.param.u64 %l2, [b];\nld.param.u32 %r1, [n];\n"
         "mov.u32 %r2, %tid.x;\nmul.wide.u32 %l3, %r2, 4;\nadd.s64 %l1, %l1, %l3;\n"
         "add.s64 %l2, %l2, %l3;\n" +
         body + "\nret;\n}\n.file 1 \"kernels/test.cu\"\n";
}

struct PtxLaunch {
  unsigned blocks = 1, threads = 32;
  std::size_t dynamic_shared = 0;
  std::uint32_t n = 0;
};
// Returns what was counted, by instruction; `names` gets theirs.
inline std::vector<ptx::LineCounts> count_ptx(const std::string& text, const void* a, const void* b,
                                              const PtxLaunch& launch,
                                              std::vector<std::string>& names) {
  const ptx::Module module("test.ptx", text);
  const auto program = ptx::make_program(module, module.entries().at(0));
  const ptx::Argument arguments[] = {{&a, 8}, {&b, 8}, {&launch.n, 4}};
  ptx::Counts counts(*program);
  ptx::execute(*program, {80, 48 * 1024, 163 * 1024},
               {{launch.blocks, 1, 1}, {launch.threads, 1, 1}, launch.dynamic_shared}, arguments,
               &counts);
  for (const ptx::Instruction& i : program->function.instructions) names.push_back(i.name);
  return counts.lines();
}
inline void run_ptx(const std::string& text, const void* a, const void* b,
                    const PtxLaunch& launch = {}) {
  const ptx::Module module("test.ptx", text);
  const auto program = ptx::make_program(module, module.entries().at(0));
  const ptx::Argument arguments[] = {{&a, 8}, {&b, 8}, {&launch.n, 4}};
  ptx::execute(*program, {80, 48 * 1024, 163 * 1024},
               {{launch.blocks, 1, 1}, {launch.threads, 1, 1}, launch.dynamic_shared}, arguments);
}

// What the body leaves in the registers %r3 of 32 threads whose %r4 are the values given.
inline std::vector<std::uint32_t> lanes_of(const std::string& body,
                                           const std::vector<std::uint32_t>& values) {
  PtxMemory<std::uint32_t> in(values), out(std::vector<std::uint32_t>(values.size(), 0xdeadu));
  run_ptx(ptx_text("ld.global.u32 %r4, [%l1];\n" + body + "\nst.global.u32 [%l2], %r3;"), in.data(),
          out.data(), {1, static_cast<unsigned>(values.size()), 4096});
  return out.values();
}

}  // namespace thorax::test
