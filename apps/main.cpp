// The `thorax` command: collects the subcommands, maps errors to exit codes.
#include <algorithm>
#include <cstdio>
#include <exception>

#include "apps/command.h"
#include "engine/registry/registry.h"
#include "engine/runtime/parallel.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

struct Entry {
  int order;
  AddCommand add;
};
std::vector<Entry>& entries() {
  static std::vector<Entry> list;
  return list;
}
int exit_code = 0;

}  // namespace

bool register_command(int order, AddCommand add) {
  entries().push_back({order, add});
  return true;
}

void set_exit_code(int code) {
  exit_code = code;
}

void add_compute_options(CLI::App& command, ComputeOptions& options) {
  command.add_option("--threads", options.threads, "Threads to compute with; 0 = all cores")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--device", options.device, "Where to compute: cpu")->capture_default_str();
  command.add_option("--provider", options.providers,
                     "Kernels to use, e.g. conv2d=onednn,batch_norm=reference; never falls back");
}

void apply(const ComputeOptions& options) {
  THORAX_CHECK(options.device == "cpu", "[device] '{}' is not built in; there is: cpu",
               options.device);
  if (options.threads > 0) set_num_threads(options.threads);
  choose_providers(options.providers);
}

}  // namespace thorax::app

int main(int argc, char** argv) {
  using namespace thorax::app;
  CLI::App root{"thorax: chest X-rays from images to verdict, on its own deep-learning engine"};
  root.set_version_flag("--version", THORAX_VERSION);
  root.footer("Not for diagnostic use.");
  auto& list = entries();
  std::sort(list.begin(), list.end(),
            [](const Entry& a, const Entry& b) { return a.order < b.order; });
  for (const Entry& entry : list) entry.add(root);
  try {
    root.parse(argc, argv);
    if (root.get_subcommands().empty()) {
      std::fputs(root.help().c_str(), stderr);
      return 2;
    }
  } catch (const CLI::ParseError& error) {
    return root.exit(error) == 0 ? 0 : 2;
  } catch (const thorax::Error& error) {
    std::fprintf(stderr, "thorax: error: %s\n", error.what());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "thorax: error: %s\n", error.what());
    return 1;
  }
  return exit_code;
}
