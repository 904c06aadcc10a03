// A disk that is full after so many bytes, without needing one: RLIMIT_FSIZE.
#pragma once

#include <signal.h>
#include <sys/resource.h>

namespace thorax::test {

// While it lives, no file of this process can grow beyond `bytes`: write() fails, with EFBIG, half
// way through a larger one.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    previous_handler_ = ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &previous_);
    const rlimit limit{bytes, previous_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &previous_);
    ::signal(SIGXFSZ, previous_handler_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit previous_{};
  void (*previous_handler_)(int) = SIG_DFL;
};

}  // namespace thorax::test
