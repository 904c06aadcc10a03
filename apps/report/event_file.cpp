#include "apps/report/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "apps/report/text.h"
#include "engine/io/atomic_file.h"
#include "engine/io/crc32.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

// Numbers of tensorflow/core/framework/types.proto and summary.proto.
constexpr int kFloat = 1, kString = 7;
constexpr int kTensorData = 2;
constexpr std::size_t kThresholds = 127;

void append_number(std::string& bytes, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i, value >>= 8) bytes.push_back(static_cast<char>(value & 0xff));
}

// So that a checksum of data that holds checksums is sound.
std::uint32_t masked(std::uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

std::uint32_t big_endian(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

ProtoMessage tagged(const std::string& tag) {
  ProtoMessage value;
  value.text(1, clean_text(tag));
  return value;
}

ProtoMessage plugin(const std::string& name, const std::string& content) {
  ProtoMessage data, metadata;
  data.text(1, name);
  if (!content.empty()) data.text(2, content);
  metadata.message(1, data).integer(4, kTensorData);
  return metadata;
}

ProtoMessage shape(std::initializer_list<std::int64_t> sizes) {
  ProtoMessage all;
  for (const std::int64_t size : sizes) {
    ProtoMessage dimension;
    dimension.integer(1, size);
    all.message(2, dimension);
  }
  return all;
}

}  // namespace

EventLog::EventLog(double wall_time) : wall_time_(wall_time) {
  ProtoMessage event;
  event.real64(1, wall_time_).text(3, "brain.Event:2");
  record(event.bytes());
}

void EventLog::record(const std::string& event) {
  std::string length;
  append_number(length, event.size(), 8);
  bytes_ += length;
  append_number(bytes_, masked(crc32c(length)), 4);
  bytes_ += event;
  append_number(bytes_, masked(crc32c(event)), 4);
}

void EventLog::add(std::int64_t step, const ProtoMessage& value) {
  ProtoMessage summary, event;
  summary.message(1, value);
  event.real64(1, wall_time_).integer(2, step).message(5, summary);
  record(event.bytes());
}

void EventLog::scalar(const std::string& tag, std::int64_t step, double value) {
  ProtoMessage message = tagged(tag);
  message.real(2, static_cast<float>(value));
  add(step, message);
}

void EventLog::text(const std::string& tag, std::int64_t step, const std::string& markdown) {
  ProtoMessage message = tagged(tag), tensor;
  tensor.integer(1, kString).message(2, shape({})).text(8, clean_lines(markdown));
  message.message(8, tensor).message(9, plugin("text", ""));
  add(step, message);
}

void EventLog::image(const std::string& tag, std::int64_t step, const std::string& png,
                     const std::string& what) {
  constexpr std::string_view kSignature("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
  THORAX_CHECK(png.size() >= 33 && std::string_view(png).substr(0, 16) == kSignature,
               "[events] {}: is no PNG file", what);
  // Colour types 0, 2, 3, 4, 6 as numbers of channels.
  constexpr std::array<int, 7> kChannels{1, 0, 3, 3, 2, 0, 4};
  const auto type = static_cast<std::size_t>(static_cast<unsigned char>(png[25]));
  THORAX_CHECK(type < kChannels.size() && kChannels[type] > 0,
               "[events] {}: a PNG file of colour type {}, which there is not", what, type);
  ProtoMessage message = tagged(tag), picture;
  picture.integer(1, big_endian(png, 20))
      .integer(2, big_endian(png, 16))
      .integer(3, kChannels[type])
      .text(4, png);
  message.message(4, picture);
  add(step, message);
}

void EventLog::precision_recall(const std::string& tag, std::int64_t step,
                                const std::vector<int>& labels, const std::vector<double>& scores) {
  THORAX_CHECK(labels.size() == scores.size(), "[events] {}: {} labels and {} scores", tag,
               labels.size(), scores.size());
  // Images by label and by the highest threshold that their score reaches.
  std::array<std::array<double, kThresholds>, 2> reached{};
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const double place = std::clamp(scores[i], 0.0, 1.0) * (kThresholds - 1);
    reached[labels[i] != 0][static_cast<std::size_t>(place)] += 1;
  }
  for (auto& counts : reached)
    for (std::size_t t = kThresholds - 1; t-- > 0;) counts[t] += counts[t + 1];
  std::string rows[6];
  const auto put = [](std::string& row, double value) {
    const auto number = static_cast<float>(value);
    std::uint32_t bits = 0;
    std::memcpy(&bits, &number, sizeof bits);
    append_number(row, bits, 4);
  };
  for (std::size_t t = 0; t < kThresholds; ++t) {
    const double tp = reached[1][t], fp = reached[0][t], fn = reached[1][0] - tp,
                 tn = reached[0][0] - fp;
    put(rows[0], tp);
    put(rows[1], fp);
    put(rows[2], tn);
    put(rows[3], fn);
    // Where nothing is called positive there is no precision; the plugin's own writer has 0 there.
    put(rows[4], tp + fp > 0 ? tp / (tp + fp) : 0);
    put(rows[5], tp + fn > 0 ? tp / (tp + fn) : 0);
  }
  ProtoMessage content, tensor, message = tagged(tag);
  content.integer(1, 0).integer(2, kThresholds);
  std::string all;
  for (const std::string& row : rows) all += row;
  tensor.integer(1, kFloat).message(2, shape({6, kThresholds})).text(4, all);
  message.message(8, tensor).message(9, plugin("pr_curves", content.bytes()));
  add(step, message);
}

bool update_event_file(const fs::path& path, const std::string& bytes) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 31;
  std::string before;
  if (fs::exists(path)) before = read_file(path, kMost);
  if (before == bytes) return false;
  if (before.empty() || !bytes.starts_with(before)) {
    remove_leftovers_of(path);
    atomic_write(path, bytes);
    return true;
  }
  int file = -1;
  do {
    file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
  } while (file < 0 && errno == EINTR);
  THORAX_CHECK(file >= 0, "[io] {}: {}", path.string(), std::strerror(errno));
  std::string_view rest = std::string_view(bytes).substr(before.size());
  int error = 0;
  while (!rest.empty() && error == 0) {
    const ssize_t written = ::write(file, rest.data(), rest.size());
    if (written > 0)
      rest.remove_prefix(static_cast<std::size_t>(written));
    else if (written == 0 || errno != EINTR)
      error = written == 0 ? ENOSPC : errno;
  }
  while (error == 0 && ::fsync(file) != 0)
    if (errno != EINTR) error = errno;
  ::close(file);
  THORAX_CHECK(error == 0, "[io] {}: {}", path.string(), std::strerror(error));
  return true;
}

}  // namespace thorax::app
