#include "apps/kernel_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string_view>

#include <thorax_kernel_resources.h>  // generated: kKernelResources, the text of resources.csv
#include "data/csv.h"
#include "engine/runtime/ptx/cards.h"

namespace thorax::app {
namespace {

int number(const CsvTable& table, int64_t row, const char* column) {
  return std::stoi(table.at(row, table.column(column)));
}

}  // namespace

std::string plain_kernel_name(const std::string& demangled) {
  std::string name;
  for (std::size_t i = 0; i < demangled.size(); ++i) {
    if (demangled.compare(i, 2, "::") == 0) {
      // Takes back the scope before it: a word, or "(anonymous namespace)".
      constexpr std::string_view kAnonymous = "(anonymous namespace)";
      if (name.ends_with(kAnonymous)) {
        name.resize(name.size() - kAnonymous.size());
      } else {
        while (!name.empty() &&
               (std::isalnum(static_cast<unsigned char>(name.back())) != 0 || name.back() == '_'))
          name.pop_back();
      }
      ++i;
    } else {
      name += demangled[i];
    }
  }
  if (name.starts_with("void ")) name.erase(0, 5);
  // The parameters: the last bracket outside template arguments.
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (name[i] == '(' && depth == 0) {
      name.resize(i);
      break;
    }
  }
  return name;
}

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

namespace {

// With the names as plain_kernel_name gives them: the table's have scopes ("mma::f<mma::T>").
const std::vector<KernelResources>& plain_resources() {
  static const std::vector<KernelResources> all = [] {
    std::vector<KernelResources> rows = kernel_resources();
    for (KernelResources& row : rows) row.kernel = plain_kernel_name(row.kernel);
    return rows;
  }();
  return all;
}

}  // namespace

const KernelResources* find_resources(const std::string& kernel, int capability) {
  const std::string name = plain_kernel_name(kernel);
  for (const KernelResources& row : plain_resources())
    if (row.capability == capability && row.kernel == name) return &row;
  return nullptr;
}

int registers_of(const std::string& kernel, int capability) {
  if (const KernelResources* row = find_resources(kernel, capability)) return row->registers;
  const std::string name = plain_kernel_name(kernel);
  const std::string base = name.substr(0, name.find('<'));
  int most = 0;
  for (const KernelResources& row : plain_resources())
    if (row.capability == capability && row.kernel.substr(0, row.kernel.find('<')) == base)
      most = std::max(most, row.registers);
  return most;
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
