// Optimizers over five steps and every schedule, against PyTorch (tests/golden/make_ops.py).
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/optim/optimizer.h"
#include "engine/optim/schedule.h"
#include "tests/support/golden.h"
#include "tests/support/places.h"

using namespace thorax;
using test::GoldenCase;

namespace {

// As a run's configuration would say it.
std::unique_ptr<Optimizer> optimizer_of(const GoldenCase& c, const Variable& parameter) {
  nlohmann::json config{{"name", c.options.at("op")}};
  for (const char* key : {"momentum", "dampening", "weight_decay", "beta1", "beta2", "epsilon"})
    if (c.options.contains(key)) config[key] = c.number(key);
  if (c.options.contains("nesterov")) config["nesterov"] = c.flag("nesterov");
  return make_optimizer(ConfigObject(config, "golden"), {{"p", parameter}});
}

}  // namespace

TEST_CASE("golden optimizers: SGD with its options and AdamW, five steps") {
  const auto cases = test::golden_cases("optimizers.safetensors");
  REQUIRE(cases.size() == 9);
  for (std::size_t k = 0; k < cases.size(); ++k) {
    CAPTURE(k);
    const GoldenCase& c = cases[k];
    for (const DType dtype : {DType::f64, DType::f32}) {
      const Variable p(c.tensors.at("param0").to(dtype), true);
      const auto optimizer = optimizer_of(c, p);
      for (int step = 0; step < 5; ++step) {
        CAPTURE(step);
        p.set_grad(c.tensors.at(fmt::format("grad{}", step)).to(dtype));
        optimizer->step(c.number("lr"));
        // The file's own rounding to float32; in float32 a few more with every step.
        const double allowed = dtype == DType::f64 ? 0x1p-23 : (step + 2) * 0x1p-22;
        CHECK(test::golden_error(p.value(), c.tensors.at(fmt::format("param{}", step + 1))) <=
              allowed);
      }
    }
  }
}

TEST_CASE("golden schedules: every kind, with and without warm-up") {
  std::ifstream file(thorax::test::source_folder() / "tests/golden/schedules.json");
  const auto rows = nlohmann::json::parse(file);
  REQUIRE(rows.size() == 21);
  for (const auto& row : rows) {
    CAPTURE(row.dump());
    nlohmann::json config = row;
    const std::int64_t total = row.at("total");
    config["unit"] = "steps";
    config.erase("total");
    config.erase("rate");
    const Schedule schedule(schedule_options(ConfigObject(config, "golden")), 1, total);
    for (std::size_t step = 0; step < row.at("rate").size(); ++step)
      CHECK(schedule.lr(static_cast<std::int64_t>(step)) ==
            doctest::Approx(row["rate"][step].get<double>()).epsilon(1e-12));
  }
}
