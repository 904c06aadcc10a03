// Configurations of networks come from checkpoints, whoever wrote them: any of them gives a network
// or an Error, never another exception, a crash or memory without measure.
#include <doctest/doctest.h>

#include <random>

#include "models/factory.h"
#include "models/layers.h"
#include "tests/models/support.h"

using namespace thorax;
using nlohmann::json;

namespace {

const std::vector<json>& hostile_values() {
  static const std::vector<json> values = {json(),
                                           true,
                                           -1,
                                           0,
                                           1,
                                           2,
                                           7,
                                           1 << 20,
                                           (1 << 20) + 1,
                                           INT64_MIN,
                                           UINT64_MAX,
                                           0.5,
                                           -0.0,
                                           1e300,
                                           "",
                                           "bottleneck",
                                           "study",
                                           json::array(),
                                           json::object(),
                                           {1, 1, 1, 1},
                                           {0, 1, -1},
                                           {"a", 1},
                                           {{{"modules", 1}}},
                                           {{{"modules", 1}, {"blocks", {1, 1}}}},
                                           json(std::vector<int>(100, 1))};
  return values;
}

// Changes, adds or removes a value somewhere in the document.
void mutate(json& value, std::mt19937_64& random) {
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  if (value.is_structured() && !value.empty() && pick(4) != 0) {
    auto inner = value.begin();
    std::advance(inner, static_cast<std::ptrdiff_t>(pick(value.size())));
    if (pick(8) == 0)
      value.erase(inner);
    else
      mutate(*inner, random);
    return;
  }
  if (value.is_array() && pick(2) == 0)
    value.push_back(hostile_values()[pick(hostile_values().size())]);
  else
    value = hostile_values()[pick(hostile_values().size())];
}

}  // namespace

TEST_CASE("any configuration gives a network or an error") {
  const std::vector<json> good = {{{"model", "unet"},
                                   {"in_channels", 1},
                                   {"out_channels", 1},
                                   {"width", 2},
                                   {"depth", 1},
                                   {"recompute", false}},
                                  {{"model", "resnet18"},
                                   {"in_channels", 1},
                                   {"head", "study"},
                                   {"hidden", {4}},
                                   {"outputs", 1},
                                   {"dropout", 0.5},
                                   {"stem", 2},
                                   {"width", 2},
                                   {"layers", {1, 1, 1, 1}},
                                   {"block", "basic"}},
                                  {{"model", "densenet121"},
                                   {"in_channels", 1},
                                   {"outputs", 2},
                                   {"growth", 2},
                                   {"blocks", {1, 1, 1, 1}}},
                                  test::tiny_hrnet()};
  std::mt19937_64 random(20261128);
  int made = 0, refused = 0;
  for (const json& config : good) {
    CAPTURE(config.dump());
    CHECK_NOTHROW(create_model(config));
    for (int i = 0; i < 400; ++i) {
      json changed = config;
      for (auto times = 1 + random() % 3; times > 0; --times) mutate(changed, random);
      CAPTURE(changed.dump());
      try {
        const WeightBudget budget(1 << 18);
        create_model(changed);
        ++made;
      } catch (const Error& error) {
        CHECK(std::string(error.what()).starts_with("["));
        ++refused;
      } catch (const std::exception& other) {
        FAIL_CHECK(other.what());
      }
    }
  }
  CHECK(made >= 80);
  CHECK(refused >= 400);
}
