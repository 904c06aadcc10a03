// The real `thorax serve`, and a client that says exactly what it is told to.
#pragma once

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/program.h"

namespace thorax::test {

struct Answer {
  int status = 0;  // 0: the connection ended without one
  std::string head, body;
  nlohmann::json json() const { return nlohmann::json::parse(body); }
  std::string error() const {
    const nlohmann::json value = nlohmann::json::parse(body, nullptr, false);
    return value.is_object() && value.contains("error") ? value["error"].get<std::string>() : "";
  }
};

// A program that serves on a port of its own until it is told to end.
class Served {
 public:
  explicit Served(std::vector<std::string> arguments, const std::string& host = "127.0.0.1") {
    arguments.insert(arguments.begin(), {thorax_program().string(), "serve"});
    arguments.insert(arguments.end(), {"--port", "0"});
    child_ = start_program(std::move(arguments), log());
    for (int i = 0; i < 3000 && port_ == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      const std::string text = said();
      const std::string start = "http://" + host + ":";
      const std::size_t at = text.find(start);
      if (at != std::string::npos && text.find('/', at + start.size()) != std::string::npos)
        port_ = std::stoi(text.substr(at + start.size()));
      if (waitpid(child_, nullptr, WNOHANG) != 0) break;
    }
    INFO(said());
    REQUIRE(port_ > 0);
  }
  ~Served() { end(SIGKILL); }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  int port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/"; }
  std::string said() const { return file_text(log()); }
  pid_t process() const { return child_; }

  // The exit code; -1 after another signal than it expects.
  int end(int signal) {
    if (child_ <= 0) return -1;
    kill(child_, signal);
    int status = 0;
    waitpid(child_, &status, 0);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  int connect() const {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    return socket;
  }
  // Sends `text` as it is; what the server says until it closes.
  Answer raw(const std::string& text) const {
    const int socket = connect();
    send_all(socket, text);
    return receive(socket);
  }
  Answer get(const std::string& path, const std::string& headers = {}) const {
    return raw("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port_) + "\r\n" +
               headers + "\r\n");
  }
  Answer post(const std::string& path, const std::string& body,
              const std::string& headers = {}) const {
    return raw("POST " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }

  static void send_all(int socket, const std::string& text) {
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t sent = ::send(socket, text.data() + done, text.size() - done, MSG_NOSIGNAL);
      if (sent <= 0) return;  // refused before all was sent: the answer is there to be read
      done += static_cast<std::size_t>(sent);
    }
  }
  static Answer receive(int socket) {
    std::string all;
    char buffer[65536];
    pollfd one{socket, POLLIN, 0};
    while (::poll(&one, 1, 60000) > 0) {
      const ssize_t got = ::recv(socket, buffer, sizeof buffer, 0);
      if (got <= 0) break;
      all.append(buffer, static_cast<std::size_t>(got));
    }
    ::close(socket);
    Answer answer;
    const std::size_t end = all.find("\r\n\r\n");
    if (end == std::string::npos) return answer;
    answer.head = all.substr(0, end + 2);
    answer.body = all.substr(end + 4);
    answer.status = std::stoi(answer.head.substr(9, 3));
    return answer;
  }

 private:
  std::string log() const { return folder_ / "log"; }

  TemporaryFolder folder_;
  pid_t child_ = -1;
  int port_ = 0;
};

}  // namespace thorax::test
