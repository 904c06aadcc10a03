// The subcommands of `thorax bench` that have files of their own.
#pragma once

namespace CLI {
class App;
}

namespace thorax::app {

void add_bench_data(CLI::App& bench);
void add_bench_roofline(CLI::App& bench);
void add_bench_kernels(CLI::App& bench);
void add_bench_step(CLI::App& bench);

}  // namespace thorax::app
