#include "engine/registry/autotune.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <tuple>

#include "engine/registry/autotune_clock.h"
#include "engine/registry/choice_file.h"
#include "engine/runtime/build.h"
#include "engine/runtime/device.h"
#include "engine/runtime/parallel.h"

namespace thorax {

namespace detail {

std::atomic<bool> autotune_on{false};

std::function<double()>& autotune_clock() {
  static std::function<double()> clock = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  return clock;
}

}  // namespace detail

namespace {

// A challenger must be this much faster: less is noise, and a choice that changes from machine to
// machine for nothing.
constexpr double kMargin = 0.95;
// One sample of a short kernel takes this long, by repetition.
constexpr double kSampleSeconds = 1e-3;
constexpr int kSamples = 5;
// A candidate whose first two runs both take this many times the default's is not measured further.
constexpr double kHopeless = 4;
// Definitions in plain loops (priority 0) may be a thousand times slower than the default; on a CPU
// or a simulated GPU they are only tried where that is bearable.
constexpr double kLastResortSeconds = 1e-3;

struct State {
  // Recursive: what a trial runs may select a provider of another operation.
  std::recursive_mutex mutex;
  AutotuneOptions options;
  std::optional<ChoiceFile> cache, record;
  std::map<std::string, ProviderChoice> choices;  // by everything that tells problems apart
};
State& state() {
  static State instance;
  return instance;
}

// Function-local: libraries announce themselves from static constructors of other files.
std::set<std::string>& libraries() {
  static std::set<std::string> names;
  return names;
}

std::string name_of_device(Device device) {
  return fmt::format("{} {}", name_of(device.kind),
                     device.kind == DeviceKind::cpu ? processor_name() : device_info(device).name);
}

// Beside the device's name, what a measured time depends on.
std::string environment(Device device) {
  std::string text = fmt::format("thorax {}", build_commit());
  if (device.kind == DeviceKind::cuda)
    text += "; " + device_backend(device.kind).versions();
  else
    text += fmt::format("; {} threads", num_threads());
  for (const std::string& library : libraries()) text += "; " + library;
  return text;
}

void say(const std::string& text) {
  if (state().options.message) state().options.message(text);
}

// Seconds for one of `repeats` runs.
double timed(Device device, int repeats, const std::function<void()>& run) {
  if (device.kind == DeviceKind::cpu) {
    const double start = detail::autotune_clock()();
    for (int i = 0; i < repeats; ++i) run();
    return (detail::autotune_clock()() - start) / repeats;
  }
  DeviceBackend& backend = device_backend(device.kind);
  const std::uint64_t start = backend.mark(device.index);
  for (int i = 0; i < repeats; ++i) run();
  const std::uint64_t end = backend.mark(device.index);
  return backend.seconds_between(device.index, start, end) / repeats;
}

double median_seconds(Device device, double first, const std::function<void()>& run) {
  const int repeats = static_cast<int>(std::clamp(kSampleSeconds / std::max(first, 1e-9), 1., 50.));
  std::vector<double> samples;
  for (int i = 0; i < (first > 0.2 ? 2 : kSamples); ++i)
    samples.push_back(timed(device, repeats, run));
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

// Where results differ by more than they may; empty when they agree.
std::string disagreement(const std::vector<Tensor>& wanted, const std::vector<Tensor>& got,
                         const std::vector<double>& bounds) {
  for (std::size_t k = 0; k < wanted.size(); ++k) {
    const double *a = wanted[k].data<double>(), *b = got[k].data<double>();
    for (std::int64_t i = 0; i < wanted[k].numel(); ++i)
      if (!(std::abs(a[i] - b[i]) <= bounds[k]))
        return fmt::format("element {} of {} is {}, the default's is {}; they may differ by {:.2g}",
                           i, wanted[k].shape(), b[i], a[i], bounds[k]);
  }
  return {};
}

std::vector<Tensor> results(const TuneTrial& trial) {
  std::vector<Tensor> values;
  for (const Tensor& output : trial.outputs)
    values.push_back(output.to(Device{}).to_contiguous().to(DType::f64));
  return values;
}

void measure(const TuneRequest& request, const std::function<TuneTrial()>& make,
             ProviderChoice& choice) {
  const Device device = request.device;
  TuneTrial trial;
  try {
    trial = make();
  } catch (const Error& error) {  // a limit of the device's memory
    choice.reason = "no memory";
    say(fmt::format("[autotune] {} {} {}: cannot be measured, default: {}", request.operation,
                    request.direction, request.problem, error.what()));
    return;
  }
  const auto poison = [&] {
    for (const Tensor& output : trial.outputs)
      output.fill(std::numeric_limits<double>::quiet_NaN());
  };
  const auto run = [&](std::size_t candidate) { return [&, candidate] { trial.run(candidate); }; };
  poison();
  timed(device, 1, run(0));  // what is compiled, allocated or loaded once
  const double first = timed(device, 1, run(0));
  const std::vector<Tensor> wanted = results(trial);
  choice.default_seconds = choice.seconds = median_seconds(device, first, run(0));
  double best = choice.default_seconds * kMargin;
  for (std::size_t i = 1; i < request.candidates.size(); ++i) {
    if (request.last_resort[i] && device.kind != DeviceKind::cuda && first > kLastResortSeconds)
      continue;
    std::string wrong;
    try {
      poison();
      const double checked = timed(device, 1, run(i));
      wrong = disagreement(wanted, results(trial), trial.bounds);
      if (wrong.empty()) {
        const double once = timed(device, 1, run(i));
        if (std::min(checked, once) > kHopeless * choice.default_seconds) continue;
        const double seconds = median_seconds(device, once, run(i));
        if (seconds >= best) continue;
        best = choice.seconds = seconds;
        choice.provider = request.candidates[i];
        continue;
      }
    } catch (const Error& error) {
      wrong = error.what();
    }
    choice.refused.push_back(fmt::format("{}: {}", request.candidates[i], wrong));
    say(fmt::format("[autotune] {} {} {}: '{}' is refused: {}", request.operation,
                    request.direction, request.problem, request.candidates[i], wrong));
  }
}

// Decides without looking at what was decided before in this process.
ProviderChoice decide(const TuneRequest& request, const std::function<TuneTrial()>& make) {
  State& s = state();
  ProviderChoice choice;
  choice.device = name_of_device(request.device);
  choice.environment = environment(request.device);
  choice.operation = request.operation;
  choice.direction = request.direction;
  choice.problem = request.problem;
  choice.candidates = request.candidates;
  choice.provider = request.candidates[0];
  if (s.record) {
    if (const ProviderChoice* found = s.record->find(choice)) {
      ProviderChoice recorded = *found;
      THORAX_CHECK(std::find(request.candidates.begin(), request.candidates.end(),
                             recorded.provider) != request.candidates.end(),
                   "[autotune] {}: {} {} {} was computed by '{}', which this build or device has "
                   "not; there are: {}",
                   s.record->path().string(), request.operation, request.direction, request.problem,
                   recorded.provider, fmt::join(request.candidates, ", "));
      recorded.reason = "recorded";
      return recorded;
    }
  }
  const ProviderChoice* cached = s.cache->find(choice);
  if (request.candidates.size() == 1) {
    choice.reason = "only one";
  } else if (cached != nullptr) {
    choice = *cached;
    choice.reason = "cached";
  } else if (request.scratch_bytes > s.options.memory) {
    choice.reason = "no memory";
    say(fmt::format("[autotune] {} {} {}: measuring wants {} bytes, the limit is {}: default",
                    request.operation, request.direction, request.problem, request.scratch_bytes,
                    s.options.memory));
  } else {
    choice.reason = "measured";
    measure(request, make, choice);
    // Another process may have measured the same problem meanwhile: one choice for both.
    if (choice.reason == "measured") {
      const ProviderChoice kept = s.cache->add(choice);
      if (kept.provider != choice.provider) {
        choice = kept;
        choice.reason = "cached";
      }
    }
  }
  if (s.record) {
    const ProviderChoice kept = s.record->add(choice);
    if (kept.provider != choice.provider) {
      choice = kept;
      choice.reason = "recorded";
    }
  }
  return choice;
}

}  // namespace

namespace detail {

std::size_t tuned_choice(const TuneRequest& request, const std::function<TuneTrial()>& make) {
  State& s = state();
  const std::string key =
      fmt::format("{} {}\n{}\n{}\n{}", name_of(request.device.kind), request.device.index,
                  request.operation, request.direction, request.problem);
  const std::scoped_lock lock(s.mutex);
  auto found = s.choices.find(key);
  if (found == s.choices.end()) found = s.choices.emplace(key, decide(request, make)).first;
  const auto& names = request.candidates;
  const auto at = std::find(names.begin(), names.end(), found->second.provider);
  THORAX_CHECK(at != names.end(), "[autotune] {} {} {}: '{}' is no candidate any more",
               request.operation, request.direction, request.problem, found->second.provider);
  return static_cast<std::size_t>(at - names.begin());
}

void note_choice(std::string_view operation, Device device, std::string_view provider,
                 bool is_explicit) {
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  std::string key = fmt::format("{}\n{}\n{}", name_of(device.kind), operation, provider);
  if (s.choices.contains(key)) return;
  ProviderChoice choice;
  choice.device = name_of(device.kind);
  choice.operation = operation;
  choice.provider = provider;
  choice.candidates = {std::string(provider)};
  choice.reason = is_explicit ? "explicit" : "default";
  s.choices.emplace(std::move(key), std::move(choice));
}

}  // namespace detail

std::filesystem::path autotune_cache_path() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const std::string file = variable("THORAX_CACHE"); !file.empty()) return file;
  if (const std::string folder = variable("XDG_CACHE_HOME"); !folder.empty())
    return std::filesystem::path(folder) / "thorax" / "autotune.json";
  const std::string home = variable("HOME");
  THORAX_CHECK(!home.empty(),
               "[autotune] no place for the cache: set THORAX_CACHE to a file, or HOME");
  return std::filesystem::path(home) / ".cache" / "thorax" / "autotune.json";
}

void announce_library(const std::string& name_and_version) {
  libraries().insert(name_and_version);
}
const std::set<std::string>& announced_libraries() {
  return libraries();
}

void autotune_enable(AutotuneOptions options) {
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  if (options.cache.empty()) options.cache = autotune_cache_path();
  s.options = std::move(options);
  s.choices.clear();
  s.record.reset();
  s.cache.emplace(s.options.cache, ChoiceFileKind::cache, say);
  detail::autotune_on = true;
}

void autotune_disable() {
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  detail::autotune_on = false;
  s.choices.clear();
  s.cache.reset();
  s.record.reset();
}

void autotune_record(const std::filesystem::path& path) {
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  THORAX_CHECK(autotuning(), "[autotune] {}: a record is kept while autotuning is on",
               path.string());
  s.record.emplace(path, ChoiceFileKind::record, say);
  s.record->create();
  s.choices.clear();
}

std::vector<ProviderChoice> provider_choices() {
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  std::vector<ProviderChoice> rows;
  for (const auto& [key, choice] : s.choices) rows.push_back(choice);
  std::stable_sort(rows.begin(), rows.end(), [](const ProviderChoice& a, const ProviderChoice& b) {
    return std::tie(a.operation, a.direction, a.problem) <
           std::tie(b.operation, b.direction, b.problem);
  });
  return rows;
}

}  // namespace thorax
