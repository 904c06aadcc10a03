#include "engine/dist/communicator.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace thorax {
namespace {

using nlohmann::json;
using Bytes = std::vector<std::uint8_t>;

class OneProcess : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string place() const override { return "rank 0 of 1"; }
  std::string library() const override { return "one process"; }
  int local_size() const override { return 1; }
  int local_rank() const override { return 0; }
  void exchange(std::span<const Send> sends, std::span<const Receive> receives,
                Wait /*wait*/) override {
    THORAX_CHECK(sends.empty() && receives.empty(), "[dist] one process has no other rank");
  }
  void broadcast(std::span<std::byte> /*data*/, Wait /*wait*/) override {}
  void abort(int exit_code) override { std::_Exit(exit_code); }
  void finish() override {}
};

std::span<std::byte> bytes_of(Bytes& data) {
  return std::as_writable_bytes(std::span(data));
}

}  // namespace

std::unique_ptr<Communicator> one_process() {
  return std::make_unique<OneProcess>();
}

double rank_timeout() {
  const char* const text = std::getenv("THORAX_RANK_TIMEOUT");
  if (text == nullptr) return 1800;
  double seconds = 0;
  const std::string_view value(text);
  const auto [rest, error] = std::from_chars(value.begin(), value.end(), seconds);
  THORAX_CHECK(error == std::errc() && rest == value.end() && seconds > 0,
               "[dist] THORAX_RANK_TIMEOUT is '{}'; it must be a number of seconds above 0", value);
  return seconds;
}

std::vector<json> gather(Communicator& ranks, const json& own, Communicator::Wait wait) {
  const auto count = static_cast<std::size_t>(ranks.size());
  const auto self = static_cast<std::size_t>(ranks.rank());
  std::vector<Bytes> all(count);
  all[self] = json::to_cbor(own);
  // How much everybody has, then what.
  std::vector<std::uint64_t> sizes(count);
  sizes[self] = all[self].size();
  for (const bool lengths : {true, false}) {
    std::vector<Communicator::Send> sends;
    std::vector<Communicator::Receive> receives;
    for (std::size_t peer = 0; peer < count; ++peer) {
      if (peer == self) continue;
      if (!lengths) all[peer].resize(sizes[peer]);
      sends.push_back({static_cast<int>(peer), lengths ? std::as_bytes(std::span(&sizes[self], 1))
                                                       : std::as_bytes(std::span(all[self]))});
      receives.push_back(
          {static_cast<int>(peer),
           lengths ? std::as_writable_bytes(std::span(&sizes[peer], 1)) : bytes_of(all[peer])});
    }
    ranks.exchange(sends, receives, wait);
  }
  std::vector<json> documents;
  for (const Bytes& one : all) documents.push_back(json::from_cbor(one));
  return documents;
}

json from_first(Communicator& ranks, const json& own, Communicator::Wait wait) {
  if (ranks.size() == 1) return own;
  Bytes data;
  if (ranks.rank() == 0) data = json::to_cbor(own);
  std::uint64_t size = data.size();
  ranks.broadcast(std::as_writable_bytes(std::span(&size, 1)), wait);
  data.resize(size);
  ranks.broadcast(bytes_of(data), Communicator::Wait::limited);
  return json::from_cbor(data);
}

void fail_together(Communicator& ranks, const std::string& error) {
  if (ranks.size() == 1) {
    if (!error.empty()) throw Error(error);
    return;
  }
  const std::vector<json> all =
      gather(ranks, {{"error", error}, {"place", error.empty() ? "" : ranks.place()}});
  for (const json& one : all)
    if (const auto& text = one.at("error").get_ref<const std::string&>(); !text.empty())
      throw RankError(fmt::format("{}: {}", one.at("place").get_ref<const std::string&>(), text));
}

}  // namespace thorax
