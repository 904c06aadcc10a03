// Training with steps that are captured and replayed as a graph, on a GPU: the same
// bits as without.
#include <doctest/doctest.h>

#include <csignal>

#include "engine/io/atomic_file.h"
#include "engine/train/trainer.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"
#include "tests/models/support.h"
#include "tests/support/gpu.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

namespace {

const Device kGpu = test::gpu();
constexpr std::int64_t kEpochs = 2, kBatches = 5;  // ten steps

// Batches are a function of their position; the last of an epoch is smaller.
struct Noise : BatchSource {
  std::int64_t batch, size;
  bool segments;
  std::int64_t bad = -1;  // this batch has a value that is not finite
  Noise(std::int64_t n, std::int64_t side, bool s) : batch(n), size(side), segments(s) {}
  std::int64_t batches_per_epoch() const override { return kBatches; }
  Batch get(std::int64_t epoch, std::int64_t index) override {
    const std::int64_t n = index + 1 < kBatches ? batch : batch / 2;
    const std::int64_t number = epoch * kBatches + index;
    const auto seed = static_cast<std::uint64_t>(number);
    Batch result;
    const Tensor image = test::normals({n, size, size, 1}, seed);
    if (number == bad) image.data<float>()[17] = NAN;
    Tensor target = Tensor::zeros(segments ? Shape({n, size, size, 1}) : Shape({n, 1}));
    for (std::int64_t i = 0; i < target.numel(); ++i)
      target.data<float>()[i] = segments ? (image.data<float>()[i] > 0.3f ? 1.f : 0.f)
                                         : static_cast<float>((i + number) % 2);
    result.tensors = {{"image", image}, {"target", target}};
    for (std::int64_t i = 0; i < n; ++i) result.names.push_back(fmt::format("{}_{}", number, i));
    return result;
  }
};

struct Setup {
  nlohmann::json model, optimizer;
  std::int64_t batch = 2, size = 16;
  bool segments = true;
};
Setup unet() {
  return {{{"model", "unet"}, {"width", 4}, {"depth", 2}},
          {{"name", "sgd"}, {"momentum", 0.8}, {"weight_decay", 1e-3}},
          2,
          16,
          true};
}
Setup hrnet() {
  nlohmann::json model = test::tiny_hrnet();
  model["in_channels"] = 1;
  model["layer1_blocks"] = 1;
  model["head"] = "study";
  model["hidden"] = {8};
  model["dropout"] = 0.5;
  model["outputs"] = 1;
  return {model, {{"name", "adamw"}, {"weight_decay", 1e-2}}, 4, 32, false};
}

struct Options {
  bool graph = false;
  std::filesystem::path folder = {};
  bool resume = false;
  std::int64_t interrupt_at = 0;
  double clip_norm = 1;
  std::optional<LossScaleOptions> loss_scale = {};
  std::int64_t bad = -1;
  bool tell_step = true;  // dropout's step is given on the device
  Device device = kGpu;
  int accumulate = 1;
  double average = 0;  // decay of the weights' moving average
};

struct Run : TrainObserver {
  std::vector<double> losses, norms, scales;
  std::vector<std::string> messages;
  std::int64_t interrupt_at = 0;
  void on_step(const TrainProgress& p) override {
    losses.push_back(p.loss);
    norms.push_back(p.grad_norm);
    scales.push_back(p.loss_scale);
    if (p.step == interrupt_at) ::raise(SIGINT);
  }
  void on_message(const std::string& text) override {
    if (text.find("as a graph") != std::string::npos) messages.push_back(text);
  }
};

Run train(const Setup& setup, const Options& o) {
  const std::unique_ptr<Model> model = create_model(setup.model, 3);
  model->to(o.device);
  const auto optimizer =
      make_optimizer(ConfigObject(setup.optimizer, "optimizer"), model->parameters());
  Noise source(setup.batch, setup.size, setup.segments);
  source.bad = o.bad;
  TrainerOptions options;
  options.epochs = kEpochs;
  options.graph = o.graph;
  options.folder = o.folder;
  options.resume = o.resume;
  options.clip_norm = o.clip_norm;
  options.loss_scale = o.loss_scale;
  options.accumulate = o.accumulate;
  options.average_decay = o.average;
  ScheduleOptions schedule;
  schedule.kind = ScheduleOptions::Kind::cosine;  // another rate for every step
  schedule.unit = ScheduleOptions::Unit::steps;
  schedule.lr = 1e-2;
  schedule.warmup = 3;
  Run run;
  run.interrupt_at = o.interrupt_at;
  TrainerCallbacks callbacks;
  callbacks.prepare = [&](std::uint64_t number) { model->set_step(11, number); };
  if (o.tell_step)
    callbacks.number_on_device = [&](const Tensor& number) { model->set_step_on_device(number); };
  callbacks.loss = [&](const Batch& batch) {
    const Variable logits = model->forward(Variable(batch.tensors.at("image")));
    return setup.segments ? dice_loss(logits, batch.tensors.at("target"))
                          : bce_with_logits(logits, batch.tensors.at("target"));
  };
  // Between epochs the model is used in another way: memory comes and goes.
  callbacks.validate = [&](std::int64_t) {
    const Tensor image = test::normals({3, setup.size, setup.size, 1}, 99).to(o.device);
    return std::map<std::string, double>{
        {"score", model->forward(Variable(image)).value().to(Device{}).data<float>()[0]}};
  };
  Trainer trainer(*model, *optimizer, schedule, source, options, callbacks, &run);
  trainer.run();
  return run;
}

std::vector<std::byte> bytes(const std::filesystem::path& folder) {
  return read_bytes(folder / "last.safetensors", 1 << 24);
}

// With and without graph: losses, norms and the whole checkpoint (weights, running statistics,
// counters, optimizer) are the same.
void check_same(const Setup& setup, Options options) {
  const test::TempFolder plain, graph;
  options.folder = plain.path();
  const Run a = train(setup, options);
  options.folder = graph.path();
  options.graph = true;
  const Run b = train(setup, options);
  REQUIRE(a.losses.size() == kEpochs * kBatches);
  CHECK(a.losses == b.losses);
  REQUIRE(a.norms.size() == b.norms.size());
  for (std::size_t i = 0; i < a.norms.size(); ++i) {
    CAPTURE(i);
    CAPTURE(a.norms[i]);
    CAPTURE(b.norms[i]);
    CHECK((a.norms[i] == b.norms[i] || (std::isnan(a.norms[i]) && std::isnan(b.norms[i]))));
  }
  CHECK(a.scales == b.scales);
  CHECK(bytes(plain.path()) == bytes(graph.path()));
  CHECK(a.messages.empty());
  // Two steps as they are, then one graph for all batches of that shape.
  REQUIRE(b.messages.size() == 1);
  CHECK(b.messages[0].find("[train] step 3 captured as a graph: ") == 0);
}

}  // namespace

TEST_CASE("graph: ten steps of a UNet with SGD have the bits of ten steps without") {
  check_same(unet(), {});
  check_same(unet(), {.clip_norm = 0});
}

TEST_CASE("graph: ten steps of an HRNet with dropout and AdamW have the bits of steps without") {
  check_same(hrnet(), {});
}

TEST_CASE("graph: the moving average of the weights has the same bits, steps left out or not") {
  check_same(hrnet(), {.average = 0.9});
  LossScaleOptions scale;
  scale.initial = scale.largest = 0x1p130;
  check_same(unet(), {.loss_scale = scale, .average = 0.9});
}

TEST_CASE("graph: a loss scale that overflows on the way gives the same steps") {
  LossScaleOptions scale;
  scale.initial = scale.largest = 0x1p130;  // infinite as float32
  scale.interval = 2;
  const Options options{.clip_norm = 0.5, .loss_scale = scale};
  check_same(unet(), options);
  const Run run = train(unet(), options);
  CHECK(run.scales.front() < scale.initial);  // the first step did overflow
  CHECK(*std::max_element(run.scales.begin(), run.scales.end()) >
        *std::min_element(run.scales.begin(), run.scales.end()));
}

TEST_CASE("graph: stopped and resumed, with and without graph, the run ends with the same bytes") {
  const test::TempFolder whole, parts;
  const Run all = train(hrnet(), {.graph = true, .folder = whole.path()});
  train(hrnet(), {.graph = true, .folder = parts.path(), .interrupt_at = 4});
  train(hrnet(), {.folder = parts.path(), .resume = true, .interrupt_at = 6});
  const Run rest = train(hrnet(), {.graph = true, .folder = parts.path(), .resume = true});
  CHECK(rest.losses == std::vector(all.losses.begin() + 6, all.losses.end()));
  CHECK(bytes(whole.path()) == bytes(parts.path()));
}

TEST_CASE("graph: a loss that is not finite is named as without, replayed or not") {
  const auto message = [](const Options& options) {
    try {
      train(unet(), options);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  for (const std::int64_t bad : {1, 7}) {
    const std::string plain = message({.bad = bad});
    CHECK(plain.find(fmt::format("step {}", bad + 1)) != std::string::npos);
    CHECK(plain.find("'image' of the batch is not finite") != std::string::npos);
    CHECK(message({.graph = true, .bad = bad}) == plain);
  }
}

TEST_CASE("graph: what would be frozen or is not there is an error") {
  CHECK_THROWS_WITH_AS(train(hrnet(), {.graph = true, .tell_step = false}),
                       doctest::Contains("every replay would drop the same elements"), Error);
  CHECK_THROWS_WITH_AS(train(unet(), {.graph = true, .device = {}}),
                       doctest::Contains("[graph] steps are captured on cuda and sim"), Error);
  CHECK_THROWS_WITH_AS(train(unet(), {.graph = true, .accumulate = 2}),
                       doctest::Contains("only steps of one batch"), Error);
}
