// TensorBoard's event files: what a training went through, for
// https://www.tensorflow.org/tensorboard.
//
// A file is a sequence of records, each its length, a checksum of that, an Event message, a
// checksum of it (CRC-32C, masked; tensorflow/core/lib/io/record_writer.h, core/util/event.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/protobuf.h"

namespace thorax::app {

class EventLog {
 public:
  // `wall_time`: seconds since 1970, given to every event.
  explicit EventLog(double wall_time);

  void scalar(const std::string& tag, std::int64_t step, double value);
  // Markdown.
  void text(const std::string& tag, std::int64_t step, const std::string& markdown);
  // A PNG file's bytes. Throws Error "[events] ..." when they are none.
  void image(const std::string& tag, std::int64_t step, const std::string& png,
             const std::string& what);
  // Precision and recall of score >= threshold at 127 thresholds in 0..1, as the plugin
  // "pr_curves" takes them. labels: 0 or 1; one score in 0..1 each.
  void precision_recall(const std::string& tag, std::int64_t step, const std::vector<int>& labels,
                        const std::vector<double>& scores);

  const std::string& bytes() const { return bytes_; }

 private:
  void add(std::int64_t step, const ProtoMessage& value);
  void record(const std::string& event);

  double wall_time_;
  std::string bytes_;
};

// Makes `bytes` the file's content: appends where the file begins with what it holds, so that a
// TensorBoard that is reading goes on; else the file is replaced as a whole. True when something
// was written.
bool update_event_file(const std::filesystem::path& path, const std::string& bytes);

}  // namespace thorax::app
