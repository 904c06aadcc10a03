// The permutations that tests and benchmarks run.
#pragma once

#include <vector>

#include "kernels/permute/permute.h"

namespace thorax::permute_cases {

inline std::vector<PermuteProblem> all() {
  return {
      {.shape = {5}, .axes = {0}},
      {.shape = {1, 1}, .axes = {1, 0}},
      {.shape = {70, 37}, .axes = {1, 0}},                  // several tiles, odd
      {.shape = {3, 17, 40}, .axes = {0, 2, 1}},            // matrices of a batch
      {.shape = {2, 9, 7, 5}, .axes = {0, 3, 1, 2}},        // NHWC to NCHW
      {.shape = {2, 5, 9, 7}, .axes = {0, 2, 3, 1}},        // and back
      {.shape = {4, 6, 5}, .axes = {1, 0, 2}},              // the last axis stays
      {.shape = {2, 3, 4, 5, 6}, .axes = {4, 2, 0, 3, 1}},  // everything moves
      {.shape = {4, 1, 6}, .axes = {2, 1, 0}},              // an axis of one
      {.shape = {0, 4, 3}, .axes = {2, 0, 1}},              // empty
  };
}

}  // namespace thorax::permute_cases
