#include "engine/train/trainer.h"

#include <doctest/doctest.h>

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "engine/io/atomic_file.h"
#include "engine/runtime/allocator.h"
#include "engine/runtime/device.h"
#include "engine/train/checkpoint.h"
#include "tests/support/full_disk.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_training.h"

using namespace thorax;
using test::TinyRun;
using Status = TrainResult::Status;

namespace {

std::vector<std::byte> bytes_of(const std::filesystem::path& path) {
  return read_bytes(path, 1 << 24);
}

std::vector<nlohmann::json> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(nlohmann::json::parse(line));
  }
  return lines;
}

// Both runs ended with the same checkpoint, best weights and log.
void check_same_end(const std::filesystem::path& a, const std::filesystem::path& b) {
  CHECK(bytes_of(a / "last.safetensors") == bytes_of(b / "last.safetensors"));
  CHECK(bytes_of(a / "best.safetensors") == bytes_of(b / "best.safetensors"));
  CHECK(bytes_of(a / "metrics.jsonl") == bytes_of(b / "metrics.jsonl"));
}

struct Whole {
  test::TempFolder folder;
  TrainResult result;
  Whole() { result = TinyRun(folder.path()).run(); }
};

}  // namespace

TEST_CASE("a run trains, logs, keeps the best epoch and the last checkpoint") {
  test::TempFolder folder;
  TinyRun run(folder.path());
  run.options.epochs = 30;
  std::vector<double> scores, losses;
  run.observer.epoch = [&](std::int64_t epoch, const std::map<std::string, double>& m) {
    CHECK(epoch == static_cast<std::int64_t>(scores.size()));
    scores.push_back(m.at("score"));
    losses.push_back(m.at("train_loss"));
    CHECK(m.contains("train_mean_logit"));
    CHECK(m.contains("lr"));
  };
  TrainProgress last;
  run.observer.step = [&](const TrainProgress& p) { last = p; };
  const TrainResult result = run.run();
  CHECK(result.status == Status::finished);
  CHECK(result.epochs == 30);
  CHECK(result.steps == 150);
  CHECK(last.step == 150);
  CHECK(last.steps == 150);
  CHECK(last.batches == 5);
  CHECK(last.samples == 4);
  CHECK(last.seconds_left == 0);
  CHECK(losses.back() < 0.8 * losses.front());
  const auto best = std::max_element(scores.begin(), scores.end());
  CHECK(result.best == *best);
  CHECK(result.best_epoch == best - scores.begin());
  const ModelWeights weights = load_model_weights(folder / "best.safetensors");
  CHECK(weights.metadata.at("epoch") == std::to_string(result.best_epoch + 1));
  CHECK(weights.weights.contains("running_mean"));
  const auto lines = lines_of(folder / "metrics.jsonl");
  CHECK(lines.size() == 180);
  CHECK(lines[5]["kind"] == "epoch");
  CHECK(lines[5]["train_loss"] == losses[0]);
  CHECK(lines[0]["lr"] == 0.1);
  CHECK(!std::filesystem::exists(folder / "last.new.safetensors"));
  // Nothing is left to do.
  TinyRun again(folder.path(), true);
  again.options.epochs = 30;
  const auto bytes = bytes_of(folder / "last.safetensors");
  const TrainResult same = again.run();
  CHECK(same.status == Status::finished);
  CHECK(same.metrics.at("score") == scores.back());
  CHECK(same.best == result.best);
  CHECK(bytes_of(folder / "last.safetensors") == bytes);
}

TEST_CASE("the same run twice gives the same bytes; another start gives others") {
  Whole a, b;
  check_same_end(a.folder.path(), b.folder.path());
  test::TempFolder folder;
  TinyRun other(folder.path());
  other.net.w1.value().data<float>()[0] += 1;
  other.run();
  CHECK(bytes_of(folder / "last.safetensors") != bytes_of(a.folder / "last.safetensors"));
}

TEST_CASE("SIGINT finishes the step, checkpoints and says so; resuming gives the same bytes") {
  const Whole whole;
  static int foreign = 0;
  struct sigaction mine {
  }, found{};
  mine.sa_handler = [](int) { ++foreign; };
  ::sigaction(SIGINT, &mine, nullptr);
  for (const int signal : {SIGINT, SIGTERM}) {
    for (const std::int64_t at : {1, 5, 8, 19}) {  // at 5: the end of an epoch
      test::TempFolder folder;
      TinyRun first(folder.path());
      first.observer.step = [&](const TrainProgress& p) {
        if (p.step == at) ::raise(signal);
      };
      const TrainResult stopped = first.run();
      CHECK(stopped.status == Status::interrupted);
      CHECK(stopped.steps == at);
      CHECK(foreign == 0);
      TinyRun second(folder.path(), true);
      const TrainResult result = second.run();
      CHECK(result.status == Status::finished);
      CHECK(second.observer.told("resumed at epoch"));
      check_same_end(folder.path(), whole.folder.path());
    }
  }
  ::sigaction(SIGINT, nullptr, &found);
  const bool back = found.sa_handler == mine.sa_handler;
  CHECK(back);
  mine.sa_handler = SIG_DFL;
  ::sigaction(SIGINT, &mine, nullptr);
}

TEST_CASE("a validation that gives up is repeated on resume") {
  const Whole whole;
  test::TempFolder folder;
  TinyRun first(folder.path());
  const auto validate = first.validate;
  first.validate = [&](std::int64_t epoch) -> std::map<std::string, double> {
    if (epoch == 2) {
      ::raise(SIGINT);
      if (stop_requested()) throw Interrupted();
    }
    return validate(epoch);
  };
  CHECK(first.run().status == Status::interrupted);
  CHECK(first.net.training());
  TinyRun(folder.path(), true).run();
  check_same_end(folder.path(), whole.folder.path());
}

TEST_CASE("a bad last checkpoint is named and the previous one used, to the same end") {
  const Whole whole;
  test::TempFolder folder;
  TinyRun first(folder.path());
  first.options.checkpoint_steps = 2;
  first.observer.step = [](const TrainProgress& p) {
    if (p.step == 13) ::raise(SIGINT);
  };
  first.run();
  auto bytes = bytes_of(folder / "last.safetensors");
  bytes[bytes.size() - 5] ^= std::byte{8};
  atomic_write(folder / "last.safetensors", bytes);
  TinyRun second(folder.path(), true);
  CHECK(second.run().status == Status::finished);
  CHECK(second.observer.told("last.safetensors: checksum"));
  CHECK(second.observer.told("resumed at epoch 3 of 4, batch 2 of 5"));
  check_same_end(folder.path(), whole.folder.path());
}

TEST_CASE("another configuration is refused with the differing keys; so is a foreign folder") {
  test::TempFolder folder;
  TinyRun first(folder.path());
  first.options.max_steps = 7;
  CHECK(first.run().steps == 7);
  TinyRun second(folder.path(), true);
  second.options.max_steps = 7;
  second.options.config["data"]["size"] = 9;
  second.sgd.momentum = 0.9;
  CHECK_THROWS_WITH_AS(second.run(),
                       doctest::Contains("run.data.size (8, now 9), trainer.optimizer.momentum "
                                         "(0.8, now 0.9)"),
                       Error);
  TinyRun third(folder.path());
  CHECK_THROWS_WITH_AS(third.run(), doctest::Contains("holds the checkpoint of another run"),
                       Error);
  test::TempFolder empty;
  TinyRun fourth(empty.path(), true);
  CHECK(fourth.run().status == Status::finished);
  CHECK(fourth.observer.told("no checkpoint yet"));
}

TEST_CASE("a loss that is not finite stops with step, files and the first operation") {
  // A NaN in a file, and values so large that the first layer overflows.
  for (const bool broken_input : {true, false}) {
    test::TempFolder folder;
    TinyRun run(folder.path());
    run.options.checkpoint_steps = 1;
    run.source.change = [&](Batch& batch, std::int64_t epoch, std::int64_t index) {
      if (epoch != 1 || index != 2) return;
      const Tensor& image = batch.tensors["image"];
      if (broken_input)
        image.data<float>()[3] = NAN;
      else
        image.fill(3e38);
    };
    std::string error;
    try {
      run.run();
    } catch (const Error& e) {
      error = e.what();
    }
    CAPTURE(error);
    CHECK(error.find("[train] step 8 (epoch 2, batch 3): loss is ") != std::string::npos);
    CHECK((error.find("not finite: output 4x16 of 'linear'") != std::string::npos) ==
          !broken_input);
    CHECK((error.find("'image' of the batch is not finite") != std::string::npos) == broken_input);
    CHECK(error.find("e1b2i0.png, e1b2i1.png") != std::string::npos);
    CHECK_NOTHROW(load_checkpoint(folder / "last.safetensors"));
  }
}

TEST_CASE("weights that are not finite never reach a checkpoint") {
  test::TempFolder folder;
  TinyRun run(folder.path());
  run.observer.step = [&](const TrainProgress& p) {
    if (p.step == 10) run.net.b1.value().data<float>()[2] = INFINITY;
  };
  run.validate = [](std::int64_t) { return std::map<std::string, double>{{"score", 1}}; };
  CHECK_THROWS_WITH_AS(run.run(), doctest::Contains("step 10: parameter 'fc1.bias' is not finite"),
                       Error);
  const Checkpoint kept = load_checkpoint(folder / "last.safetensors");
  CHECK(nlohmann::json::parse(kept.texts.at("state"))["step"] == 5);
}

TEST_CASE("a full disk while checkpointing stops the run; the previous checkpoint carries on") {
  const Whole whole;
  test::TempFolder folder;
  TinyRun first(folder.path());
  first.options.checkpoint_steps = 3;
  std::unique_ptr<test::FullDisk> full;
  first.observer.step = [&](const TrainProgress& p) {
    if (p.step == 9) full = std::make_unique<test::FullDisk>(2000);
  };
  CHECK_THROWS_WITH_AS(first.run(), doctest::Contains("last.new.safetensors: write failed"), Error);
  full.reset();
  CHECK_NOTHROW(load_checkpoint(folder / "last.safetensors"));
  CHECK_NOTHROW(load_checkpoint(folder / "last.prev.safetensors"));
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    CHECK(entry.path().string().find(".tmp-") == std::string::npos);
  TinyRun second(folder.path(), true);
  CHECK(second.run().status == Status::finished);
  INFO(fmt::format("{}", fmt::join(second.observer.messages, "\n")));
  CHECK(second.observer.told("resumed at epoch 2 of 4, batch 3 of 5"));
  check_same_end(folder.path(), whole.folder.path());
}

TEST_CASE(
    "memory that runs out in the middle of an epoch stops the run; resumed, it ends the same") {
  for (const Device device : {Device{}, Device{DeviceKind::sim, 0}}) {
    CAPTURE(to_string(device));
    test::TempFolder undisturbed;
    TinyRun whole(undisturbed.path());
    whole.net.to(device);
    whole.run();
    Allocator& memory = allocator(device);
    // From this step on nothing more is to be had than is in use: before the first checkpoint, in
    // the first epoch, at its end (validation), in the second.
    for (const std::int64_t full_at : {1, 4, 5, 9}) {
      CAPTURE(full_at);
      test::TempFolder folder;
      std::string said;
      {
        TinyRun first(folder.path());
        first.net.to(device);
        first.options.checkpoint_steps = 3;
        first.observer.step = [&](const TrainProgress& p) {
          if (p.step == full_at) memory.set_limit(std::max<std::size_t>(memory.stats().in_use, 1));
        };
        try {
          first.run();
        } catch (const Error& error) {
          said = error.what();
        }
        memory.set_limit(0);
      }
      CHECK(said.starts_with("[allocator] out of memory"));
      CHECK(said.find(" bytes wanted, ") != std::string::npos);
      CHECK(said.find(", 0 free") != std::string::npos);
      CHECK(said.find("a higher --memory-limit gives more") != std::string::npos);
      for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
        CHECK(entry.path().string().find(".tmp-") == std::string::npos);
      TinyRun second(folder.path(), true);
      second.net.to(device);
      CHECK(second.run().status == Status::finished);
      CHECK(second.observer.told(full_at < 3 ? "no checkpoint yet" : "resumed at epoch "));
      check_same_end(folder.path(), undisturbed.path());
    }
  }
}

TEST_CASE("accumulation, a rest at the end of the epoch, and a kill between") {
  const auto run = [](const std::filesystem::path& folder, bool resume, std::int64_t stop_at) {
    TinyRun r(folder, resume);
    r.options.accumulate = 2;  // 2 + 2 + 1 batches
    r.options.clip_norm = 0.05;
    double norm = 0;
    r.observer.step = [&](const TrainProgress& p) {
      norm = std::max(norm, p.grad_norm);
      if (p.step == stop_at) ::raise(SIGTERM);
    };
    const TrainResult result = r.run();
    CHECK(norm > 0.05);
    return result;
  };
  test::TempFolder a, b;
  CHECK(run(a.path(), false, -1).steps == 12);
  CHECK(run(b.path(), false, 7).status == Status::interrupted);
  run(b.path(), true, -1);
  check_same_end(a.path(), b.path());
}

TEST_CASE("a loss scale changes no bit, leaves out steps that overflow, and survives a stop") {
  const Whole whole;
  const auto run = [](const std::filesystem::path& folder, bool resume, std::int64_t stop_at,
                      const LossScaleOptions& scale) {
    TinyRun r(folder, resume);
    r.options.loss_scale = scale;
    std::vector<double> scales;
    r.observer.step = [&](const TrainProgress& p) {
      scales.push_back(p.loss_scale);
      if (p.step == stop_at) ::raise(SIGTERM);
    };
    r.run();
    return scales;
  };
  const auto weights = [](const std::filesystem::path& folder) {
    return load_model_weights(folder / "last.safetensors").weights;
  };
  // Powers of two: every gradient is scaled and scaled back exactly.
  test::TempFolder plain;
  CHECK(run(plain.path(), false, -1, {.initial = 1024, .interval = 8})[19] == 4096);
  for (const auto& [name, tensor] : weights(whole.folder.path()))
    CHECK(test::same_values(weights(plain.path()).at(name), tensor));
  // Gradients of about 0.1 overflow above 2^128: the first steps are left out.
  const LossScaleOptions huge{.initial = 0x1p134, .interval = 6, .largest = 0x1p134};
  test::TempFolder a, b;
  const std::vector<double> all = run(a.path(), false, -1, huge);
  CHECK(all[0] == 0x1p133);
  CHECK(all[1] == 0x1p132);
  CHECK(*std::min_element(all.begin(), all.end()) < 0x1p132);
  CHECK(all[19] > 0x1p120);
  std::vector<double> parts = run(b.path(), false, 7, huge);
  const std::vector<double> rest = run(b.path(), true, -1, huge);
  parts.insert(parts.end(), rest.begin(), rest.end());
  CHECK(parts == all);
  check_same_end(a.path(), b.path());
  // The first step that counted is the whole run's second batch or later: other weights.
  CHECK(!test::same_values(weights(a.path()).at("fc1.weight"),
                           weights(whole.folder.path()).at("fc1.weight")));
  TinyRun other(b.path(), true);
  CHECK_THROWS_WITH_AS(other.run(), doctest::Contains("trainer.loss_scale"), Error);
}

TEST_CASE("clipping limits the step, and a gradient that is not finite is an error") {
  TinyRun free(""), clipped("");
  for (TinyRun* run : {&free, &clipped}) {
    run->options.epochs = 1;
    run->options.max_steps = 1;
    run->sgd = {};
  }
  clipped.options.clip_norm = 1e-3;
  double norm = 0;
  clipped.observer.step = [&](const TrainProgress& p) { norm = p.grad_norm; };
  free.run();
  clipped.run();
  const Tensor start = TinyRun("").net.w1.value();
  const double moved_free = test::difference(free.net.w1.value(), start, 1).absolute;
  const double moved_clipped = test::difference(clipped.net.w1.value(), start, 1).absolute;
  CHECK(moved_clipped == doctest::Approx(moved_free * 1e-3 / norm).epsilon(1e-3));
}

TEST_CASE("wrong use is refused") {
  TinyRun none("");
  none.source.batches = 0;
  CHECK_THROWS_WITH_AS(none.run(), doctest::Contains("no batch in an epoch"), Error);
  TinyRun zero("");
  zero.options.epochs = 0;
  CHECK_THROWS_AS(zero.run(), Error);
  TinyRun metric("");
  metric.options.best_metric = "dice";
  CHECK_THROWS_WITH_AS(metric.run(), doctest::Contains("no metric 'dice'"), Error);
  TinyRun empty("");  // every file of a batch was skipped
  empty.source.change = [](Batch& batch, std::int64_t, std::int64_t index) {
    if (index == 1) batch = {};
  };
  CHECK(empty.run().status == Status::finished);
}

TEST_CASE("a log that lost lines, or in which one was altered, ends as it would have") {
  const Whole whole;
  const auto stopped = [](const std::filesystem::path& folder) {
    TinyRun run(folder);
    run.options.epochs = 4;
    run.observer.epoch = [](std::int64_t epoch, const std::map<std::string, double>&) {
      if (epoch == 2) throw std::runtime_error("stop");
    };
    CHECK_THROWS(run.run());
  };
  const auto damage = [](const std::filesystem::path& log, int kind) {
    std::string text = read_file(log, 1 << 20);
    const std::size_t line = text.find('\n') + 1;
    if (kind == 0) text.erase(line, text.find('\n', line) + 1 - line);
    if (kind == 1) text[line + 3] ^= 1;
    if (kind == 2) text.clear();
    kind == 3 ? (void)std::filesystem::remove(log) : atomic_write(log, std::string_view(text));
  };
  for (int kind = 0; kind < 4; ++kind) {
    CAPTURE(kind);
    test::TempFolder folder;
    stopped(folder.path());
    damage(folder / "metrics.jsonl", kind);
    TinyRun run(folder.path(), true);
    run.run();
    CHECK(run.observer.told("restored from the checkpoint"));
    check_same_end(folder.path(), whole.folder.path());
  }
  test::TempFolder folder;
  stopped(folder.path());
  std::filesystem::remove(folder / "best.safetensors");
  TinyRun run(folder.path(), true);
  run.run();
  CHECK(run.observer.told("best.safetensors: is missing"));
}

TEST_CASE("a checkpoint of the earlier version goes on, with a line about its log") {
  const Whole whole;
  test::TempFolder folder;
  TinyRun first(folder.path());
  first.observer.epoch = [](std::int64_t epoch, const std::map<std::string, double>&) {
    if (epoch == 2) throw std::runtime_error("stop");
  };
  CHECK_THROWS(first.run());
  // As that version wrote it: a count instead of the lines, times in the log, where data lies.
  const auto path = folder / "last.safetensors";
  Checkpoint checkpoint = load_checkpoint(path);
  nlohmann::json state = nlohmann::json::parse(checkpoint.texts.at("state"));
  state["lines"] = state.at("log").size();
  state.erase("log");
  checkpoint.texts["state"] = state.dump();
  nlohmann::json config = nlohmann::json::parse(checkpoint.texts.at("config"));
  config["run"]["place"] = "/data";
  config["run"].erase("model");  // as if that version had not known this setting
  checkpoint.texts["config"] = config.dump();
  save_checkpoint(path, checkpoint);
  std::string log;
  for (nlohmann::json line : lines_of(folder / "metrics.jsonl")) {
    line["seconds"] = 1.5;
    log += line.dump() + "\n";
  }
  atomic_write(folder / "metrics.jsonl", std::string_view(log));
  {
    TinyRun other(folder.path(), true);
    CHECK_THROWS_WITH_AS(other.run(), doctest::Contains("run.place"), Error);
  }
  TinyRun second(folder.path(), true);
  second.options.not_compared = {"place"};
  second.run();
  CHECK(second.observer.told("was written by an earlier version"));
  CHECK(second.observer.told("what it did not record is taken as it is now: model"));
  check_same_end(folder.path(), whole.folder.path());
}

TEST_CASE("what validation found is in the files that end an epoch, and in no other") {
  test::TempFolder folder;
  std::string found;
  const auto note_score = [&](TinyRun& run) {
    run.validate = [&found, validate = run.validate](std::int64_t epoch) {
      const auto metrics = validate(epoch);
      found = fmt::format("{}", metrics.at("score"));
      return metrics;
    };
    run.epoch_texts = [&] { return std::map<std::string, std::string>{{"found", found}}; };
  };
  TinyRun run(folder.path());
  note_score(run);
  std::map<std::int64_t, std::string> scores;
  run.observer.epoch = [&](std::int64_t epoch, const std::map<std::string, double>& m) {
    scores[epoch] = fmt::format("{}", m.at("score"));
  };
  const TrainResult result = run.run();
  CHECK(load_checkpoint(folder / "last.safetensors").texts.at("found") == scores.at(3));
  CHECK(load_model_weights(folder / "best.safetensors").metadata.at("found") ==
        scores.at(result.best_epoch));
  // Killed in the middle of an epoch: nothing was found about those weights; resumed: the same end.
  test::TempFolder other;
  TinyRun stopped(other.path());
  note_score(stopped);
  stopped.observer.step = [&](const TrainProgress& p) {
    if (p.step == 7) ::raise(SIGINT);
  };
  CHECK(stopped.run().status == Status::interrupted);
  CHECK_FALSE(load_checkpoint(other / "last.safetensors").texts.contains("found"));
  TinyRun resumed(other.path(), true);
  note_score(resumed);
  CHECK(resumed.run().status == Status::finished);
  check_same_end(folder.path(), other.path());
}
