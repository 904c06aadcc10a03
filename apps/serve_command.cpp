// `thorax serve`: the runs below a folder, and networks that look at images, in a browser.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/classifier_options.h"
#include "apps/command.h"
#include "apps/console.h"
#include "apps/intensity.h"
#include "apps/number_checks.h"
#include "apps/report/text.h"
#include "apps/serve/http.h"
#include "apps/serve/image_pages.h"
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
  ClassifierOptions classifier;
  std::vector<std::string> segmenters;
  std::optional<double> threshold, min_area;
  std::string precision = "float32", intensity;
  ComputeOptions compute;
};

Viewers load(const Options& o) {
  Viewers viewers;
  if (o.classifier.files.empty() && o.segmenters.empty()) {
    THORAX_CHECK(!o.threshold && !o.min_area && o.intensity.empty(),
                 "[serve] --threshold, --min-area and --intensity are for networks: give "
                 "--classifier or --segmenter, too");
    return viewers;
  }
  const Device device = apply(o.compute);
  const Compute compute{device, parse_precision(o.precision, device)};
  if (o.classifier.files.empty()) {
    THORAX_CHECK(!o.threshold, "[serve] --threshold is for a classifier: give --classifier, too");
    viewers.segmenter = std::make_unique<Segmenter>(SegmenterOptions{.checkpoints = o.segmenters,
                                                                     .tta = o.classifier.tta,
                                                                     .intensity = o.intensity,
                                                                     .min_area = o.min_area,
                                                                     .compute = compute});
    print_notes(viewers.segmenter->notes());
    return viewers;
  }
  PredictorOptions wanted{.classifier = o.classifier,
                          .segmenters = o.segmenters,
                          .threshold = o.threshold,
                          .compute = compute};
  wanted.classifier.intensity = o.intensity;
  if (o.min_area) wanted.min_area = *o.min_area;
  viewers.predictor = std::make_unique<Predictor>(wanted);
  print_notes(viewers.predictor->notes());
  return viewers;
}

void run(const Options& o) {
  HttpOptions http = o.http;
  http.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(o.timeout * 1000));
  std::vector<HttpRoute> routes = page_routes();
  const auto add_routes = [&](std::vector<HttpRoute> more) {
    for (HttpRoute& route : more) routes.push_back(std::move(route));
  };
  add_routes(run_routes(o.folder));
  const Viewers viewers = load(o);
  const bool looks = viewers.predictor || viewers.segmenter;
  WorkQueue work;
  if (looks) add_routes(image_routes(viewers, work));
  nlohmann::ordered_json info{{"version", THORAX_VERSION}, {"models", nullptr}};
  if (looks) info["models"] = describe(viewers);
  routes.push_back({"GET", "/api/info", [text = dump_json(info)](const HttpRequest&) {
                      HttpReply reply;
                      reply.body = text;
                      return reply;
                    }});
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
      "serve", "Runs side by side in a browser, and a page that looks at images");
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
  add_classifier_options(*c, o.classifier);
  c->get_option("--classifier")->required(false);
  c->add_option("--segmenter", o.segmenters,
                "Checkpoint of a segmenter: of the lungs with --classifier, of any organs without; "
                "given several times: the mean of their probabilities decides")
      ->allow_extra_args(false);
  c->add_option("--min-area", o.min_area,
                "Reject images whose lungs cover fewer pixels of 512 x 512 (default: 50000)")
      ->check(kArea);
  c->add_option("--threshold", o.threshold,
                "Probability from which the verdict is positive (default: the checkpoint's)")
      ->check(kShare);
  add_intensity_override(*c, o.intensity);
  add_precision_option(*c, o.precision);
  add_compute_options(*c, o.compute);
  c->footer(
      "Examples:\n  thorax serve runs\n"
      "  thorax serve runs --classifier runs/kfold --segmenter runs/lungs/last.safetensors\n"
      "  curl --data-binary @image.png http://127.0.0.1:8080/api/predict\n\n"
      "Not for diagnostic use.");
  c->callback([] { run(o); });
}

}  // namespace
THORAX_COMMAND(73, add)
}  // namespace thorax::app
