#include "engine/dist/tree_sum.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/engine/dist/thread_ranks.h"

using namespace thorax;

namespace {

// Of piece i, with rounding errors that every order of additions shows.
float single(std::int64_t i, std::size_t k) {
  return std::ldexp(std::sin(static_cast<float>(i * 97 + static_cast<std::int64_t>(k))),
                    static_cast<int>(i * 5 % 17));
}

PieceSum piece(std::int64_t i) {
  PieceSum sum;
  for (std::size_t k = 0; k < 23; ++k) sum.single.push_back(single(i, k));
  for (std::size_t k = 0; k < 3; ++k) sum.precise.push_back(std::cos(static_cast<double>(i) * 1e3));
  return sum;
}

}  // namespace

TEST_CASE("pieces are shared out in order, as evenly as that goes") {
  for (const int ranks : {1, 2, 3, 5, 8})
    for (const std::int64_t pieces : {1, 2, 3, 7, 8, 64}) {
      std::int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const PieceRange part = pieces_of(rank, ranks, pieces);
        CHECK(part.first == next);
        CHECK(part.last - part.first >= pieces / ranks);
        CHECK(part.last - part.first <= pieces / ranks + 1);
        next = part.last;
      }
      CHECK(next == pieces);
    }
}

TEST_CASE("the tree's largest nodes within a part") {
  using Ranges = std::vector<PieceRange>;
  CHECK(subtrees({0, 8}, 8) == Ranges{{0, 8}});
  CHECK(subtrees({0, 4}, 8) == Ranges{{0, 4}});
  CHECK(subtrees({2, 5}, 8) == Ranges{{2, 4}, {4, 5}});
  CHECK(subtrees({3, 7}, 7) == Ranges{{3, 4}, {4, 7}});  // 7 = 4 + (2 + 1)
  CHECK(subtrees({2, 2}, 4).empty());
}

TEST_CASE("a tree's sum has the same bits on any number of ranks, and is the tree's") {
  // ((0 + 1) + (2 + 3)) + 4, by hand.
  std::vector<float> five(23);
  for (std::size_t k = 0; k < 23; ++k) {
    const float low = single(0, k) + single(1, k), high = single(2, k) + single(3, k);
    five[k] = (low + high) + single(4, k);
  }
  for (const std::int64_t pieces : {1, 2, 3, 5, 8, 13}) {
    PieceSum expected;
    for (const int count : {1, 2, 3, 4, 5, 8, 13}) {
      CAPTURE(pieces);
      CAPTURE(count);
      test::ThreadRanks(count).run([&](Communicator& ranks) {
        std::vector<std::int64_t> called;
        std::vector<PieceSum> own = own_sums(ranks, pieces, [&](std::int64_t i) {
          called.push_back(i);
          return piece(i);
        });
        const PieceRange part = pieces_of(ranks.rank(), count, pieces);
        THORAX_CHECK(static_cast<std::int64_t>(called.size()) == part.last - part.first,
                     "other pieces were asked for");
        const PieceSum sum = tree_sum(ranks, pieces, std::move(own), {.single = 23, .precise = 3});
        if (count == 1) expected = sum;
        THORAX_CHECK(sum.single == expected.single && sum.precise == expected.precise,
                     "{} pieces on {} ranks: other bits on rank {}", pieces, count, ranks.rank());
        THORAX_CHECK(pieces != 5 || sum.single == five, "not the tree's order");
      });
    }
  }
}

TEST_CASE("documents: everybody's, the first's, and numbers that are not finite") {
  test::ThreadRanks(3).run([](Communicator& ranks) {
    const double value = ranks.rank() == 1 ? std::numeric_limits<double>::infinity() : 0.1;
    const auto all = gather(ranks, {{"rank", ranks.rank()}, {"value", value}});
    for (int rank = 0; rank < 3; ++rank)
      THORAX_CHECK(all.at(static_cast<std::size_t>(rank)).at("rank") == rank, "out of order");
    THORAX_CHECK(std::isinf(all[1].at("value").get<double>()), "not infinite");
    THORAX_CHECK(all[2].at("value").get<double>() == 0.1, "not exact");
    THORAX_CHECK(from_first(ranks, {{"rank", ranks.rank()}}).at("rank") == 0, "not the first's");
  });
}

TEST_CASE("an error of some ranks is thrown by all, with the name of the first that has one") {
  test::ThreadRanks(4).run([](Communicator& ranks) {
    fail_together(ranks, "");
    std::string text;
    try {
      fail_together(ranks, ranks.rank() >= 2 ? "[io] gone" : "");
    } catch (const RankError& error) {
      text = error.what();
    }
    THORAX_CHECK(text == "rank 2: [io] gone", "'{}'", text);
  });
  CHECK_THROWS_WITH_AS(fail_together(*one_process(), "[io] gone"), "[io] gone", Error);
}
