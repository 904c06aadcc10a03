// Early stopping and the average of weights in the training loop: which epochs, which weights, and
// the same end after any stop.
#include <doctest/doctest.h>

#include "engine/io/atomic_file.h"
#include "engine/train/checkpoint.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_training.h"

using namespace thorax;
using test::TinyRun;
using Status = TrainResult::Status;

namespace {

std::vector<std::byte> bytes_of(const std::filesystem::path& path) {
  return read_bytes(path, 1 << 24);
}

// A run whose epochs have these scores.
TrainResult scored(const std::vector<double>& scores, std::int64_t patience, bool higher = true) {
  TinyRun run("");
  run.options.epochs = static_cast<std::int64_t>(scores.size());
  run.options.early_stop = patience;
  run.options.best_is_higher = higher;
  run.validate = [&](std::int64_t epoch) {
    return std::map<std::string, double>{{"score", scores[static_cast<std::size_t>(epoch)]}};
  };
  return run.run();
}

void average_and_stop(TinyRun& run) {
  run.options.epochs = 8;
  run.options.average_decay = 0.9;
  run.options.early_stop = 2;
  const auto validate = run.validate;
  // The best is epoch 4; the weights have their part, too.
  run.validate = [validate](std::int64_t epoch) {
    auto metrics = validate(epoch);
    metrics["weights"] = metrics.at("score");
    metrics["score"] = epoch <= 3 ? static_cast<double>(epoch) : 0;
    return metrics;
  };
}

}  // namespace

TEST_CASE("a run stops after so many epochs without a better one") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  TrainResult r = scored({1, 2, 2, 1, 3, 0, 0, 0}, 2);
  CHECK(r.stopped_early);  // 2, 1: two epochs without a better one than 2
  CHECK(r.epochs == 4);
  CHECK(r.best_epoch == 1);
  r = scored({1, 2, 2, 1, 3, 0, 0, 0}, 3);
  CHECK(r.stopped_early);
  CHECK(r.epochs == 8);
  CHECK(r.best_epoch == 4);
  r = scored({1, 2, 2, 1, 3, 0, 0, 0}, 4);
  CHECK_FALSE(r.stopped_early);
  CHECK(r.epochs == 8);
  CHECK_FALSE(scored({1, 0, 0, 0}, 0).stopped_early);
  r = scored({1, 2, 3, 4}, 1, false);  // lower is better
  CHECK(r.epochs == 2);
  r = scored({nan, nan, 1, 2}, 2);  // an epoch without a figure is not a better one
  CHECK(r.epochs == 2);
  CHECK(r.best_epoch == -1);
  TinyRun blind("");
  blind.options.best_metric.clear();
  blind.options.early_stop = 1;
  CHECK_THROWS_WITH_AS(blind.run(), doctest::Contains("wants a metric"), Error);
}

TEST_CASE("the averaged network is validated, kept as best and last, and left in the module") {
  test::TempFolder folder;
  TinyRun run(folder.path());
  run.options.average_decay = 0.5;
  run.options.epochs = 1;
  run.options.clip_norm = 0;
  // By hand, from the weights after every step.
  double expected = run.net.b2.value().data<float>()[0], last = 0;
  double n = 0, validated = 0;
  run.observer.step = [&](const TrainProgress&) {
    n += 1;
    const double d = std::min(0.5, (1 + n) / (10 + n));
    last = run.net.b2.value().data<float>()[0];
    expected = d * expected + (1 - d) * last;
  };
  run.validate = [&](std::int64_t) {
    validated = run.net.b2.value().data<float>()[0];
    return std::map<std::string, double>{{"score", 1}};
  };
  run.run();
  CHECK(n == 5);
  CHECK(validated == doctest::Approx(expected).epsilon(1e-6));
  CHECK(std::abs(validated - last) > 1e-4);
  CHECK(run.net.b2.value().data<float>()[0] == static_cast<float>(validated));
  const Checkpoint checkpoint = load_checkpoint(folder / "last.safetensors");
  CHECK(checkpoint.model.at("fc2.bias").data<float>()[0] == static_cast<float>(validated));
  CHECK(checkpoint.trained.at("fc2.bias").data<float>()[0] == static_cast<float>(last));
  for (const char* name : {"last.safetensors", "best.safetensors"})
    CHECK(load_model_weights(folder / name).weights.at("fc2.bias").data<float>()[0] ==
          static_cast<float>(validated));
}

TEST_CASE("averaging and early stopping: the same bytes after a stop at any step") {
  test::TempFolder whole;
  TinyRun left_alone(whole.path());
  average_and_stop(left_alone);
  const TrainResult end = left_alone.run();
  CHECK(end.stopped_early);
  CHECK(end.epochs == 6);
  for (const std::int64_t at : {1, 7, 20, 25, 29, 30}) {
    CAPTURE(at);
    test::TempFolder folder;
    TinyRun first(folder.path());
    average_and_stop(first);
    first.observer.step = [&](const TrainProgress& p) {
      if (p.step == at) ::raise(SIGINT);
    };
    first.run();
    TinyRun second(folder.path(), true);
    average_and_stop(second);
    const TrainResult result = second.run();
    CHECK(result.status == Status::finished);
    CHECK(result.stopped_early);
    CHECK(result.epochs == 6);
    for (const char* name : {"last.safetensors", "best.safetensors", "metrics.jsonl"})
      CHECK(bytes_of(folder / name) == bytes_of(whole / name));
    CHECK(test::same_values(second.net.w1.value(), left_alone.net.w1.value()));
  }
  // Neither may be changed on the way.
  TinyRun other(whole.path(), true);
  average_and_stop(other);
  other.options.early_stop = 3;
  other.options.average_decay = 0;
  CHECK_THROWS_WITH_AS(other.run(),
                       doctest::Contains("trainer.average_decay (0.9, now absent), "
                                         "trainer.early_stop (2, now 3)"),
                       Error);
}
