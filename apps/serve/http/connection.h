// A connection that ends: cpp-httplib's own waits for every next byte anew, and counts none.
#pragma once

#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace thorax::app {

class Connection final : public httplib::Stream {
 public:
  // `stopping` ends it, too. At most `most` bytes are taken, until expect() says otherwise.
  Connection(int socket, std::chrono::milliseconds timeout, const std::atomic<bool>& stopping,
             std::size_t most)
      : socket_(socket),
        timeout_(timeout),
        stopping_(stopping),
        left_(most),
        read_until_(Clock::now() + timeout) {}

  // The headers have been read; so many bytes may follow.
  void expect(std::size_t bytes) {
    in_body_ = true;
    left_ = bytes;
    // What is in the buffer already is part of them.
    left_ -= std::min(left_, filled_ - taken_);
  }
  bool in_body() const { return in_body_; }
  // Why read() gave up.
  bool late() const { return late_; }
  bool too_long() const { return too_long_; }

  bool is_readable() const override { return taken_ < filled_; }
  bool is_writable() const override { return true; }

  ssize_t read(char* bytes, std::size_t size) override {
    if (taken_ == filled_) {
      if (left_ == 0) {
        too_long_ = true;
        return -1;
      }
      if (!wait(POLLIN, read_until_)) return -1;
      const ssize_t got = ::recv(socket_, buffer_.data(), std::min(buffer_.size(), left_), 0);
      if (got <= 0) return got;
      taken_ = 0;
      filled_ = static_cast<std::size_t>(got);
      left_ -= filled_;
    }
    const std::size_t count = std::min(size, filled_ - taken_);
    std::memcpy(bytes, buffer_.data() + taken_, count);
    taken_ += count;
    return static_cast<ssize_t>(count);
  }

  ssize_t write(const char* bytes, std::size_t size) override {
    // The time for the reply begins with its first byte: a handler may have worked before.
    if (write_until_ == Clock::time_point()) write_until_ = Clock::now() + timeout_;
    while (wait(POLLOUT, write_until_)) {
      const ssize_t sent = ::send(socket_, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent >= 0 || (errno != EAGAIN && errno != EINTR)) return sent;
    }
    return -1;
  }

  // To be called last. A socket that is closed while bytes lie unread resets the connection, and
  // the client may lose the reply: takes what still comes, for a moment.
  void finish() {
    ::shutdown(socket_, SHUT_WR);
    const auto until = std::min(read_until_, Clock::now() + std::chrono::milliseconds(500));
    std::size_t most = std::size_t{4} << 20;
    while (most > 0 && wait(POLLIN, until)) {
      const ssize_t got = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
      if (got <= 0) break;
      most -= std::min(most, static_cast<std::size_t>(got));
    }
  }

  void get_remote_ip_and_port(std::string& ip, int& port) const override { nowhere(ip, port); }
  void get_local_ip_and_port(std::string& ip, int& port) const override { nowhere(ip, port); }
  socket_t socket() const override {
    return 0;  // only compared with FD_SETSIZE, a limit of select(), which is not used here
  }

 private:
  using Clock = std::chrono::steady_clock;

  static void nowhere(std::string& ip, int& port) {
    ip.clear();
    port = 0;
  }
  bool wait(short events, Clock::time_point until) {
    while (!stopping_) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
      if (left <= 0) {
        late_ = true;
        return false;
      }
      pollfd one{socket_, events, 0};
      const int ready = ::poll(&one, 1, static_cast<int>(std::min<long long>(left, 100)));
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
    return false;
  }

  int socket_;
  std::chrono::milliseconds timeout_;
  const std::atomic<bool>& stopping_;
  std::size_t left_;
  Clock::time_point read_until_, write_until_{};
  bool in_body_ = false, late_ = false, too_long_ = false;
  std::array<char, 16384> buffer_;
  std::size_t taken_ = 0, filled_ = 0;
};

}  // namespace thorax::app
