#include "apps/serve/http.h"

#include <nlohmann/json.hpp>

#include "engine/io/json_text.h"

namespace thorax::app {

HttpReply error_reply(int status, std::string_view text) {
  HttpReply reply;
  reply.status = status;
  reply.body = dump_json(nlohmann::json{{"error", text}}) + "\n";
  return reply;
}

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::string http_url(const HttpOptions& options, int port) {
  const bool v6 = options.host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}/", v6 ? "[" + options.host + "]" : options.host, port);
}

}  // namespace thorax::app
