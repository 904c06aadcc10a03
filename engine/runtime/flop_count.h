// Floating-point operations of convolutions and matrix products, which are nearly all of a
// network's: counted where they are asked for, by the operations themselves.
#pragma once

namespace thorax {

namespace detail {
inline thread_local double* flop_count = nullptr;
}  // namespace detail

// Counts what operations called on this thread do while it lives, multiply-adds as two; of a
// backward pass the gradients that are computed. Not those of steps replayed as a graph.
class FlopCount {
 public:
  FlopCount() : outer_(detail::flop_count) { detail::flop_count = &count_; }
  ~FlopCount() { detail::flop_count = outer_; }
  FlopCount(const FlopCount&) = delete;
  FlopCount& operator=(const FlopCount&) = delete;
  double count() const { return count_; }

 private:
  double count_ = 0;
  double* outer_;
};

// For operations. Costs one look at a variable.
inline void count_flops(double flops) {
  if (detail::flop_count != nullptr) *detail::flop_count += flops;
}

}  // namespace thorax
