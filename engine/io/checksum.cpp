#include "engine/io/checksum.h"

#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/io/atomic_file.h"

namespace thorax {

struct Checksum::State {
  XXH3_state_t* state = XXH3_createState();
  ~State() { XXH3_freeState(state); }
};

Checksum::Checksum() : state_(std::make_unique<State>()) {
  THORAX_CHECK(state_->state != nullptr, "[checksum] out of memory");
  XXH3_64bits_reset(state_->state);
}

Checksum::~Checksum() = default;

void Checksum::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_->state, bytes.data(), bytes.size());
}

void Checksum::add(std::string_view text) {
  const std::uint64_t size = text.size();
  add(std::as_bytes(std::span(&size, 1)));
  add(std::as_bytes(std::span(text.data(), text.size())));
}

void Checksum::add(const Tensor& tensor) {
  add(name_of(tensor.dtype()));
  add(tensor.shape().to_string());
  const Tensor dense = tensor.to(Device{}).to_contiguous();
  add(std::span(static_cast<const std::byte*>(dense.raw()), dense.bytes()));
}

std::string Checksum::hex() const {
  return fmt::format("{:016x}", XXH3_64bits_digest(state_->state));
}

std::string file_checksum(const std::filesystem::path& path) {
  const InputFile file(path, InputFile::Pointer::accept);
  std::vector<std::byte> piece(std::size_t{1} << 20);
  Checksum sum;
  for (std::uint64_t at = 0; at < file.size();) {
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), file.size() - at));
    file.read(at, std::span(piece.data(), count));
    sum.add(std::span<const std::byte>(piece.data(), count));
    at += count;
  }
  return sum.hex();
}

}  // namespace thorax
