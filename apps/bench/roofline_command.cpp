// `thorax bench roofline`: the rows of `thorax bench kernels` below the roof of their device.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>

#include "apps/bench/commands.h"
#include "apps/bench/roofline.h"
#include "engine/io/output_folder.h"

namespace thorax::app {
namespace {

struct Options {
  std::string rows, out;
};

void run(const Options& o) {
  for (const char* ending : {".svg", ".png"}) check_output_file(o.out + ending);
  const Roofline roofline = read_roofline(o.rows);
  save_figure(draw(roofline.plot), o.out);
  fmt::print("{}: copy {:.4g} GB/s", roofline.machine, roofline.copy);
  for (const auto& [type, peak] : roofline.peak)
    fmt::print(", {} peak {:.5g} GFLOP/s (from {:.3g} FLOP/byte)", type, peak,
               peak / roofline.copy);
  fmt::print("\n{} points -> {}.svg, {}.png\n", roofline.points, o.out, o.out);
  if (roofline.without_times > 0)
    fmt::print(stderr, "note: {}: {} rows have no rate and are not drawn\n", o.rows,
               roofline.without_times);
}

}  // namespace

void add_bench_roofline(CLI::App& bench) {
  static Options o;
  CLI::App* c = bench.add_subcommand(
      "roofline", "Rows of bench kernels against the peak and bandwidth measured with them");
  c->add_option("rows", o.rows, "What `thorax bench kernels --csv` has written")->required();
  c->add_option("--out", o.out, "Write this with .svg and .png behind it")->required();
  c->footer("Example:\n  thorax bench roofline rows.csv --out roofline");
  c->callback([] { run(o); });
}

}  // namespace thorax::app
