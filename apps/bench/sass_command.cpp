// `thorax bench sass`: the loops of compiled kernels and what they are made of.
#include <cxxabi.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <sstream>

#include "apps/bench/commands.h"
#include "apps/bench/sass.h"
#include "apps/kernel_table.h"
#include "data/csv.h"
#include "engine/io/atomic_file.h"
#include "engine/io/output_folder.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

struct Options {
  std::vector<std::string> files;
  std::string csv;
};

std::string text_of(const std::string& file) {
  if (file == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  THORAX_CHECK(in.good() && text.good(), "[sass] {}: cannot be read", file);
  return text.str();
}

std::string readable(const std::string& mangled) {
  if (!mangled.starts_with("_Z")) return mangled;  // else "f" is float
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), std::free);
  return status == 0 ? plain_kernel_name(name.get()) : mangled;
}

void run(const Options& o) {
  if (!o.csv.empty()) check_output_file(o.csv);
  std::vector<std::string> fields{"kernel", "arch",      "registers", "static_shared", "loop",
                                  "depth",  "innermost", "blocks",    "instructions"};
  for (std::size_t c = 0; c < kSassClasses; ++c)
    fields.emplace_back(name_of(static_cast<SassClass>(c)));
  std::string text = csv_line(fields);
  std::size_t kernels = 0, loops = 0;
  for (const std::string& file : o.files)
    for (const SassKernel& kernel : parse_sass(text_of(file), file)) {
      ++kernels;
      const auto known = [](int value) {
        return value < 0 ? std::string() : std::to_string(value);
      };
      for (const SassLoop& loop : kernel.loops()) {
        ++loops;
        fields = {readable(kernel.name),
                  fmt::format("sm_{}", kernel.capability),
                  known(kernel.registers),
                  known(kernel.shared),
                  fmt::format("0x{:04x}", loop.head),
                  std::to_string(loop.depth),
                  loop.innermost ? "1" : "0",
                  std::to_string(loop.blocks),
                  std::to_string(loop.instructions())};
        for (const int count : loop.counts) fields.push_back(std::to_string(count));
        text += csv_line(fields);
      }
    }
  if (o.csv.empty()) {
    fmt::print("{}", text);
    return;
  }
  atomic_write(o.csv, text);
  fmt::print("{}: {} loops of {} kernels\n", o.csv, loops, kernels);
}

}  // namespace

void add_bench_sass(CLI::App& bench) {
  static Options o;
  CLI::App* c = bench.add_subcommand(
      "sass", "Loops of compiled CUDA kernels: their instructions by class, as CSV");
  c->add_option("FILE", o.files, "Output of cuobjdump -sass, with -res-usage's or not; - reads it")
      ->required();
  c->add_option("--csv", o.csv, "Write the rows here instead of printing them");
  c->footer(
      "Example:\n  { cuobjdump -res-usage K.cubin; cuobjdump -sass K.cubin; } | thorax bench sass "
      "-");
  c->callback([] { run(o); });
}

}  // namespace thorax::app
