// `thorax serve`: the runs below a folder, and networks that look at images, in a browser.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/number_checks.h"
#include "apps/report/text.h"
#include "apps/serve/http.h"
#include "apps/serve/pages.h"
#include "apps/serve/runs_pages.h"
#include "apps/serve/work_queue.h"
#include "engine/io/json_text.h"
#include "engine/train/stop_signal.h"

namespace thorax::app {
namespace {

struct Options {
  std::string folder;
  HttpOptions http{.port = 8080};
  double timeout = 30;
};

void run(const Options& o) {
  HttpOptions http = o.http;
  http.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(o.timeout * 1000));
  std::vector<HttpRoute> routes = page_routes();
  for (HttpRoute& route : run_routes(o.folder)) routes.push_back(std::move(route));
  routes.push_back(
      {"GET", "/api/info", [](const HttpRequest&) {
         HttpReply reply;
         reply.body = dump_json(nlohmann::json{{"version", THORAX_VERSION}, {"models", nullptr}});
         return reply;
       }});
  WorkQueue work;
  const StopSignal stop;
  const std::unique_ptr<HttpServer> server = start_http_server(http, std::move(routes));
  if (!is_loopback(http.host))
    fmt::print(stderr,
               "[serve] warning: whoever reaches this address sees these runs and may use these "
               "networks: there is no password and no encryption; --host 127.0.0.1 keeps it to "
               "this machine\n");
  fmt::print("{}  (the runs below {}; Ctrl-C ends)\n", http_url(http, server->port()),
             visible(o.folder));
  std::fflush(stdout);
  work.serve(stop_requested);
}

void add(CLI::App& root) {
  static Options o;
  CLI::App* c = root.add_subcommand(
      "serve", "The runs below a folder in a browser: curves, pictures, differences");
  c->add_option("folder", o.folder, "Where to look for runs")->required();
  c->add_option("--host", o.http.host, "Address to listen at; 0.0.0.0 is every one of the machine")
      ->capture_default_str();
  c->add_option("--port", o.http.port, "Port to listen at; 0: any that is free")
      ->capture_default_str()
      ->check(in_range(0, 65535));
  c->add_option("--timeout", o.timeout,
                "Seconds in which a request must have arrived, and its reply have left")
      ->capture_default_str()
      ->check(in_range(0.1, 3600.0));
  c->footer("Example:\n  thorax serve runs");
  c->callback([] { run(o); });
}

}  // namespace
THORAX_COMMAND(73, add)
}  // namespace thorax::app
