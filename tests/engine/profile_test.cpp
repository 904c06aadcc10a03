#include "engine/runtime/profile.h"

#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "engine/autograd/variable.h"

using namespace thorax;

namespace {
struct Profiled {
  explicit Profiled(ProfileLevel level) {
    profile_reset();
    profile_enable(level);
  }
  ~Profiled() {
    profile_enable(ProfileLevel::off);
    profile_reset();
  }
};
const ProfileRow* find(const std::vector<ProfileRow>& rows, const std::string& name) {
  for (const ProfileRow& row : rows)
    if (row.name == name) return &row;
  return nullptr;
}
}  // namespace

TEST_CASE("a scope counts its own time, not that of scopes inside it") {
  const Profiled on(ProfileLevel::operations);
  {
    const ProfileScope outer("outer");
    const ProfileScope inner("inner", "forward", [] { return std::string("1x2"); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const auto rows = profile_rows();
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].name == "inner forward");
  CHECK(rows[0].seconds >= 0.02);
  CHECK(rows[1].seconds < rows[0].seconds / 2);
  CHECK(rows[1].calls == 1);
}

TEST_CASE("off collects nothing and never describes") {
  profile_reset();
  bool described = false;
  {
    const ProfileScope scope("op", "forward", [&] { return described = true, std::string(); });
  }
  CHECK(!described);
  CHECK(profile_rows().empty());
}

TEST_CASE("backward is timed by node, with the output's shape at level shapes") {
  const Profiled on(ProfileLevel::shapes);
  const Variable leaf(Tensor::full({2, 3}, 1.0), true);
  const Variable result =
      record("copy", leaf.value().clone(), {leaf},
             [](const Tensor& grad, const std::vector<bool>&) { return std::vector{grad}; });
  backward(result, Tensor::full({2, 3}, 1.0));
  CHECK(find(profile_rows(), "copy backward 2x3") != nullptr);
}

TEST_CASE("the parameter version moves when values may have changed") {
  const std::uint64_t before = parameter_version();
  const Variable leaf(Tensor::full({1}, 1.0), true);
  leaf.set_value(Tensor::full({1}, 2.0));
  const std::uint64_t replaced = parameter_version();
  CHECK(replaced > before);
  backward(leaf);
  CHECK(parameter_version() > replaced);
}
