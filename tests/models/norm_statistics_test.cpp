#include "models/norm_statistics.h"

#include <doctest/doctest.h>

#include "tests/models/support.h"

using namespace thorax;

namespace {
StateDict copy(const StateDict& state) {
  StateDict result;
  for (const auto& [name, tensor] : state) result[name] = tensor.clone();
  return result;
}
}  // namespace

TEST_CASE("norm statistics: the mean over the batches, whatever was there before") {
  const auto model = create_model(test::tiny_hrnet());
  model->eval();
  const std::vector<Tensor> images{test::normals({4, 64, 64, 3}, 1),
                                   test::normals({3, 64, 64, 3}, 2)};
  const StateDict start = copy(model->state_dict());
  const auto measured = [&](std::vector<Tensor> batches) {
    for (const auto& [name, tensor] : model->state_dict())
      if (name.ends_with("running_mean") || name.ends_with("running_var")) tensor.fill(1e6);
    measure_norm_statistics(*model, static_cast<std::int64_t>(batches.size()),
                            [&](std::int64_t i) { return batches[static_cast<std::size_t>(i)]; });
    return copy(model->state_dict());
  };
  const StateDict a = measured({images[0]}), b = measured({images[1]}), both = measured(images);
  CHECK_FALSE(model->training());
  int statistics = 0;
  for (const auto& [name, tensor] : both) {
    CAPTURE(name);
    if (name.ends_with("running_mean") || name.ends_with("running_var")) {
      ++statistics;
      const Tensor mean = add(a.at(name), b.at(name));
      scale_(mean, 0.5);
      CHECK(test::difference(tensor, mean, 1e-6, 1e-6).worst <= 1);
    } else {  // weights and the count of training batches
      CHECK(test::same_values(tensor, start.at(name)));
    }
  }
  CHECK(statistics > 20);
  measure_norm_statistics(*model, 0, [](std::int64_t) -> Tensor { fail("not asked for"); });
  CHECK(test::same(copy(model->state_dict()), both));
}
