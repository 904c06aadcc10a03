// Sums of pieces whose bits do not depend on who computed which piece.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/dist/communicator.h"

namespace thorax {

// Pieces first, ..., last - 1.
struct PieceRange {
  std::int64_t first = 0, last = 0;
  bool operator==(const PieceRange&) const = default;
};
// The pieces of a rank: consecutive ones, as many for each as that goes.
PieceRange pieces_of(int rank, int ranks, std::int64_t pieces);

// The tree over `pieces` pieces: a node of n > 1 pieces is the sum of its first p and of the rest,
// p the largest power of two below n. The largest nodes that hold nothing but pieces of `part`, in
// order.
std::vector<PieceRange> subtrees(const PieceRange& part, std::int64_t pieces);

// What is summed of a piece: element by element, each in its own precision.
struct PieceSum {
  std::vector<float> single;
  std::vector<double> precise;
};

// The sums of this rank's subtrees; piece(i) is called for its pieces in order, and is given back
// after the next one, so that about log2(pieces) of them are held at a time.
std::vector<PieceSum> own_sums(const Communicator& ranks, std::int64_t pieces,
                               const std::function<PieceSum(std::int64_t)>& piece);

// The sum over all pieces, on every rank, with the bits of the tree: each rank is sent a share of
// the elements of every subtree, adds them in the order of the tree and sends the result to all
// (reduce-scatter and all-gather). `sizes` has the number of elements, for ranks without a piece.
struct PieceSizes {
  std::int64_t single = 0, precise = 0;
};
PieceSum tree_sum(Communicator& ranks, std::int64_t pieces, std::vector<PieceSum> own,
                  const PieceSizes& sizes);

}  // namespace thorax
