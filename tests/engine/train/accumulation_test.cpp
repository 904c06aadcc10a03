// Several batches make one optimizer step.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "engine/train/trainer.h"
#include "tests/support/tiny_training.h"

using namespace thorax;
using test::TinyRun;

TEST_CASE("accumulated batches give the step of one large batch") {
  TinyRun small(""), large("");
  for (TinyRun* run : {&small, &large}) {
    run->options.epochs = 1;
    run->options.best_metric.clear();
    run->net.eval();
    run->validate = nullptr;
  }
  // 5 batches of 4 against one of 20 with the same samples; no dropout.
  small.options.accumulate = 5;
  large.source.batches = 1;
  large.source.size = 20;
  large.source.change = [&](Batch& batch, std::int64_t, std::int64_t) {
    for (std::int64_t i = 0; i < 5; ++i) {
      const Batch part = small.source.get(0, i);
      for (const char* name : {"image", "label"})
        batch.tensors[name].batch_slice(i * 4, 4).copy_from(part.tensors.at(name));
    }
  };
  const auto eval_mode = [](TinyRun& run) {
    Sgd optimizer(run.net.parameters(), run.sgd);
    TrainerCallbacks callbacks;
    callbacks.loss = [&](const Batch& batch) {
      run.net.eval();  // dropout off
      return bce_with_logits(run.net.forward(batch.tensors.at("image")), batch.tensors.at("label"));
    };
    Trainer trainer(run.net, optimizer, run.schedule, run.source, run.options, callbacks);
    CHECK(trainer.run().steps == 1);
  };
  eval_mode(small);
  eval_mode(large);
  CHECK(test::difference(small.net.w1.value(), large.net.w1.value(), 1e-6).worst < 1);
  CHECK(!test::same_values(small.net.w1.value(), TinyRun("").net.w1.value()));
}

TEST_CASE("accumulated batches weigh by the values that their losses are means of") {
  // Labels of dark samples are not known: other numbers in every batch.
  const auto known = [](const Batch& batch) {
    const Tensor& image = batch.tensors.at("image");
    const std::int64_t count = image.size(0), each = image.numel() / count;
    Tensor mask = Tensor::zeros(batch.tensors.at("label").shape());
    for (std::int64_t n = 0; n < count; ++n)
      mask.data<float>()[n] = image.data<float>()[n * each] > 0 ? 1 : 0;
    return mask;
  };
  const auto number = [&](const Batch& batch) {
    const Tensor mask = known(batch);
    double sum = 0;
    for (std::int64_t n = 0; n < mask.numel(); ++n) sum += mask.data<float>()[n];
    return sum;
  };
  std::set<double> numbers;
  const auto trained = [&](TinyRun& run, bool weighed) {
    run.options.epochs = 1;
    run.options.best_metric.clear();
    Sgd optimizer(run.net.parameters(), run.sgd);
    TrainerCallbacks callbacks;
    callbacks.loss = [&](const Batch& batch) {
      run.net.eval();  // dropout off
      const Tensor weight = known(batch);
      numbers.insert(number(batch));
      scale_(weight, 1 / std::max(1.0, number(batch)));
      return bce_with_logits(run.net.forward(batch.tensors.at("image")), batch.tensors.at("label"),
                             1, weight);
    };
    if (weighed) callbacks.weight = number;
    Trainer trainer(run.net, optimizer, run.schedule, run.source, run.options, callbacks);
    CHECK(trainer.run().steps == 1);
    return run.net.w1.value();
  };
  TinyRun small(""), plain(""), large("");
  small.options.accumulate = plain.options.accumulate = 5;
  large.source.batches = 1;
  large.source.size = 20;
  large.source.change = [&](Batch& batch, std::int64_t, std::int64_t) {
    for (std::int64_t i = 0; i < 5; ++i) {
      const Batch part = small.source.get(0, i);
      for (const char* name : {"image", "label"})
        batch.tensors[name].batch_slice(i * 4, 4).copy_from(part.tensors.at(name));
    }
  };
  const Tensor whole = trained(large, true);
  CHECK(test::difference(trained(small, true), whole, 1e-6).worst < 1);
  CHECK(numbers.size() > 2);
  CHECK(test::difference(trained(plain, false), whole, 1e-6).worst > 1);
}
