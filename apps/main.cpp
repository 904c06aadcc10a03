// The `thorax` command: collects the subcommands, maps errors to exit codes.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <new>
#include <optional>
#include <sstream>

#include "apps/command.h"
#include "apps/console.h"
#include "apps/number_checks.h"
#include "apps/ranks.h"
#include "engine/io/config.h"
#include "engine/registry/plugins.h"
#include "engine/registry/registry.h"
#include "engine/runtime/allocator.h"
#include "engine/runtime/device.h"
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
Device computing_on;
ComputeOptions applied;

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
      ->check(kThreads);
  command
      .add_option("--device", options.device,
                  "Where to compute: cpu, cuda, cuda:1, sim (a simulated GPU), ptx (executes PTX); "
                  "see thorax info")
      ->capture_default_str();
  command.add_option("--memory-limit", options.memory_limit,
                     "Most memory of the device to use, in bytes or as 512M, 6G");
  command.add_option("--provider", options.providers,
                     "Kernels to use, e.g. conv2d=onednn,batch_norm=reference; never falls back");
  add_autotune_option(command, options.autotune);
}

void add_autotune_option(CLI::App& command, bool& autotune) {
  command.add_flag("--autotune", autotune,
                   "Measure the kernels of every new problem and use the fastest; choices are kept "
                   "for later runs (see thorax info --autotune)");
}

void start_autotuning() {
  if (autotuning()) return;
  AutotuneOptions options;
  options.message = [](const std::string& text) { fmt::print(stderr, "{}\n", text); };
  autotune_enable(options);
}

Device apply(const ComputeOptions& options) {
  const Device device = own_device(parse_device(options.device), options.device);
  applied = options;
  // For the whole program: kernels are chosen for this device's architecture.
  static std::optional<DeviceScope> scope;
  scope.emplace(device);
  computing_on = device;
  if (!options.memory_limit.empty()) allocator(device).set_limit(parse_bytes(options.memory_limit));
  if (options.threads > 0)
    set_num_threads(options.threads);
  else
    share_threads();
  choose_providers(options.providers);
  if (options.autotune) start_autotuning();
  if (log_level() == LogLevel::verbose)
    fmt::print(stderr, "[verbose] thorax {} on {}, {} threads\n", THORAX_VERSION, to_string(device),
               num_threads());
  return device;
}

const ComputeOptions& applied_options() {
  return applied;
}

Compute training_compute(Device device, const std::string& precision, bool graph) {
  THORAX_CHECK(!graph || device.kind != DeviceKind::cpu,
               "[graph] --graph is for cuda and sim devices: the CPU computes at once");
  return {device, parse_precision(precision, device), graph};
}

void add_precision_option(CLI::App& command, std::string& precision) {
  command
      .add_option("--precision", precision,
                  "Type of the activations: float32, or float16 or bfloat16 on a GPU")
      ->capture_default_str()
      ->check(CLI::IsMember({"float32", "float16", "bfloat16"}));
}

std::size_t parse_bytes(const std::string& text) {
  std::size_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  const std::size_t factor = suffix.empty()                   ? 1
                             : suffix == "K" || suffix == "k" ? std::size_t{1} << 10
                             : suffix == "M" || suffix == "m" ? std::size_t{1} << 20
                             : suffix == "G" || suffix == "g" ? std::size_t{1} << 30
                                                              : 0;
  std::size_t bytes = 0;
  THORAX_CHECK(error == std::errc() && factor != 0 && value > 0 &&
                   !__builtin_mul_overflow(value, factor, &bytes),
               "[memory] '{}' is no size; wanted are bytes, or a number with K, M or G", text);
  return bytes;
}

}  // namespace thorax::app

namespace thorax::app {
namespace {

// An empty file or folder name, or an empty choice, is a shell variable that was not set.
void refuse_empty_texts(CLI::App& command) {
  for (CLI::Option* option : command.get_options())
    if (option->get_items_expected_max() > 0)
      option->check(
          [](const std::string& text) { return text.empty() ? "must not be empty" : ""; });
  for (CLI::App* inner : command.get_subcommands(nullptr)) refuse_empty_texts(*inner);
}

// On every command that does something: said once, here.
void add_log_options(CLI::App& command) {
  const std::vector<CLI::App*> inner = command.get_subcommands(nullptr);
  for (CLI::App* one : inner) add_log_options(*one);
  if (!inner.empty()) return;
  CLI::Option* quiet = command.add_flag_function(
      "-q,--quiet", [](std::int64_t) { set_log_level(LogLevel::quiet); },
      "Results and errors only: no notes, no progress, no epochs");
  command
      .add_flag_function(
          "-v,--verbose", [](std::int64_t) { set_log_level(LogLevel::verbose); },
          "Say more on stderr: device, every training step, memory, time")
      ->excludes(quiet);
}

// "did you mean 'segmenter'?" for the first word that no command or option has; empty when nothing
// is near it.
std::string suggestion(CLI::App& root, int argc, char** argv) {
  CLI::App* command = &root;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool option = word.starts_with("--");
    const std::string name = option ? word.substr(0, word.find('=')) : word;
    std::vector<std::string> known;
    if (option) {
      if (command->get_option_no_throw(name) != nullptr) continue;
      for (const CLI::Option* o : command->get_options())
        for (const std::string& text : o->get_lnames()) known.push_back("--" + text);
    } else {
      const std::vector<CLI::App*> inner = command->get_subcommands(nullptr);
      if (inner.empty() || word.starts_with('-')) continue;
      const auto found = std::find_if(inner.begin(), inner.end(),
                                      [&](const CLI::App* app) { return app->check_name(word); });
      if (found != inner.end()) {
        command = *found;
        continue;
      }
      for (const CLI::App* app : inner) known.push_back(app->get_name());
    }
    const std::string near = nearest_word(name, known);
    return near.empty() ? "" : fmt::format("'{}': did you mean '{}'?\n", name, near);
  }
  return "";
}

int failed(const std::string& message) {
  const bool first = ranks().rank() == 0;
  print_error(fmt::format("thorax: error: {}{}\n", first ? "" : ranks().place() + ": ", message));
  return 1;
}

void say_what_it_took(std::chrono::steady_clock::time_point start) {
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print(stderr, "[verbose] {:.2f} s", took.count());
  const Device device = computing_on;
  for (const Device one : device == Device{} ? std::vector{device} : std::vector{Device{}, device})
    fmt::print(stderr, "; at most {:.1f} MiB of tensors on {}",
               static_cast<double>(allocator(one).stats().peak_in_use) / (1 << 20), to_string(one));
  fmt::print(stderr, "\n");
}

int run(int argc, char** argv) {
  CLI::App root{"thorax: chest X-rays from images to verdict, on its own deep-learning engine"};
  root.set_version_flag("--version", THORAX_VERSION);
  root.add_option_function<std::vector<std::string>>(
          "--plugin",
          [](const std::vector<std::string>& files) {
            for (const std::string& file : files) load_plugin(file);
          },
          "Before the command: a shared object that adds providers or operations; may be repeated")
      ->allow_extra_args(false)
      ->type_name("FILE.so");
  root.footer("Not for diagnostic use.");
  auto& list = entries();
  std::sort(list.begin(), list.end(),
            [](const Entry& a, const Entry& b) { return a.order < b.order; });
  for (const Entry& entry : list) entry.add(root);
  root.parse_complete_callback([&root] {
    if (!root.get_subcommands().empty())
      check_command_for_ranks(root.get_subcommands().front()->get_name());
  });
  refuse_empty_texts(root);
  add_log_options(root);
  const auto start = std::chrono::steady_clock::now();
  try {
    root.parse(argc, argv);
    if (root.get_subcommands().empty()) {
      fmt::print(stderr, "{}", root.help());
      return 2;
    }
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    const int code = root.exit(error, out, err);
    fmt::print("{}", out.str());
    print_error((code == 0 ? "" : suggestion(root, argc, argv)) + err.str());
    return code == 0 ? 0 : 2;
  }
  // On stderr: stdout may be JSON.
  if (log_level() == LogLevel::verbose) say_what_it_took(start);
  if (autotuning()) fmt::print(stderr, "kernels chosen:\n{}", describe_choices(provider_choices()));
  return exit_code;
}

constexpr const char* kOutOfMemory =
    "[memory] out of memory: a smaller --batch, --size or --cache-mb needs less of it";

// Building the options takes memory, too.
int run_guarded(int argc, char** argv) {
  try {
    join_ranks();
    if (ranks().rank() == 0) return run(argc, argv);
    follow_first_rank();
    return 0;
  } catch (const Error& error) {
    return failed(error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    return failed(fmt::format("[io] {}: {}", error.path1().string(), error.code().message()));
  } catch (const std::bad_alloc&) {
    return failed(kOutOfMemory);
  } catch (const std::exception& error) {
    return failed(
        fmt::format("[internal] {}: this should have been found earlier; please report "
                    "it with the command line",
                    error.what()));
  }
}

std::atomic<bool> memory_ran_out{false};

// Functions of libraries that may not throw allocate all the same (json's destructor, directory
// iterators, threads), and then the program is terminated: with the same words and exit code as
// where the exception reaches main(), and nothing that would allocate.
[[noreturn]] void terminated() {
  if (!memory_ran_out) std::abort();
  for (const char* text : {"thorax: error: ", kOutOfMemory, "\n"})
    static_cast<void>(!::write(STDERR_FILENO, text, std::strlen(text)));
  ::_exit(1);
}

void tell_when_memory_runs_out() {
  std::set_new_handler([] {
    memory_ran_out = true;
    throw std::bad_alloc();
  });
  std::set_terminate(terminated);
}

// A program that is started without one of these would give its number to the next file it opens
// and print into that.
void occupy_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(descriptor, F_GETFD) < 0)
      static_cast<void>(::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY));
}

}  // namespace
}  // namespace thorax::app

int main(int argc, char** argv) {
  using namespace thorax::app;
  occupy_standard_descriptors();
  tell_when_memory_runs_out();
  // A reader that goes away, and a limit on the size of files, are errors of the call that meets
  // them.
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  guard_output();
  const int code = run_guarded(argc, argv);
  const std::string lost = flush_output();
  leave_ranks(lost.empty() || code != 0 ? code : 1);
  if (lost.empty()) return code;
  print_error(fmt::format(
      "thorax: error: [output] standard output: {}; what was printed is incomplete\n", lost));
  return code == 0 ? 1 : code;
}
