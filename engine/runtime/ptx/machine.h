// Runs kernels of PTX files on the CPU: the devices ptx:0 ... (README.md).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "engine/runtime/sim/block.h"

namespace thorax::ptx {

// An argument of a kernel: its bytes as the ABI of host and device lay it out.
struct Argument {
  const void* data = nullptr;
  std::size_t bytes = 0;
};

// A kernel as the host knows it. `symbol`: typeid's name of KernelTag<&kernel> (launch.h), `file`:
// the .cu file's path, `name`: for messages.
struct Kernel {
  const char* symbol = nullptr;
  const char* file = nullptr;
  const char* name = nullptr;
};

// Runs all blocks, on all cores, and returns when they are done. `arguments` as long as the kernel
// has parameters. Throws Error "[ptx] kernel: ..." for a kernel that the PTX files lack, a launch
// that the architecture refuses, and what a block does wrong, with the PTX line and source line.
void launch(const Kernel& kernel, const sim::Architecture& architecture,
            const sim::BlockShape& shape, std::span<const Argument> arguments);

// The same for a kernel at hand; what it does is added to `counts` (counters.h).
struct Program;
class Counts;
void execute(const Program& program, const sim::Architecture& architecture,
             const sim::BlockShape& shape, std::span<const Argument> arguments,
             Counts* counts = nullptr);

// Device memory: what kernels may access. Blocks do not overlap.
void note_memory(const void* block, std::size_t bytes);
void forget_memory(const void* block) noexcept;

// Where the PTX files come from: THORAX_PTX, else the folder `ptx` of the build; empty with the
// reason in `why` when there are none.
std::string find_folder(std::string& why);

}  // namespace thorax::ptx
