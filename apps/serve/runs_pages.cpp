#include "apps/serve/runs_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <mutex>

#include "apps/report/table.h"
#include "apps/run_index.h"
#include "apps/run_pictures.h"
#include "apps/serve/files_below.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"
#include "engine/train/run_folder.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMostPictureBytes = std::uint64_t{64} << 20;

// Whether one of the files that the run is read from lies outside of the folder.
bool leaves(const RunEntry& run, const fs::path& root) {
  const auto outside = [&](const fs::path& file) {
    std::error_code error;
    if (!fs::is_symlink(fs::symlink_status(file, error))) return false;
    const fs::path target = fs::canonical(file, error);
    return !error && !is_inside(target, root);
  };
  return outside(run.folder / "config.json") || outside(run.folder / "provenance.json") ||
         std::any_of(run.parts.begin(), run.parts.end(), [&](const RunPart& part) {
           return outside(part.folder) || outside(part.folder / "metrics.jsonl");
         });
}

// What was found last, for all threads.
class Runs {
 public:
  explicit Runs(const fs::path& root) : root_(fs::canonical(root)) {}
  const fs::path& root() const { return root_; }

  std::shared_ptr<const RunIndex> index() {
    using Clock = std::chrono::steady_clock;
    const std::lock_guard lock(mutex_);
    const auto begin = Clock::now();
    if (index_ && begin < fresh_until_) return index_;
    auto found = std::make_shared<RunIndex>(find_runs(root_));
    std::erase_if(found->runs, [&](const RunEntry& run) {
      if (!leaves(run, root_)) return false;
      found->unreadable.push_back(
          fmt::format("{}: has a symbolic link that leaves {}", run.name, root_.string()));
      return true;
    });
    const auto end = Clock::now();
    fresh_until_ = end + 10 * (end - begin);  // so that looking takes a tenth of a core at most
    return index_ = std::move(found);
  }

 private:
  fs::path root_;
  std::mutex mutex_;
  std::shared_ptr<const RunIndex> index_;
  std::chrono::steady_clock::time_point fresh_until_{};
};

std::string parameter(const HttpRequest& request, const std::string& name) {
  if (request.query.count(name) != 1)
    throw HttpError(400, fmt::format("[serve] {}: wants ?{}=..., once", request.path, name));
  return from_json_text(request.query.find(name)->second);
}

const RunEntry& run_of(const HttpRequest& request, const RunIndex& index) {
  const std::string name = parameter(request, "run");
  const auto found = std::find_if(index.runs.begin(), index.runs.end(),
                                  [&](const RunEntry& run) { return run.name == name; });
  if (found == index.runs.end())
    throw HttpError(404, fmt::format("[serve] {}: there is no run '{}'", request.path, name));
  return *found;
}

HttpReply json_reply(const Json& json) {
  HttpReply reply;
  reply.body = dump_json(json);
  return reply;
}

HttpReply list(const RunIndex& index) {
  return json_reply(
      {{"table", to_json(run_table(index.runs, false))}, {"unreadable", index.unreadable}});
}

Json head_of(const RunEntry& run) {
  return {{"run", run.name},
          {"command", run.command},
          {"state", run.state()},
          {"started", run.started}};
}

HttpReply details(const RunEntry& run) {
  Json json = head_of(run);
  json["config"] = run.config;
  json["parts"] = Json::array();
  for (const RunPart& part : run.parts)
    json["parts"].push_back({{"part", part.name}, {"finished", part.finished}});
  json["pictures"] = Json::array();
  for (const auto& [folder, files] : run_pictures(run)) {
    Json names = Json::array();
    for (const fs::path& file : files)
      if (!fs::is_symlink(file)) names.push_back(fs::relative(file, run.folder).string());
    if (!names.empty()) json["pictures"].push_back({{"folder", folder}, {"files", names}});
  }
  json["report"] = fs::is_regular_file(fs::symlink_status(run.folder / "report.html"));
  return json_reply(json);
}

// {"fold_0": 3}, as the client last saw them.
std::map<std::string, std::size_t> epochs_had(const HttpRequest& request) {
  std::map<std::string, std::size_t> had;
  const auto found = request.query.find("have");
  if (found == request.query.end()) return had;
  try {
    const nlohmann::json json = parse_json(found->second, "have");
    THORAX_CHECK(json.is_object(), "[serve] {}: have= is no object of epochs by part",
                 request.path);
    for (const auto& [part, epochs] : json.items()) {
      THORAX_CHECK(epochs.is_number_unsigned(), "[serve] {}: have= of '{}' is no number of epochs",
                   request.path, part);
      had[part] = epochs.get<std::size_t>();
    }
  } catch (const Error& error) {
    throw HttpError(400, error.what());
  }
  return had;
}

Json numbers(const std::vector<double>& all, std::size_t from) {
  Json json = Json::array();
  for (std::size_t i = from; i < all.size(); ++i)
    json.push_back(std::isfinite(all[i]) ? Json(all[i]) : Json());
  return json;
}

HttpReply metrics(const HttpRequest& request, const RunEntry& run) {
  const std::map<std::string, std::size_t> had = epochs_had(request);
  Json json = head_of(run);
  json["parts"] = Json::array();
  for (const RunPart& part : run.parts) {
    const auto found = had.find(part.name);
    std::size_t from = found == had.end() ? 0 : found->second;
    if (from > part.log.epochs.size()) from = 0;
    Json values = Json::object();
    for (const auto& [metric, all] : part.log.metrics)
      if (metric != "step") values[metric] = numbers(all, from);
    json["parts"].push_back({{"part", part.name},
                             {"finished", part.finished},
                             {"from", from},
                             {"epochs", numbers(part.log.epochs, from)},
                             {"metrics", values}});
  }
  return json_reply(json);
}

HttpReply file_reply(const Runs& runs, const RunEntry& run, const std::string& file,
                     const char* type, const char* policy) {
  const fs::path folder = fs::relative(run.folder, runs.root());
  std::optional<std::string> content = read_below(
      runs.root(), folder == "." ? file : folder.string() + "/" + file, kMostPictureBytes);
  if (!content)
    throw HttpError(404, fmt::format("[serve] {}: the run {} has no such file that can be shown",
                                     file, run.name));
  return {200, type, std::move(*content), policy};
}

HttpReply picture(const HttpRequest& request, const Runs& runs, const RunEntry& run) {
  const std::string file = parameter(request, "file");
  if (!file.ends_with(".png"))
    throw HttpError(404, fmt::format("[serve] {}: is no picture (.png)", file));
  return file_reply(runs, run, file, "image/png", HttpReply().policy.c_str());
}

}  // namespace

std::vector<HttpRoute> run_routes(const fs::path& root) {
  THORAX_CHECK(fs::is_directory(root), "[runs] {}: is no folder", root.string());
  const auto runs = std::make_shared<Runs>(root);
  const auto of_run = [runs](auto handle) {
    return [runs, handle](const HttpRequest& request) {
      const std::shared_ptr<const RunIndex> index = runs->index();
      return handle(request, run_of(request, *index));
    };
  };
  return {{"GET", "/api/runs", [runs](const HttpRequest&) { return list(*runs->index()); }},
          {"GET", "/api/run",
           of_run([](const HttpRequest&, const RunEntry& run) { return details(run); })},
          {"GET", "/api/metrics", of_run(metrics)},
          {"GET", "/picture", of_run([runs](const HttpRequest& request, const RunEntry& run) {
             return picture(request, *runs, run);
           })},
          // Reports have their style and pictures inside.
          {"GET", "/report", of_run([runs](const HttpRequest&, const RunEntry& run) {
             return file_reply(*runs, run, "report.html", "text/html; charset=utf-8",
                               "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
                               "frame-ancestors 'none'; sandbox");
           })}};
}

}  // namespace thorax::app
