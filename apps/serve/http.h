// The web server as the rest of the program sees it. The one that there is (http/) is a module of
// its own, loaded when it is asked for: its library begins by setting up OpenSSL, which no other
// command should wait for.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor/error.h"

namespace thorax::app {

struct HttpRequest {
  std::string path;                               // percent-decoded, as names and values of
  std::multimap<std::string, std::string> query;  // the part behind '?'
  std::string body, file_name;  // of a POST; of a form the one file in it and its name
};

struct HttpReply {
  int status = 200;
  std::string type = "application/json; charset=utf-8";
  std::string body;
  std::string policy = "default-src 'none'; frame-ancestors 'none'";  // of its content
};

// A request that cannot be answered, with its status (4xx or 5xx). Any other Error is a 500.
class HttpError : public Error {
 public:
  HttpError(int status, const std::string& text) : Error(text), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};
// {"error": TEXT}
HttpReply error_reply(int status, std::string_view text);

struct HttpRoute {
  std::string method;                                   // GET (which answers HEAD, too) or POST
  std::string path;                                     // the whole of it
  std::function<HttpReply(const HttpRequest&)> handle;  // called by several threads at once
  std::size_t max_body = 0;                             // bytes of a POST, of a form its file
};

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 0;                              // 0: any that is free
  std::chrono::milliseconds timeout{30000};  // for a request to arrive, and for its reply to leave
};

// Listens until it is destroyed, which takes as long as the handlers that are at work.
class HttpServer {
 public:
  virtual ~HttpServer() = default;
  virtual int port() const = 0;
};

// Refuses, each with the fitting status and a JSON object whose "error" says why: paths that are no
// route, methods that the path does not have, a Host that is neither an address nor localhost nor
// `host` (DNS rebinding), an Origin of another site, compressed bodies, bodies over the limit,
// forms without exactly one file; what takes longer than the timeout; more uploads or connections
// at once than a few. Every reply forbids other sites to read it and browsers to keep it. Throws
// Error "[serve] ..." when this build has no server, its library is not installed, or the address
// cannot be listened at.
std::unique_ptr<HttpServer> start_http_server(const HttpOptions& options,
                                              std::vector<HttpRoute> routes);

// Whether browsers and clients of other machines cannot reach it.
bool is_loopback(std::string_view host);
// "http://127.0.0.1:8080/"
std::string http_url(const HttpOptions& options, int port);

// The name and type of the function that the module exports.
inline constexpr const char* kHttpModuleEntry = "thorax_start_http_server";
using HttpModuleEntry = std::unique_ptr<HttpServer> (*)(const HttpOptions&, std::vector<HttpRoute>);

}  // namespace thorax::app
