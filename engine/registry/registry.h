// Provider tables of operations.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/registry/autotune.h"
#include "engine/tensor/dtype.h"

namespace thorax {

// What a program may ask for by name: "conv2d" -> "gemm". Empty name = the default choice.
// Throws Error for an unknown operation or provider.
void choose_provider(std::string_view operation, std::string_view provider);
// "conv2d=gemm,batch_norm=reference"; "*=reference" names every operation that has such a provider.
void choose_providers(std::string_view list);
// The explicit choice for an operation, or an empty string.
std::string chosen_provider(std::string_view operation);
// Every explicit choice as "operation=provider,...".
std::string chosen_providers();

struct ProviderInfo {
  std::string operation;
  std::string provider;
  DeviceKind device;
  std::string plugin;  // that added it (plugins.h); empty for the library's own
};
// Every registered provider, sorted by operation and name.
std::vector<ProviderInfo> registered_providers();

namespace detail {
// Throws Error "[plugin] ..." when a plugin brings a table for an operation that there is already.
void announce_operation(std::string_view operation);
// `undo` takes the row out of its table again: a plugin that fails half-way leaves nothing behind.
void announce_provider(std::string_view operation, std::string_view provider, DeviceKind device,
                       std::function<void()> undo);
// Calls `add` now, or, while a plugin is being opened, when the loader has accepted it. Always
// true.
bool at_start(void (*add)());
bool can_run(DeviceKind device);
}  // namespace detail

// Makes an explicit choice for a scope; used by tests and benchmarks.
class ProviderScope {
 public:
  ProviderScope(std::string_view operation, std::string_view provider)
      : operation_(operation), previous_(chosen_provider(operation)) {
    choose_provider(operation, provider);
  }
  ~ProviderScope() { choose_provider(operation_, previous_); }
  ProviderScope(const ProviderScope&) = delete;
  ProviderScope& operator=(const ProviderScope&) = delete;

 private:
  std::string operation_;
  std::string previous_;
};

// The providers of one operation. `Provider` has at least
//   const char* name; DeviceKind device;
//   int (*priority)(const Problem&);   // < 0: this problem is not supported; else the highest wins
// and the operation's functions.
template <class Provider>
class Registry {
 public:
  explicit Registry(const char* operation) : operation_(operation) {
    detail::announce_operation(operation);
  }

  void add(const Provider& provider) {
    for (const Provider& other : providers_)
      THORAX_CHECK(std::string_view(other.name) != provider.name || other.device != provider.device,
                   "[{}] provider '{}' added twice", operation_, provider.name);
    providers_.push_back(provider);
    detail::announce_provider(operation_, provider.name, provider.device,
                              [this] { providers_.pop_back(); });
  }
  // The providers that this machine can run: a program built for GPUs may be on a machine without.
  std::vector<Provider> all() const {
    std::vector<Provider> runnable;
    for (const Provider& provider : providers_)
      if (detail::can_run(provider.device)) runnable.push_back(provider);
    return runnable;
  }
  const char* operation() const { return operation_; }

  // The provider for a problem on a device. `describe` gives the problem's shapes for the error
  // message.
  template <class Problem>
  const Provider& select(const Problem& problem, DeviceKind device = DeviceKind::cpu) const {
    if (const std::string wanted = chosen_provider(operation_); !wanted.empty()) {
      const Provider* provider = find(wanted, device);
      THORAX_CHECK(provider != nullptr && provider->priority(problem) >= 0,
                   "[{}] provider '{}' was asked for but does not support {} on {}", operation_,
                   wanted, problem.to_string(), name_of(device));
      if (autotuning()) detail::note_choice(operation_, {device, 0}, provider->name, true);
      return *provider;
    }
    const Provider& best = standard(problem, device);
    if (autotuning()) detail::note_choice(operation_, {device, 0}, best.name, false);
    return best;
  }

  // The same for one direction of an operation whose providers can be measured: while autotuning is
  // on, the fastest that gives the default's result. `trial` makes what they are measured with, of
  // `scratch_bytes` in all, and is called for a problem that is met for the first time.
  struct Trial {
    std::vector<Tensor> outputs;  // overwritten by run
    std::vector<double> bounds;   // see TuneTrial
    std::function<void(const Provider&)> run;
  };
  template <class Problem, class MakeTrial>
  const Provider& select(const Problem& problem, Device device, const char* direction,
                         std::size_t scratch_bytes, const MakeTrial& trial) const {
    if (!autotuning() || !chosen_provider(operation_).empty()) return select(problem, device.kind);
    std::vector<const Provider*> candidates{&standard(problem, device.kind)};
    for (const Provider& provider : providers_)
      if (provider.device == device.kind && &provider != candidates[0] &&
          provider.priority(problem) >= 0)
        candidates.push_back(&provider);
    std::sort(candidates.begin() + 1, candidates.end(), [](const Provider* a, const Provider* b) {
      return std::string_view(a->name) < b->name;
    });
    TuneRequest request{operation_, direction, problem.to_string(), device, {}, {}, scratch_bytes};
    for (const Provider* candidate : candidates) {
      request.candidates.emplace_back(candidate->name);
      request.last_resort.push_back(candidate->priority(problem) == 0);
    }
    return *candidates[detail::tuned_choice(request, [&] {
      const Trial made = trial();
      return TuneTrial{made.outputs, made.bounds, [run = made.run, candidates](std::size_t index) {
                         run(*candidates[index]);
                       }};
    })];
  }
  // The same name may stand for a kernel on `cuda` and on `sim`.
  const Provider& named(std::string_view name, DeviceKind device = DeviceKind::cpu) const {
    if (const Provider* provider = find(name, device); provider != nullptr) return *provider;
    std::string known;
    for (const Provider& provider : providers_)
      known += fmt::format("{}{}/{}", known.empty() ? "" : ", ", name_of(provider.device),
                           provider.name);
    fail("[{}] no provider named '{}' on {}; there are: {}", operation_, name, name_of(device),
         known);
  }

 private:
  // What is used when nobody asks for anything.
  template <class Problem>
  const Provider& standard(const Problem& problem, DeviceKind device) const {
    const Provider* best = nullptr;
    int best_priority = -1;
    for (const Provider& provider : providers_) {
      if (provider.device != device) continue;
      const int priority = provider.priority(problem);
      // Equal priorities: the smaller name wins, so that the choice never depends on link order.
      if (priority > best_priority || (best != nullptr && priority == best_priority &&
                                       std::string_view(provider.name) < best->name)) {
        best = &provider;
        best_priority = priority;
      }
    }
    THORAX_CHECK(best != nullptr, "[{}] no provider on {} supports {}", operation_, name_of(device),
                 problem.to_string());
    return *best;
  }
  const Provider* find(std::string_view name, DeviceKind device) const {
    for (const Provider& provider : providers_)
      if (provider.name == name && provider.device == device) return &provider;
    return nullptr;
  }

  const char* operation_;
  std::vector<Provider> providers_;
};

}  // namespace thorax

// One row at the end of a provider's file:
//   THORAX_PROVIDER(conv2d_gemm, conv2d_providers(), {.name = "gemm", ...});
#define THORAX_PROVIDER(id, registry, ...)                             \
  namespace {                                                          \
  [[maybe_unused]] const bool id##_registered =                        \
      ::thorax::detail::at_start([] { (registry).add(__VA_ARGS__); }); \
  }
