#include "engine/runtime/ptx/request.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "engine/runtime/ptx/opcodes.h"
#include "engine/runtime/ptx/symbols.h"

namespace thorax::ptx {
namespace {

// Lanes of one group: the most words that one bank has to give.
std::uint64_t conflicts(const Addresses& addresses, std::uint32_t group, std::uint64_t bytes) {
  std::array<std::vector<std::uint64_t>, 32> banks;
  for (std::uint32_t left = addresses.lanes & group; left != 0; left &= left - 1) {
    const std::uint64_t at = addresses.at[static_cast<std::size_t>(std::countr_zero(left))];
    for (std::uint64_t word = at / 4; word <= (at + bytes - 1) / 4; ++word) {
      auto& bank = banks[word % 32];
      if (std::find(bank.begin(), bank.end(), word) == bank.end()) bank.push_back(word);
    }
  }
  std::size_t most = 0;
  for (const auto& bank : banks) most = std::max(most, bank.size());
  return most;
}

bool is_shared(Kind kind) {
  return kind == Kind::load_shared || kind == Kind::store_shared || kind == Kind::matrix;
}

}  // namespace

void Addresses::add(int lane, std::uint64_t address) {
  at[static_cast<std::size_t>(lane)] = address & ~kWindowMask;
  lanes |= 1u << lane;
}

Request request_of(Warp& w, const Step& s) {
  Request request;
  const auto kind = static_cast<Kind>(s.kind);
  if (kind == Kind::none || kind == Kind::load_parameter || s.bytes == 0) return request;
  request.bytes = s.bytes;
  if (kind == Kind::matrix)
    request.matrices = static_cast<std::uint32_t>(
        registers_of_matrix(w.block->program->function.instructions[s.instruction].name));
  const bool local = kind == Kind::load_local || kind == Kind::store_local;
  const auto address = [&](int lane, std::int64_t offset) {
    return s.address_32 ? w.lanes<std::uint32_t>(s.a)[lane] + static_cast<std::uint32_t>(offset)
                        : w.lanes<std::uint64_t>(s.a)[lane] + static_cast<std::uint64_t>(offset);
  };
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((w.active >> lane & 1) == 0) continue;
    if (kind == Kind::async_copy) {
      request.shared.add(lane, address(lane, static_cast<std::int32_t>(s.more[1])));
      // Of no bytes nothing is read: the target gets zeros.
      if (w.lanes<std::uint32_t>(s.c)[lane] != 0)
        request.global.add(lane, w.lanes<std::uint64_t>(s.b)[lane] +
                                     static_cast<std::uint64_t>(
                                         std::int64_t{static_cast<std::int32_t>(s.more[0])}));
      continue;
    }
    const std::uint64_t at = address(lane, s.value);
    const bool shared = is_shared(kind) || (at & kWindowMask) == kSharedWindow;
    (local ? request.local : shared ? request.shared : request.global).add(lane, at);
  }
  return request;
}

std::uint64_t distinct(const Addresses& addresses, std::uint64_t granularity) {
  std::array<std::uint64_t, kLanes> units{};
  std::size_t count = 0;
  for (std::uint32_t left = addresses.lanes; left != 0; left &= left - 1)
    units[count++] = addresses.at[static_cast<std::size_t>(std::countr_zero(left))] / granularity;
  std::sort(units.begin(), units.begin() + static_cast<std::ptrdiff_t>(count));
  return static_cast<std::uint64_t>(
      std::unique(units.begin(), units.begin() + static_cast<std::ptrdiff_t>(count)) -
      units.begin());
}

std::uint64_t shared_wavefronts(const Request& request) {
  std::uint64_t sum = 0;
  if (request.matrices > 0) {
    // Rows of matrices that are not loaded do not count.
    for (std::uint32_t m = 0; m < request.matrices; ++m)
      sum += conflicts(request.shared, 0xffu << (8 * m), 16);
    return sum;
  }
  const int together = request.bytes <= 4 ? 32 : request.bytes == 8 ? 16 : 8;
  for (int first = 0; first < kLanes; first += together) {
    const std::uint32_t group = together == 32 ? kAllLanes : ((1u << together) - 1) << first;
    sum += conflicts(request.shared, group, request.bytes);
  }
  return sum;
}

}  // namespace thorax::ptx
