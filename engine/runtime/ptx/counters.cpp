#include "engine/runtime/ptx/counters.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

#include "engine/runtime/ptx/opcodes.h"
#include "engine/runtime/ptx/symbols.h"
#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

// Addresses of up to 32 lanes, and those of them that take part.
struct Addresses {
  std::array<std::uint64_t, kLanes> at{};
  std::uint32_t lanes = 0;
};

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

std::uint64_t wavefronts(const Addresses& addresses, std::uint64_t bytes) {
  const int together = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  std::uint64_t sum = 0;
  for (int first = 0; first < kLanes; first += together) {
    const std::uint32_t group = together == 32 ? kAllLanes : ((1u << together) - 1) << first;
    sum += conflicts(addresses, group, bytes);
  }
  return sum;
}

void note_global(LineCounts& line, const Addresses& addresses, std::uint64_t bytes) {
  line.bytes += bytes * static_cast<std::uint64_t>(std::popcount(addresses.lanes));
  line.unique_bytes += bytes * distinct(addresses, bytes);
  line.sectors += distinct(addresses, 32);
}

struct Totals {
  std::mutex mutex;
  std::FILE* file = nullptr;
  struct Kernel {
    std::uint64_t launches = 0;
    Counts counts;
  };
  std::map<std::string, std::pair<const Program*, Kernel>> kernels;
};
Totals& totals() {
  static Totals& all = *new Totals;
  return all;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) result += c == '"' ? std::string("\"\"") : std::string(1, c);
  return result + '"';
}

void write_totals() {
  const std::scoped_lock lock(totals().mutex);
  std::FILE* file = totals().file;
  fmt::print(file,
             "kernel,target,launches,ptx_line,instruction,class,source,executed,lanes,bytes,"
             "unique_bytes,sectors,wavefronts\n");
  for (const auto& [name, entry] : totals().kernels) {
    const auto& [program, kernel] = entry;
    for (std::size_t i = 0; i < kernel.counts.lines().size(); ++i) {
      const LineCounts& c = kernel.counts.lines()[i];
      if (c.executed == 0) continue;
      const Instruction& instruction = program->function.instructions[i];
      fmt::print(file, "{},sm_{},{},{},{},{},{},{},{},{},{},{},{}\n", quoted(program->name),
                 program->module->target(), kernel.launches, instruction.line, instruction.name,
                 name_of(program->kind_of(static_cast<std::uint32_t>(i))),
                 quoted(program->module->describe(instruction.source)), c.executed, c.lanes,
                 c.bytes, c.unique_bytes, c.sectors, c.wavefronts);
    }
  }
  if (std::fclose(file) != 0)
    std::fprintf(stderr, "[ptx] THORAX_PTX_COUNTERS: the file could not be written whole\n");
}

}  // namespace

void LineCounts::add(const LineCounts& other) {
  executed += other.executed;
  lanes += other.lanes;
  bytes += other.bytes;
  unique_bytes += other.unique_bytes;
  sectors += other.sectors;
  wavefronts += other.wavefronts;
}

void Counts::note(Warp& w, const Step& s) {
  const auto kind = static_cast<Kind>(s.kind);
  if (kind == Kind::none) return;
  LineCounts& line = lines_[s.instruction];
  ++line.executed;
  line.lanes += static_cast<std::uint64_t>(std::popcount(w.active));
  if (s.bytes == 0 || kind == Kind::load_parameter) return;
  Addresses global, shared;
  const bool copies = kind == Kind::async_copy;
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((w.active >> lane & 1) == 0) continue;
    const auto i = static_cast<std::size_t>(lane);
    std::uint64_t address = 0;
    if (copies) {
      if (w.lanes<std::uint32_t>(s.c)[lane] == 0) continue;
      address = w.lanes<std::uint64_t>(s.b)[lane] +
                static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(s.more[0])});
    } else if (s.address_32) {
      address = w.lanes<std::uint32_t>(s.a)[lane] + static_cast<std::uint32_t>(s.value);
    } else {
      address = w.lanes<std::uint64_t>(s.a)[lane] + static_cast<std::uint64_t>(s.value);
    }
    const bool in_shared = kind == Kind::load_shared || kind == Kind::store_shared ||
                           kind == Kind::matrix || (address & kWindowMask) == kSharedWindow;
    Addresses& to = in_shared ? shared : global;
    to.at[i] = address & ~kWindowMask;
    to.lanes |= 1u << lane;
  }
  if (kind == Kind::matrix) {
    // Lanes 8 i + j name the rows of matrix i; those of matrices that are not loaded do not count.
    const std::size_t matrices =
        registers_of_matrix(w.block->program->function.instructions[s.instruction].name);
    for (std::size_t m = 0; m < matrices; ++m)
      line.wavefronts += conflicts(shared, 0xffu << (8 * m), 16);
    line.bytes += 128 * matrices;
    return;
  }
  if (kind == Kind::load_local || kind == Kind::store_local) {
    line.bytes += s.bytes * static_cast<std::uint64_t>(std::popcount(global.lanes));
    return;
  }
  if (global.lanes != 0) note_global(line, global, s.bytes);
  if (shared.lanes != 0) {
    line.bytes += s.bytes * static_cast<std::uint64_t>(std::popcount(shared.lanes));
    line.wavefronts += wavefronts(shared, s.bytes);
  }
}

void Counts::add(const Counts& other) {
  for (std::size_t i = 0; i < lines_.size(); ++i) lines_[i].add(other.lines_[i]);
}

bool counting() {
  static const bool on = [] {
    const char* path = std::getenv("THORAX_PTX_COUNTERS");
    if (path == nullptr || *path == '\0') return false;
    totals().file = std::fopen(path, "w");
    THORAX_CHECK(totals().file != nullptr, "[ptx] {}: cannot be written (THORAX_PTX_COUNTERS)",
                 path);
    std::atexit(write_totals);
    return true;
  }();
  return on;
}

void add_launch(const Program& program, const Counts& counts) {
  const std::scoped_lock lock(totals().mutex);
  const std::string key = fmt::format("{} {}", program.name, program.module->path());
  auto& [of, kernel] =
      totals().kernels.try_emplace(key, &program, Totals::Kernel{0, Counts(program)}).first->second;
  ++kernel.launches;
  kernel.counts.add(counts);
}

}  // namespace thorax::ptx
