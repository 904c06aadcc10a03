// Provider choice by measurement. Off unless a program asks for it: then the providers that support
// a problem are timed once on scratch tensors, and the fastest whose result agrees with the
// default's is used, here and, through a cache file, in later runs on the same device and build.
//
// An explicit choice (choose_provider) always comes first. A run that is to be repeated exactly
// keeps the choices it made in a record of its own, which comes before the cache.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor/tensor.h"

namespace thorax {

// What an operation gives to have its providers compared: made only when a problem is measured.
struct TuneTrial {
  std::vector<Tensor> outputs;  // what run() overwrites, on the device
  // For each output, the largest difference between elements of two right results.
  std::vector<double> bounds;
  std::function<void(std::size_t candidate)> run;  // without waiting
};

struct TuneRequest {
  std::string_view operation;  // "conv2d"
  std::string_view direction;  // "backward_data"
  std::string problem;         // shapes and dtype: two problems with one text are one problem
  Device device;
  std::vector<std::string> candidates;  // names, the default's first
  std::vector<bool> last_resort;        // of each: it has priority 0
  std::size_t scratch_bytes = 0;        // of the trial's tensors
};

struct AutotuneOptions {
  // The cache; empty: $THORAX_CACHE, else ${XDG_CACHE_HOME:-~/.cache}/thorax/autotune.json.
  std::filesystem::path cache;
  // Most memory of the trial's tensors; a problem that wants more keeps the default.
  std::size_t memory = std::size_t{2} << 30;
  // Told what a person should know: a cache set aside, a provider with a wrong result.
  std::function<void(const std::string&)> message;
};

// Throws Error "[autotune] ..." when the cache is a file of another kind (naming it; it is not
// touched), or when no place for it is known. A damaged cache is set aside as NAME.bad.
void autotune_enable(AutotuneOptions options = {});
// Forgets every choice made so far.
void autotune_disable();

// From here on, choices are taken from this file where it has them, and added to it where not.
// Throws Error "[autotune] ..." for a damaged file or one of another kind.
void autotune_record(const std::filesystem::path& path);

// $THORAX_CACHE, else ${XDG_CACHE_HOME:-~/.cache}/thorax/autotune.json.
std::filesystem::path autotune_cache_path();

// A library that providers call; its version is part of what makes a cached choice valid.
void announce_library(const std::string& name_and_version);
// Those that were announced: "cuBLAS 13.0.2", "cuDNN 91300".
const std::set<std::string>& announced_libraries();

// What a problem was given and why.
struct ProviderChoice {
  std::string device;       // "cpu AMD EPYC 7B13"
  std::string environment;  // build, driver and libraries, threads
  std::string operation, direction, problem;
  std::vector<std::string> candidates;  // the default's first
  std::string provider;
  // "explicit", "measured", "cached", "recorded", "only one", "no memory", "default"
  std::string reason;
  double seconds = 0, default_seconds = 0;  // medians; 0 when not measured
  std::vector<std::string> refused;         // "gemm: element 3 is 1 instead of 2"
};
// Of this process, in the order of operation, direction and problem.
std::vector<ProviderChoice> provider_choices();
// The entries of a cache or a record. Throws Error "[autotune] PATH: ..." naming what is wrong.
std::vector<ProviderChoice> read_choices(const std::filesystem::path& path);
// A table of choices that are not the default, and a count of the others, for people.
std::string describe_choices(const std::vector<ProviderChoice>& choices);

namespace detail {
extern std::atomic<bool> autotune_on;
// The index of the candidate to use.
std::size_t tuned_choice(const TuneRequest& request, const std::function<TuneTrial()>& make);
// Told of choices that are not measured.
void note_choice(std::string_view operation, Device device, std::string_view provider,
                 bool is_explicit);
}  // namespace detail

inline bool autotuning() {
  return detail::autotune_on.load(std::memory_order_relaxed);
}

}  // namespace thorax
