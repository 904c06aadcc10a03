// Work of many threads that one does: networks compute in the thread that made them, one image at a
// time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>

namespace thorax::app {

class WorkQueue {
 public:
  // Called by any thread: waits until `work` is done and throws what it throws; std::future_error
  // when the queue ends before its turn.
  void run(std::function<void()> work) {
    std::packaged_task<void()> task(std::move(work));
    std::future<void> done = task.get_future();
    {
      const std::lock_guard lock(mutex_);
      if (!ended_) waiting_.push_back(std::move(task));
    }
    task = {};  // of an ended queue: breaks the promise
    filled_.notify_one();
    done.get();
  }

  // Called by the thread that does the work, until `stop` says so, which is asked ten times a
  // second.
  void serve(const std::function<bool()>& stop) {
    std::unique_lock lock(mutex_);
    while (!stop()) {
      if (!filled_.wait_for(lock, std::chrono::milliseconds(100),
                            [this] { return !waiting_.empty(); }))
        continue;
      std::packaged_task<void()> task = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
    ended_ = true;
    waiting_.clear();
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<std::packaged_task<void()>> waiting_;
  bool ended_ = false;
};

}  // namespace thorax::app
