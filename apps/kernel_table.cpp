#include "apps/kernel_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include <thorax_kernel_resources.h>  // generated: kKernelResources, the text of resources.csv
#include "data/csv.h"
#include "engine/runtime/ptx/cards.h"

namespace thorax::app {
namespace {

int number(const CsvTable& table, int64_t row, const char* column) {
  return std::stoi(table.at(row, table.column(column)));
}

}  // namespace

int KernelResources::resident_blocks() const {
  return ptx::resident_blocks(capability, std::max(registers, 1), threads,
                              static_cast<std::size_t>(static_shared + dynamic_shared));
}

double KernelResources::occupancy() const {
  return static_cast<double>(resident_blocks() * ((threads + 31) / 32)) /
         ptx::limits_of(capability).warps;
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
