// Runs something with a given number of threads.
#pragma once

#include "engine/runtime/parallel.h"

namespace thorax::test {

class Threads {
 public:
  explicit Threads(int count) : before_(num_threads()) { set_num_threads(count); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

template <class Function>
auto with_threads(int count, const Function& function) {
  const Threads threads(count);
  return function();
}

}  // namespace thorax::test
