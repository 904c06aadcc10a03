#include "apps/kernel_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include <thorax_kernel_resources.h>  // generated: kKernelResources, the text of resources.csv
#include "data/csv.h"

namespace thorax::app {
namespace {

// Per multiprocessor: CUDA C++ Programming Guide, "Technical Specifications per Compute
// Capability".
struct Multiprocessor {
  int warps, blocks,
      shared;  // shared in bytes, with 1 KiB a block kept by the system from sm_80 on
  int reserved;
};
Multiprocessor multiprocessor(int capability) {
  switch (capability) {
    case 75:
      return {32, 16, 64 * 1024, 0};
    case 80:
      return {64, 32, 164 * 1024, 1024};
    case 86:
    case 89:
      return {48, capability == 86 ? 16 : 24, 100 * 1024, 1024};
    default:
      return {64, 32, 228 * 1024, 1024};
  }
}

int number(const CsvTable& table, int64_t row, const char* column) {
  return std::stoi(table.at(row, table.column(column)));
}

}  // namespace

// Registers are handed out 256 at a time to each warp; 65,536 a multiprocessor.
int KernelResources::resident_blocks() const {
  const Multiprocessor sm = multiprocessor(capability);
  const int warps = (threads + 31) / 32;
  const int per_warp = (std::max(registers, 1) * 32 + 255) / 256 * 256;
  const int shared = static_shared + dynamic_shared + sm.reserved;
  int blocks = std::min({sm.blocks, sm.warps / warps, 65536 / per_warp / warps});
  if (shared > 0) blocks = std::min(blocks, sm.shared / shared);
  return blocks;
}

double KernelResources::occupancy() const {
  return static_cast<double>(resident_blocks() * ((threads + 31) / 32)) /
         multiprocessor(capability).warps;
}

std::vector<KernelResources> kernel_resources() {
  const CsvTable table = CsvTable::parse(kKernelResources, "kernels/resources.csv");
  std::vector<KernelResources> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    const std::string& arch = table.at(i, table.column("arch"));
    rows.push_back({table.at(i, table.column("kernel")), std::stoi(arch.substr(arch.find('_') + 1)),
                    number(table, i, "registers"),
                    number(table, i, "spill_stores") + number(table, i, "spill_loads"),
                    number(table, i, "static_shared"), number(table, i, "threads"),
                    number(table, i, "dynamic_shared")});
  }
  return rows;
}

void print_kernel_table(bool as_json) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  if (!as_json)
    fmt::print("{:<64} {:<6} {:>9} {:>6} {:>7} {:>7} {:>9}\n", "kernel", "arch", "registers",
               "spills", "shared", "threads", "occupancy");
  for (const KernelResources& row : kernel_resources()) {
    const std::string arch = fmt::format("sm_{}", row.capability);
    if (as_json) {
      json.push_back({{"kernel", row.kernel},
                      {"arch", arch},
                      {"registers", row.registers},
                      {"spill_bytes", row.spills},
                      {"static_shared", row.static_shared},
                      {"dynamic_shared", row.dynamic_shared},
                      {"threads", row.threads},
                      {"occupancy", row.occupancy()}});
    } else {
      fmt::print("{:<64} {:<6} {:>9} {:>6} {:>7} {:>7} {:>7.0f} %\n", row.kernel, arch,
                 row.registers, row.spills, row.static_shared + row.dynamic_shared, row.threads,
                 row.occupancy() * 100);
    }
  }
  if (as_json) fmt::print("{}\n", json.dump(2));
}

}  // namespace thorax::app
