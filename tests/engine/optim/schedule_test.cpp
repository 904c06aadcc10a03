#include "engine/optim/schedule.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/tensor/error.h"

using namespace thorax;

namespace {
Schedule schedule(const char* json, std::int64_t per_epoch, std::int64_t total) {
  return Schedule(schedule_options(ConfigObject(parse_json(json, "run.json"), "run.json")),
                  per_epoch, total);
}
}  // namespace

TEST_CASE("the study's step schedule changes at the start of an epoch") {
  const Schedule s =
      schedule(R"({"name":"step","lr":0.01,"factor":0.1,"milestones":[30,60,90]})", 10, 1000);
  CHECK(s.lr(0) == 0.01);
  CHECK(s.lr(299) == 0.01);
  CHECK(s.lr(300) == doctest::Approx(1e-3));
  CHECK(s.lr(600) == doctest::Approx(1e-4));
  CHECK(s.lr(999) == doctest::Approx(1e-5));
}

TEST_CASE("cosine and poly fall from the full rate to the final one") {
  const Schedule c = schedule(R"({"name":"cosine","unit":"steps","lr":1,"final_lr":0.2})", 10, 100);
  CHECK(c.lr(0) == 1);
  CHECK(c.lr(50) == doctest::Approx(0.6));
  CHECK(c.lr(100) == doctest::Approx(0.2));
  CHECK(c.lr(1000) == doctest::Approx(0.2));
  const Schedule p = schedule(R"({"name":"poly","unit":"steps","lr":1,"power":2})", 10, 100);
  CHECK(p.lr(50) == doctest::Approx(0.25));
  CHECK(p.lr(100) == 0);
  const Schedule e = schedule(R"({"name":"cosine","lr":1})", 10, 40);
  CHECK(e.lr(19) == e.lr(10));
  CHECK(e.lr(20) == doctest::Approx(0.5));
}

TEST_CASE("warm-up rises linearly to the full rate, then the schedule begins") {
  const Schedule s = schedule(R"({"lr":2,"unit":"steps","warmup":4,"warmup_start":0.2})", 10, 100);
  CHECK(s.lr(0) == doctest::Approx(2 * (0.2 + 0.8 / 4)));
  CHECK(s.lr(1) == doctest::Approx(2 * (0.2 + 0.8 / 2)));
  CHECK(s.lr(3) == 2);
  CHECK(s.lr(4) == 2);
  const Schedule c = schedule(R"({"name":"cosine","lr":1,"unit":"steps","warmup":20})", 10, 120);
  CHECK(c.lr(0) == doctest::Approx(0.05));
  CHECK(c.lr(20) == 1);
  CHECK(c.lr(70) == doctest::Approx(0.5));
}

TEST_CASE("what makes no sense is refused") {
  CHECK_THROWS_WITH_AS(schedule(R"({"name":"cosin"})", 1, 1),
                       doctest::Contains("did you mean 'cosine'?"), Error);
  CHECK_THROWS_WITH_AS(schedule(R"({"factor":0.1})", 1, 1),
                       doctest::Contains("factor: unknown key"), Error);
  CHECK_THROWS_WITH_AS(schedule(R"({"name":"step","milestones":[3,3]})", 1, 1),
                       doctest::Contains("milestones: must be rising"), Error);
  CHECK_THROWS_WITH_AS(schedule(R"({"lr":-1})", 1, 1), doctest::Contains("lr: -1 is below 0"),
                       Error);
  CHECK_THROWS_AS(Schedule({}, 0, 10), Error);
}
