#include "engine/dist/tree_sum.h"

#include <algorithm>
#include <bit>

#include "engine/runtime/parallel.h"

namespace thorax {
namespace {

constexpr std::int64_t kGrain = 1 << 16;

std::int64_t middle(const PieceRange& node) {
  const auto count = static_cast<std::uint64_t>(node.last - node.first);
  return node.first + static_cast<std::int64_t>(std::bit_ceil(count) / 2);
}

void find_subtrees(const PieceRange& node, const PieceRange& part, std::vector<PieceRange>& found) {
  if (node.last <= part.first || part.last <= node.first) return;
  if (part.first <= node.first && node.last <= part.last) {
    found.push_back(node);
    return;
  }
  find_subtrees({node.first, middle(node)}, part, found);
  find_subtrees({middle(node), node.last}, part, found);
}

template <class T>
void add(std::span<T> a, std::span<const T> b) {
  parallel_for(0, static_cast<std::int64_t>(a.size()), kGrain,
               [&](std::int64_t first, std::int64_t last) {
                 for (std::int64_t i = first; i < last; ++i)
                   a[static_cast<std::size_t>(i)] += b[static_cast<std::size_t>(i)];
               });
}

PieceSum sum_of(const PieceRange& node, const std::function<PieceSum(std::int64_t)>& piece) {
  if (node.last - node.first == 1) return piece(node.first);
  PieceSum sum = sum_of({node.first, middle(node)}, piece);
  const PieceSum rest = sum_of({middle(node), node.last}, piece);
  add<float>(sum.single, rest.single);
  add<double>(sum.precise, rest.precise);
  return sum;
}

// A share of a subtree's elements, by whoever computed it.
template <class T>
struct Node {
  PieceRange range;
  std::span<T> values;
};

// Adds the nodes below `node` into the first of them.
template <class T>
std::span<T> add_tree(const PieceRange& node, const std::vector<Node<T>>& nodes) {
  for (const Node<T>& one : nodes)
    if (one.range == node) return one.values;
  const std::span<T> sum = add_tree({node.first, middle(node)}, nodes);
  const std::span<T> rest = add_tree({middle(node), node.last}, nodes);
  add<T>(sum, rest);
  return sum;
}

template <class T>
std::vector<T> sum_over_ranks(Communicator& ranks, std::int64_t pieces,
                              std::vector<std::vector<T>>& own, std::int64_t size) {
  const int count = ranks.size(), self = ranks.rank();
  const auto share = [&](T* values, int rank) {
    const PieceRange part = pieces_of(rank, count, size);
    return std::span(values + part.first, static_cast<std::size_t>(part.last - part.first));
  };
  std::vector<T> result(static_cast<std::size_t>(size));
  const std::span<T> mine = share(result.data(), self);
  std::vector<Communicator::Send> sends;
  std::vector<Communicator::Receive> receives;
  std::vector<Node<T>> nodes;
  std::vector<std::vector<T>> received;
  received.reserve(static_cast<std::size_t>(pieces));
  for (int peer = 0; peer < count; ++peer) {
    const std::vector<PieceRange> ranges = subtrees(pieces_of(peer, count, pieces), pieces);
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      if (peer == self) {
        nodes.push_back({ranges[i], share(own[i].data(), self)});
        continue;
      }
      received.emplace_back(mine.size());
      nodes.push_back({ranges[i], received.back()});
      receives.push_back({peer, std::as_writable_bytes(nodes.back().values)});
    }
    if (peer != self)
      for (std::vector<T>& node : own)
        sends.push_back({peer, std::as_bytes(share(node.data(), peer))});
  }
  ranks.exchange(sends, receives, Communicator::Wait::limited);
  std::ranges::copy(add_tree<T>({0, pieces}, nodes), mine.begin());
  sends.clear();
  receives.clear();
  for (int peer = 0; peer < count; ++peer) {
    if (peer == self) continue;
    sends.push_back({peer, std::as_bytes(mine)});
    receives.push_back({peer, std::as_writable_bytes(share(result.data(), peer))});
  }
  ranks.exchange(sends, receives, Communicator::Wait::limited);
  return result;
}

}  // namespace

PieceRange pieces_of(int rank, int ranks, std::int64_t pieces) {
  return {rank * pieces / ranks, (rank + 1) * pieces / ranks};
}

std::vector<PieceRange> subtrees(const PieceRange& part, std::int64_t pieces) {
  std::vector<PieceRange> found;
  if (part.first < part.last) find_subtrees({0, pieces}, part, found);
  return found;
}

std::vector<PieceSum> own_sums(const Communicator& ranks, std::int64_t pieces,
                               const std::function<PieceSum(std::int64_t)>& piece) {
  std::vector<PieceSum> sums;
  for (const PieceRange& node : subtrees(pieces_of(ranks.rank(), ranks.size(), pieces), pieces))
    sums.push_back(sum_of(node, piece));
  return sums;
}

PieceSum tree_sum(Communicator& ranks, std::int64_t pieces, std::vector<PieceSum> own,
                  const PieceSizes& sizes) {
  if (ranks.size() == 1) return std::move(own.at(0));
  std::vector<std::vector<float>> single;
  std::vector<std::vector<double>> precise;
  for (PieceSum& one : own) {
    single.push_back(std::move(one.single));
    precise.push_back(std::move(one.precise));
  }
  return {sum_over_ranks(ranks, pieces, single, sizes.single),
          sum_over_ranks(ranks, pieces, precise, sizes.precise)};
}

}  // namespace thorax
