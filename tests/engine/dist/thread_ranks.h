// Ranks that are threads of one process.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/dist/communicator.h"

namespace thorax::test {

class ThreadRanks {
 public:
  explicit ThreadRanks(int size) : size_(size) {}

  // Runs `body` on every rank and rethrows the first exception.
  void run(const std::function<void(Communicator&)>& body) {
    std::vector<std::thread> threads;
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(size_));
    for (int rank = 0; rank < size_; ++rank)
      threads.emplace_back([&, rank] {
        Rank self(*this, rank);
        try {
          body(self);
        } catch (...) {
          errors[static_cast<std::size_t>(rank)] = std::current_exception();
        }
      });
    for (std::thread& thread : threads) thread.join();
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
  }

 private:
  using Bytes = std::vector<std::byte>;
  class Rank : public Communicator {
   public:
    Rank(ThreadRanks& all, int rank) : all_(all), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return all_.size_; }
    std::string place() const override { return "rank " + std::to_string(rank_); }
    std::string library() const override { return "threads"; }
    int local_size() const override { return all_.size_; }
    int local_rank() const override { return rank_; }
    void exchange(std::span<const Send> sends, std::span<const Receive> receives, Wait) override {
      for (const Send& message : sends)
        all_.put(rank_, message.peer, Bytes(message.data.begin(), message.data.end()));
      for (const Receive& message : receives) {
        const Bytes data = all_.take(message.peer, rank_);
        THORAX_CHECK(data.size() == message.data.size(), "[dist] {} bytes arrived, not {}",
                     data.size(), message.data.size());
        std::copy(data.begin(), data.end(), message.data.begin());
      }
    }
    void broadcast(std::span<std::byte> data, Wait wait) override {
      std::vector<Send> sends;
      std::vector<Receive> receives;
      if (rank_ == 0)
        for (int peer = 1; peer < all_.size_; ++peer) sends.push_back({peer, data});
      else
        receives.push_back({0, data});
      exchange(sends, receives, wait);
    }
    void abort(int code) override { std::_Exit(code); }
    void finish() override {}

   private:
    ThreadRanks& all_;
    int rank_;
  };

  void put(int from, int to, Bytes data) {
    const std::lock_guard lock(mutex_);
    mail_[{from, to}].push_back(std::move(data));
    arrived_.notify_all();
  }
  Bytes take(int from, int to) {
    std::unique_lock lock(mutex_);
    auto& box = mail_[{from, to}];
    arrived_.wait(lock, [&] { return !box.empty(); });
    Bytes data = std::move(box.front());
    box.pop_front();
    return data;
  }

  int size_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::pair<int, int>, std::deque<Bytes>> mail_;
};

}  // namespace thorax::test
