#include "kernels/common/ranked_algorithms.h"

#include <doctest/doctest.h>

#include <set>

TEST_CASE("the first ranked algorithm that runs is kept; where none runs that is known, too") {
  thorax::vendor::RankedAlgorithms<int> algorithms;
  int rankings = 0;
  std::vector<int> tried;
  const auto run = [&](const char* problem, const std::set<int>& working) {
    tried.clear();
    return algorithms.run(
        problem,
        [&] {
          ++rankings;
          return std::vector<int>{4, 2, 7};
        },
        [&](int algorithm) {
          tried.push_back(algorithm);
          return working.contains(algorithm);
        });
  };
  CHECK(run("a", {2, 7}));
  CHECK(tried == std::vector<int>{4, 2});
  CHECK(run("a", {2, 4, 7}));
  CHECK(tried == std::vector<int>{2});  // not ranked again
  CHECK(rankings == 1);
  CHECK_FALSE(run("b", {}));
  CHECK(tried == std::vector<int>{4, 2, 7});
  CHECK_FALSE(run("b", {4}));
  CHECK(tried.empty());
  CHECK(rankings == 2);
}
