#include "apps/data_checksum.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "apps/progress.h"
#include "data/image_place.h"
#include "data/multilabel.h"
#include "engine/io/checksum.h"
#include "engine/io/config.h"
#include "engine/runtime/parallel.h"
#include "engine/tensor/error.h"

namespace thorax::app {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* kFormat = "thorax file checksums";
constexpr int kVersion = 1;
constexpr std::int64_t kSettled = 2'000'000'000;  // nanoseconds

// Paths need not be UTF-8, and JSON must be.
std::string key_of(const fs::path& file) {
  Checksum sum;
  sum.add(fs::absolute(file).lexically_normal().string());
  return sum.hex();
}

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// [size, inode, time of change, time of change of the inode]; null when it cannot be had.
json state_of(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return nullptr;
  return {status.st_size, status.st_ino, nanoseconds(status.st_mtim), nanoseconds(status.st_ctim)};
}

bool settled(const json& state) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return state.is_array() && std::max(state[2].get<std::int64_t>(), state[3].get<std::int64_t>()) <
                                 nanoseconds(now) - kSettled;
}

std::string read_checksum(const fs::path& file) {
  try {
    return file_checksum(file);
  } catch (const Error&) {
    return "unreadable";
  }
}

}  // namespace

FileChecksums::FileChecksums(const fs::path& remembered) {
  try {
    if (!fs::exists(remembered)) return;
    const json document = load_json(remembered);
    if (document.value("format", "") != kFormat || document.value("version", 0) != kVersion) return;
    for (const auto& [key, entry] : document.at("files").items())
      if (entry.at("state").is_array() && entry.at("content").is_string()) remembered_[key] = entry;
  } catch (const std::exception&) {
    remembered_ = json::object();
  }
}

void FileChecksums::save(const fs::path& path) const {
  json files = json::object();
  for (const auto& [file, content] : content_) {
    const json state = state_of(file);
    const std::string key = key_of(file);
    const auto before = remembered_.find(key);
    const bool known = before != remembered_.end() && before->at("state") == state &&
                       before->at("content") == content;
    if (known || settled(state)) files[key] = {{"state", state}, {"content", content}};
  }
  save_json(path, {{"format", kFormat}, {"version", kVersion}, {"files", files}});
}

void FileChecksums::read(const std::vector<fs::path>& files) {
  std::set<fs::path> unknown;
  for (const fs::path& file : files) {
    if (content_.contains(file.string())) continue;
    const auto before = remembered_.find(key_of(file));
    if (before != remembered_.end() && before->at("state") == state_of(file))
      content_[file.string()] = before->at("content");
    else
      unknown.insert(file);
  }
  const std::vector<fs::path> list(unknown.begin(), unknown.end());
  std::vector<std::string> sums(list.size());
  std::optional<Progress> progress;
  constexpr std::size_t kShown = 200;  // fewer are read at once
  if (list.size() > kShown)
    progress.emplace("checksums", static_cast<std::int64_t>(list.size()), "files");
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  const auto work = [&] {
    for (std::size_t i = next++; i < list.size(); i = next++) {
      sums[i] = read_checksum(list[i]);
      const std::lock_guard lock(mutex);
      if (progress) progress->advance(1);
    }
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < num_threads(); ++t) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  for (std::size_t i = 0; i < list.size(); ++i) {
    content_[list[i].string()] = sums[i];
    const auto before = remembered_.find(key_of(list[i]));
    if (before != remembered_.end() && before->at("content") != sums[i])
      changed_.push_back(list[i].string());
  }
}

const std::string& FileChecksums::of(const fs::path& file) const {
  return content_.at(file.string());
}

std::string content_checksum(const Dataset& dataset, FileChecksums& files) {
  std::vector<fs::path> paths;
  for (const Sample& s : dataset.samples) {
    paths.push_back(image_file(s.image));
    paths.insert(paths.end(), s.masks.begin(), s.masks.end());
  }
  files.read(paths);
  std::vector<std::string> samples;
  for (const Sample& s : dataset.samples) {
    Checksum sum;
    for (const std::string& text : {s.source, s.image.filename().string(), s.patient, s.class_name,
                                    files.of(image_file(s.image))})
      sum.add(text);
    if (dataset.multilabel) sum.add(label_text(s.labels));
    for (const fs::path& mask : s.masks) {
      sum.add(mask.filename().string());
      sum.add(files.of(mask));
    }
    if (!s.organs.empty()) sum.add(to_string(s.organs));
    samples.push_back(sum.hex());
  }
  std::sort(samples.begin(), samples.end());
  Checksum all;
  for (const std::string& sample : samples) all.add(sample);
  return all.hex();
}

}  // namespace thorax::app
