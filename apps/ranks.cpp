#include "apps/ranks.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/console.h"
#include "apps/sample_json.h"
#include "apps/training.h"
#include "engine/registry/plugins.h"
#include "engine/registry/registry.h"
#include "engine/runtime/device.h"
#include "engine/runtime/parallel.h"

namespace thorax::app {

using nlohmann::json;

namespace {

std::unique_ptr<Communicator> joined;
bool in_training = false;  // the other ranks are not waiting for rank 0's next training

int number_in(const char* variable) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? 0 : std::atoi(text);
}

// What the launcher has set, by its variables: Open MPI, MPICH and Intel MPI, srun.
struct Launch {
  int count = 1, rank = 0;
  std::string variable;
};
Launch find_launch() {
  for (const auto& [count, rank] : {std::pair{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                                    {"PMI_SIZE", "PMI_RANK"},
                                    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}})
    if (number_in(count) > 1) return {number_in(count), number_in(rank), count};
  return {};
}

}  // namespace

Communicator& ranks() {
  if (!joined) joined = one_process();
  return *joined;
}

void join_ranks() {
  const Launch launch = find_launch();
  if (launch.count == 1) return;
#ifdef THORAX_MPI_MODULE
  // Global: what Open MPI loads itself looks for the library's symbols there.
  void* module = ::dlopen(THORAX_MPI_MODULE, RTLD_NOW | RTLD_GLOBAL);
  if (module == nullptr)
    fail(
        "[dist] {} processes were started, but MPI cannot be loaded: {}; it needs the package "
        "openmpi-bin",
        launch.count, ::dlerror());
  const auto start = reinterpret_cast<MpiModuleEntry>(::dlsym(module, kMpiModuleEntry));
  THORAX_CHECK(start != nullptr, "[dist] {}: is of another version of thorax; install it again",
               THORAX_MPI_MODULE);
  std::string problem;
  joined = start(launch.count, &problem);
  if (joined) return;
#else
  const std::string problem =
      "this build has no MPI, because the package libopenmpi-dev was missing or THORAX_MPI was "
      "off: "
      "run third_party/install.sh --dev and build again";
#endif
  // All processes are here and alone: one of them speaks.
  if (launch.rank != 0) {
    flush_output();
    std::_Exit(1);
  }
  fail(
      "[dist] {} processes were started ({}), but {}; start them with this MPI's mpirun, or with "
      "srun --mpi=pmix. Processes that have nothing to do with one another are started one by one",
      launch.count, launch.variable, problem);
}

void check_command_for_ranks(const std::string& name) {
  const std::vector<std::string> shared{"train", "kfold", "compare", "audit"};
  THORAX_CHECK(ranks().size() == 1 || std::ranges::find(shared, name) != shared.end(),
               "[dist] {} processes were started, but '{}' is the work of one; {} share theirs",
               ranks().size(), name, fmt::join(shared, ", "));
}

Device own_device(Device device, const std::string& asked) {
  if (device.kind != DeviceKind::cuda || asked.find(':') != std::string::npos) return device;
  std::vector<Device> there;
  for (const Device one : all_devices())
    if (one.kind == device.kind) there.push_back(one);
  return there.at(static_cast<std::size_t>(ranks().local_rank()) % there.size());
}

void share_threads() {
  const int here = ranks().local_size();
  const auto machine = static_cast<int>(std::thread::hardware_concurrency());
  // A launcher that binds ranks to cores has shared them already; OMP_NUM_THREADS says it, too.
  if (here > 1 && num_threads() >= machine) set_num_threads(std::max(1, machine / here));
}

std::int64_t pieces_for(std::int64_t batch, int rank_count) {
  for (std::int64_t pieces = rank_count; pieces <= batch; ++pieces)
    if (batch % pieces == 0) return pieces;
  fail(
      "[dist] {} ranks and --batch {}: a batch has an image for every rank at least; a larger "
      "--batch or fewer ranks",
      rank_count, batch);
}

void begin_together(const TrainSettings& settings, const std::vector<std::string>& classes,
                    const std::vector<Sample>& train, const Compute& compute) {
  if (ranks().size() == 1) return;
  THORAX_CHECK(
      !autotuning(),
      "[dist] --autotune and {} ranks: each would choose its own kernels, with other bits; "
      "leave it out",
      ranks().size());
  const ComputeOptions& options = applied_options();
  json job{{"kind", "train"},
           {"task", static_cast<int>(settings.task)},
           {"settings", settings.to_json()},
           {"workers", settings.workers},
           {"cache_mb", settings.cache_mb},
           {"classes", classes},
           {"train", json::array()},
           {"threads", options.threads},
           {"device", options.device},
           {"memory_limit", options.memory_limit},
           {"providers", options.providers},
           {"precision", static_cast<int>(compute.precision)},
           {"plugins", json::array()}};
  for (const Sample& sample : train) job["train"].push_back(sample_to_json(sample));
  for (const PluginInfo& plugin : loaded_plugins())
    job["plugins"].push_back({plugin.file, plugin.checksum});
  from_first(ranks(), job, Communicator::Wait::patient);
  in_training = true;
}

namespace {

// After an error that all ranks have learnt of they wait for the next training.
template <class Body>
auto in_step(const Body& body) {
  try {
    return body();
  } catch (const RankError&) {
    in_training = false;
    throw;
  }
}

void load_same_plugins(const json& wanted) {
  for (const json& one : wanted) {
    const auto same = [&](const PluginInfo& p) { return p.file == one.at(0); };
    const std::vector<PluginInfo> before = loaded_plugins();
    if (std::ranges::none_of(before, same)) load_plugin(one.at(0).get<std::string>());
    for (const PluginInfo& plugin : loaded_plugins())
      THORAX_CHECK(!same(plugin) || plugin.checksum == one.at(1),
                   "[plugin] {}: is another file here than on rank 0", plugin.file);
  }
}

void train_as_told(const json& job) {
  std::unique_ptr<Training> training;
  set_up_together([&] {
    load_same_plugins(job.at("plugins"));
    ComputeOptions options;
    options.threads = job.at("threads");
    options.device = job.at("device");
    options.memory_limit = job.at("memory_limit");
    options.providers = job.at("providers");
    const Device device = apply(options);
    const auto task = static_cast<Task>(job.at("task").get<int>());
    TrainSettings settings = settings_from_json(task, job.at("settings"));
    settings.workers = job.at("workers");
    settings.cache_mb = job.at("cache_mb");
    settings.weights.clear();  // rank 0 hands them over
    std::vector<Sample> samples;
    for (const json& sample : job.at("train")) samples.push_back(sample_from_json(sample));
    training = make_training(settings, job.at("classes"), samples,
                             {device, static_cast<DType>(job.at("precision").get<int>()), false});
  });
  TrainerOptions& options = training->options;
  options.ranks = &ranks();
  Trainer trainer(*training->model, *training->optimizer, training->schedule, *training->images,
                  options, training->callbacks);
  trainer.run();
}

}  // namespace

void set_up_together(const std::function<void()>& set_up) {
  std::string error;
  try {
    set_up();
  } catch (const std::exception& failure) {
    if (ranks().size() == 1) throw;
    error = failure.what();
  }
  in_step([&] { fail_together(ranks(), error); });
}

TrainResult train_together(Trainer& trainer) {
  TrainResult result = in_step([&] { return trainer.run(); });
  in_training = false;
  return result;
}

void follow_first_rank() {
  set_log_level(LogLevel::quiet);  // rank 0 says it
  for (;;) {
    const json job = from_first(ranks(), {}, Communicator::Wait::patient);
    if (job.at("kind") == "end") return;
    in_training = true;
    try {
      train_as_told(job);
    } catch (const RankError&) {
      // rank 0 tells it
    }
    in_training = false;
  }
}

void leave_ranks(int exit_code) {
  if (ranks().size() == 1) return;
  if (in_training) ranks().abort(exit_code);
  if (ranks().rank() == 0) from_first(ranks(), {{"kind", "end"}}, Communicator::Wait::patient);
  ranks().finish();
}

}  // namespace thorax::app
