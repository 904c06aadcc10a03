// What every CUDA kernel takes of a multiprocessor, from kernels/resources.csv.
#pragma once

#include <string>
#include <vector>

namespace thorax::app {

// One kernel on one architecture, as ptxas reports it, with the largest block it is launched with.
struct KernelResources {
  std::string kernel;
  int capability = 0;  // 75 for sm_75
  int registers = 0;   // of a thread
  int spills = 0;      // bytes
  int static_shared = 0, threads = 0, dynamic_shared = 0;

  // Blocks that a multiprocessor holds at once, by warps, registers and shared memory.
  int resident_blocks() const;
  double occupancy() const;  // the share of the multiprocessor's warps that are then resident
};
std::vector<KernelResources> kernel_resources();

// "void a::(anonymous namespace)::f<a::T, 4>(int)": "f<T, 4>", without scopes and parameters.
std::string plain_kernel_name(const std::string& demangled);
// The row of a kernel whose PTX calls it so ("void thorax::f<float, 4>(float*)"), on an
// architecture; nullptr when the table lacks it.
const KernelResources* find_resources(const std::string& kernel, int capability);
// Registers of a thread of it; where the table has only other instantiations the most of any of
// them, 0 when it has none.
int registers_of(const std::string& kernel, int capability);

// One row per kernel and architecture: registers, spills, shared memory, threads a block, and the
// occupancy that follows: the share of the multiprocessor's warps that can be resident.
void print_kernel_table(bool as_json);

}  // namespace thorax::app
