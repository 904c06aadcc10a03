// The web server by cpp-httplib, which parses requests and writes replies. How much and how long it
// reads, who may ask, and what a refusal says is decided here.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <httplib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <optional>
#include <set>
#include <thread>

#include "apps/serve/http.h"
#include "apps/serve/http/connection.h"

namespace thorax::app {
namespace {

constexpr std::size_t kHeaderBytes = 32 << 10;  // of the request line and all headers
constexpr std::size_t kFormBytes = 64 << 10;    // of what a form holds beside its file
constexpr std::size_t kChunkBytes = 6;          // of a chunk of 1 byte: "1\r\nx\r\n"
constexpr int kThreads = 16;                    // connections that are served at once
constexpr int kWaiting = 64;                    // others that wait for their turn
constexpr int kUploads = 4;                     // bodies that are held at once

// "localhost" of "localhost:8080", "::1" of "[::1]:8080"; nothing for what is no host.
std::optional<std::string> host_part(const std::string& text) {
  std::string host = text, port;
  if (text.starts_with("[")) {
    const std::size_t end = text.find(']');
    if (end == std::string::npos) return std::nullopt;
    host = text.substr(1, end - 1);
    port = text.substr(end + 1);
  } else if (const std::size_t colon = text.find(':'); colon != std::string::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon);
  }
  const bool port_fits = port.empty() || (port.starts_with(":") &&
                                          port.find_first_not_of("0123456789", 1) == port.npos);
  if (host.empty() || !port_fits) return std::nullopt;
  return host;
}

bool is_address(const std::string& host) {
  in6_addr any{};
  return ::inet_pton(AF_INET, host.c_str(), &any) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

bool same_word(const std::string& a, const std::string& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

// Of the connection that a thread is serving; cpp-httplib's handlers are not told.
thread_local Connection* current = nullptr;
thread_local bool overloaded = false;

class Threads final : public httplib::ThreadPool {
 public:
  Threads() : ThreadPool(kThreads) {}
  void enqueue(std::function<void()> serve) override {
    if (waiting_ >= kWaiting) {
      overloaded = true;
      serve();
      overloaded = false;
      return;
    }
    ++waiting_;
    ThreadPool::enqueue([this, serve = std::move(serve)] {
      --waiting_;
      serve();
    });
  }

 private:
  std::atomic<int> waiting_{0};
};

class Server final : public HttpServer, private httplib::Server {
 public:
  Server(const HttpOptions& options, std::vector<HttpRoute> routes)
      : options_(options), routes_(std::move(routes)) {
    new_task_queue = [] { return new Threads; };
    // The library's default lets another process listen at the same port.
    set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      return before(request, response);
    });
    set_expect_100_continue_handler(
        [this](const httplib::Request& request, httplib::Response& response) {
          const std::optional<HttpReply> refusal = refused(request);
          if (!refusal) return 100;
          fill(response, *refusal);
          return refusal->status;
        });
    // Bodies are read only on these paths; before() has refused all others.
    for (const HttpRoute& route : routes_)
      if (route.method == "POST")
        Post(route.path,
             [this, &route](const httplib::Request& request, httplib::Response& response,
                            const httplib::ContentReader& read) {
               post(route, request, response, read);
             });
    set_error_handler([](const httplib::Request& request, httplib::Response& response) {
      explain(request, response);
    });
    set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, const std::exception_ptr& thrown) {
          try {
            std::rethrow_exception(thrown);
          } catch (const HttpError& error) {
            fill(response, error_reply(error.status(), error.what()));
          } catch (const std::bad_alloc&) {
            fill(response, error_reply(503, "[serve] there is not enough memory for this request"));
          } catch (const std::exception& error) {
            fill(response, error_reply(500, error.what()));
          }
        });
    set_post_routing_handler(
        [](const httplib::Request&, httplib::Response& response) { protect(response); });
    port_ = options.port == 0 ? bind_to_any_port(options.host)
                              : (bind_to_port(options.host, options.port) ? options.port : -1);
    THORAX_CHECK(port_ > 0,
                 "[serve] {}: cannot be listened at: the host is no address of this machine, "
                 "another program has the port, or it is one below 1024, which need rights; give "
                 "another --host or --port (--port 0 takes any free one)",
                 http_url(options, options.port));
    // The library's own queue of 5 lets a browser's connections wait a second for another try.
    ::listen(svr_sock_, kWaiting);
    listener_ = std::thread([this] { listen_after_bind(); });
    // stop() has no effect before.
    while (!is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  ~Server() override {
    stopping_ = true;
    stop();
    listener_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const override { return port_; }

 private:
  bool process_and_close_socket(socket_t socket) override {
    Connection connection(socket, options_.timeout, stopping_, kHeaderBytes);
    if (overloaded) {
      // Without reading the request, in the thread that accepts: nothing here may wait.
      static constexpr const char* kBusy =
          "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
          "Content-Length: 0\r\n\r\n";
      std::array<char, 4096> request;  // closing with it unread could take the reply back
      static_cast<void>(::recv(socket, request.data(), request.size(), MSG_DONTWAIT));
      static_cast<void>(::send(socket, kBusy, std::strlen(kBusy), MSG_NOSIGNAL | MSG_DONTWAIT));
      return ::close(socket) == 0;
    }
    current = &connection;
    // One request a connection: an idle one would hold a thread.
    bool closed = false;
    const bool done = process_request(connection, true, closed, [&](httplib::Request& request) {
      // Parts of a reply and compressed ones cost more than they save on the way.
      for (const char* header : {"Range", "Accept-Encoding"}) request.headers.erase(header);
      request.ranges.clear();
      const HttpRoute* route = route_of(request);
      const std::size_t body = route != nullptr ? route->max_body : 0;
      const bool chunked = request.has_header("Transfer-Encoding");
      connection.expect(body == 0 ? 0 : (chunked ? body * kChunkBytes : body) + kFormBytes);
    });
    current = nullptr;
    connection.finish();
    ::close(socket);
    return done;
  }

  const HttpRoute* route_of(const httplib::Request& request) const {
    const std::string method = request.method == "HEAD" ? "GET" : request.method;
    for (const HttpRoute& route : routes_)
      if (route.path == request.path && route.method == method) return &route;
    return nullptr;
  }

  // Everything that can be said before the body is read.
  std::optional<HttpReply> refused(const httplib::Request& request) const {
    if (request.get_header_value_count("Host") != 1)
      return error_reply(400, "[serve] a request has one Host header");
    const std::string host_header = request.get_header_value("Host");
    const std::optional<std::string> host = host_part(host_header);
    if (!host ||
        !(is_address(*host) || same_word(*host, "localhost") || same_word(*host, options_.host)))
      return error_reply(
          403, fmt::format("[serve] Host {}: this server answers to its addresses, to localhost "
                           "and to what --host names, so that no other name can be made to lead "
                           "here; open {}",
                           host_header, http_url(options_, port_)));
    if (const std::string origin = request.get_header_value("Origin");
        !origin.empty() && !same_word(origin, "http://" + host_header))
      return error_reply(
          403, fmt::format("[serve] Origin {}: pages of other sites have no access", origin));
    const HttpRoute* route = route_of(request);
    if (route == nullptr) {
      for (const HttpRoute& other : routes_)
        if (other.path == request.path)
          return error_reply(405, fmt::format("[serve] {} {}: the method is {}", request.method,
                                              request.path, other.method));
      return error_reply(404, fmt::format("[serve] {}: there is no such page", request.path));
    }
    if (route->method != "POST") return std::nullopt;
    if (request.has_header("Content-Encoding"))
      return error_reply(415, "[serve] Content-Encoding: send the file as it is, not compressed");
    const std::size_t lengths = request.get_header_value_count("Content-Length");
    if (request.has_header("Transfer-Encoding")) {
      if (lengths == 0 && same_word(request.get_header_value("Transfer-Encoding"), "chunked"))
        return std::nullopt;
      return error_reply(
          400, "[serve] Transfer-Encoding: chunked is known, by itself and without Content-Length");
    }
    if (lengths != 1)
      return error_reply(411, "[serve] a body has one Content-Length, or is sent in chunks");
    const std::string text = request.get_header_value("Content-Length");
    std::uint64_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (end != text.data() + text.size() || error == std::errc::invalid_argument)
      return error_reply(400, fmt::format("[serve] Content-Length {}: is no number", text));
    const bool form = request.is_multipart_form_data();
    if (error != std::errc() || length > route->max_body + (form ? kFormBytes : 0))
      return error_reply(413, too_large(*route));
    return std::nullopt;
  }

  static std::string too_large(const HttpRoute& route) {
    return fmt::format("[serve] {}: the body is larger than {} MiB, which is the most", route.path,
                       route.max_body >> 20);
  }

  HandlerResponse before(const httplib::Request& request, httplib::Response& response) {
    if (const std::optional<HttpReply> refusal = refused(request)) {
      fill(response, *refusal);
      return HandlerResponse::Handled;
    }
    const HttpRoute* route = route_of(request);
    if (route->method == "POST") return HandlerResponse::Unhandled;
    fill(response,
         route->handle({request.path, {request.params.begin(), request.params.end()}, {}, {}}));
    return HandlerResponse::Handled;
  }

  void post(const HttpRoute& route, const httplib::Request& request, httplib::Response& response,
            const httplib::ContentReader& read) {
    struct Slot {
      explicit Slot(std::atomic<int>& held) : count(held), number(++held) {}
      ~Slot() { --count; }
      std::atomic<int>& count;
      int number;
    };
    const Slot slot(uploads_);
    if (slot.number > kUploads)
      throw HttpError(503, "[serve] other images are being looked at; try again in a moment");
    HttpRequest whole{request.path, {request.params.begin(), request.params.end()}, {}, {}};
    bool too_long = false;
    const auto take = [&](const char* bytes, std::size_t size) {
      too_long = whole.body.size() + size > route.max_body;
      if (!too_long) whole.body.append(bytes, size);
      return !too_long;
    };
    int files = 0, parts = 0;
    bool in_file = false, complete = false;
    if (request.is_multipart_form_data())
      complete = read(
          [&](const httplib::MultipartFormData& part) {
            in_file = !part.filename.empty();
            if (in_file) whole.file_name = part.filename;
            files += in_file;
            return ++parts <= 16 && files <= 1;
          },
          [&](const char* bytes, std::size_t size) { return !in_file || take(bytes, size); });
    else
      complete = read(take);
    if (too_long || (current->too_long() && !complete)) throw HttpError(413, too_large(route));
    if (files > 1) throw HttpError(400, "[serve] the form has several files; send one at a time");
    if (!complete) return;  // explain() says why
    if (request.is_multipart_form_data() && files == 0)
      throw HttpError(400, "[serve] the form has no file; send one with its name");
    fill(response, route.handle(whole));
  }

  static void fill(httplib::Response& response, const HttpReply& reply) {
    response.status = reply.status;
    response.set_content(reply.body, reply.type);
    response.set_header("Content-Security-Policy", reply.policy);
    response.set_header("Accept-Ranges", "none");
    if (reply.status == 503) response.set_header("Retry-After", "1");
  }

  // Of what the library refuses by itself, without a word.
  static void explain(const httplib::Request& request, httplib::Response& response) {
    if (!response.body.empty()) return;
    std::string why = "the request is malformed";
    if (current != nullptr && current->late()) {
      response.status = 408;
      why = "the request took too long to arrive (--timeout)";
    } else if (current != nullptr && current->too_long() && !current->in_body()) {
      response.status = 431;
      why = fmt::format("the headers are larger than {} KiB", kHeaderBytes >> 10);
    } else if (response.status == 414) {
      why = fmt::format("the address is longer than {} bytes", CPPHTTPLIB_REQUEST_URI_MAX_LENGTH);
    } else if (request.is_multipart_form_data()) {
      why = "the form is malformed or incomplete";
    } else if (current != nullptr && current->in_body()) {
      why = "the body is incomplete";
    }
    fill(response, error_reply(response.status, "[serve] " + why));
  }

  static void protect(httplib::Response& response) {
    if (!response.has_header("Content-Security-Policy"))
      response.set_header("Content-Security-Policy", HttpReply().policy);
    response.set_header("X-Content-Type-Options", "nosniff");
    response.set_header("Cross-Origin-Resource-Policy", "same-origin");
    response.set_header("Cross-Origin-Opener-Policy", "same-origin");
    response.set_header("Referrer-Policy", "no-referrer");
    response.set_header("Cache-Control", "no-store");
  }

  HttpOptions options_;
  std::vector<HttpRoute> routes_;
  int port_ = -1;
  std::atomic<bool> stopping_{false};
  std::atomic<int> uploads_{0};
  std::thread listener_;
};

}  // namespace

extern "C" std::unique_ptr<HttpServer> thorax_start_http_server(const HttpOptions& options,
                                                                std::vector<HttpRoute> routes) {
  return std::make_unique<Server>(options, std::move(routes));
}

}  // namespace thorax::app
