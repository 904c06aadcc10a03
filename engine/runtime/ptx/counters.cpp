#include "engine/runtime/ptx/counters.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

#include "engine/runtime/profile.h"
#include "engine/runtime/ptx/opcodes.h"
#include "engine/runtime/ptx/request.h"
#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

void note_global(LineCounts& line, const Addresses& addresses, std::uint64_t bytes) {
  line.bytes += bytes * static_cast<std::uint64_t>(std::popcount(addresses.lanes));
  line.unique_bytes += bytes * distinct(addresses, bytes);
  line.sectors += distinct(addresses, 32);
  line.lines += distinct(addresses, 128);
}

// Whether L1 keeps what the load brings ("Cache Operators").
bool cached(Kind kind, std::string_view name) {
  if (kind == Kind::async_copy) return name.starts_with("cp.async.ca.");
  for (const std::string_view not_cached : {".cg", ".cv", ".volatile", ".relaxed", ".acquire"})
    if (name.find(not_cached) != name.npos) return false;
  return true;
}

AccessKind access_of(Kind kind) {
  if (kind == Kind::atomic) return AccessKind::atomic;
  return kind == Kind::store_global ? AccessKind::store : AccessKind::load;
}

// FLOP of one mma.sync.aligned.m16n8k16...; 0 for ldmatrix.
double matrix_flops(std::string_view name) {
  constexpr std::string_view kBefore = "mma.sync.aligned.m";
  if (!name.starts_with(kBefore)) return 0;
  double flops = 2;
  const char* at = name.data() + kBefore.size();
  const char* const end = name.data() + name.size();
  for (int i = 0; i < 3; ++i) {  // 16n8k16
    int extent = 0;
    const auto [next, error] = std::from_chars(at, end, extent);
    if (error != std::errc()) return 0;
    flops *= extent;
    at = next + 1;
  }
  return flops;
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
             "unique_bytes,sectors,lines,wavefronts\n");
  for (const auto& [name, entry] : totals().kernels) {
    const auto& [program, kernel] = entry;
    for (std::size_t i = 0; i < kernel.counts.lines().size(); ++i) {
      const LineCounts& c = kernel.counts.lines()[i];
      if (c.executed == 0) continue;
      const Instruction& instruction = program->function.instructions[i];
      fmt::print(file, "{},sm_{},{},{},{},{},{},{},{},{},{},{},{},{}\n", quoted(program->name),
                 program->module->target(), kernel.launches, instruction.line, instruction.name,
                 name_of(program->kind_of(static_cast<std::uint32_t>(i))),
                 quoted(program->module->describe(instruction.source)), c.executed, c.lanes,
                 c.bytes, c.unique_bytes, c.sectors, c.lines, c.wavefronts);
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
  lines += other.lines;
  wavefronts += other.wavefronts;
}

void Counts::note(Warp& w, const Step& s) {
  const auto kind = static_cast<Kind>(s.kind);
  if (kind == Kind::none) return;
  LineCounts& line = lines_[s.instruction];
  ++line.executed;
  line.lanes += static_cast<std::uint64_t>(std::popcount(w.active));
  if (s.bytes == 0 || kind == Kind::load_parameter) return;
  const Request request = request_of(w, s);
  const auto lanes = [](const Addresses& addresses) {
    return static_cast<std::uint64_t>(std::popcount(addresses.lanes));
  };
  if (request.matrices > 0) {
    line.wavefronts += shared_wavefronts(request);
    line.bytes += 128 * std::uint64_t{request.matrices};
    return;
  }
  line.bytes += s.bytes * lanes(request.local);
  if (request.global.lanes != 0) {
    note_global(line, request.global, s.bytes);
    if (w.block->trace != nullptr)
      w.block->trace->note(
          request.global, s.bytes, access_of(kind),
          cached(kind, w.block->program->function.instructions[s.instruction].name));
  }
  if (kind != Kind::async_copy && request.shared.lanes != 0) {
    line.bytes += s.bytes * lanes(request.shared);
    line.wavefronts += shared_wavefronts(request);
  }
}

void Counts::add(const Counts& other) {
  for (std::size_t i = 0; i < lines_.size(); ++i) lines_[i].add(other.lines_[i]);
}

void Counts::scale(std::uint64_t whole, std::uint64_t part) {
  if (whole == part) return;
  const double factor = static_cast<double>(whole) / static_cast<double>(part);
  for (LineCounts& line : lines_)
    for (std::uint64_t* count : {&line.executed, &line.lanes, &line.bytes, &line.unique_bytes,
                                 &line.sectors, &line.lines, &line.wavefronts})
      *count = static_cast<std::uint64_t>(std::llround(static_cast<double>(*count) * factor));
}

LaunchCounts summary(const Program& program, const Counts& counts, const Card& card,
                     const sim::BlockShape& shape) {
  LaunchCounts all;
  all.operation = current_operation();
  all.kernel = program.name;
  all.target = program.module->target();
  all.blocks = std::uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
  all.threads = shape.block.x * shape.block.y * shape.block.z;
  all.shared = program.static_shared + shape.dynamic_shared;
  const auto clocks = [](std::uint64_t units, int rate) {
    return (units + static_cast<std::uint64_t>(rate) - 1) / static_cast<std::uint64_t>(rate);
  };
  for (std::size_t i = 0; i < counts.lines().size(); ++i) {
    const LineCounts& c = counts.lines()[i];
    if (c.executed == 0) continue;
    const Kind kind = program.kind_of(static_cast<std::uint32_t>(i));
    if (kind == Kind::move || kind == Kind::load_parameter) continue;
    all.instructions += c.executed;
    if (kind == Kind::float32) all.float32 += c.executed;
    if (kind == Kind::integer || kind == Kind::predicate) all.integer += c.executed;
    if (kind == Kind::float64) all.float64 += c.executed;
    if (kind == Kind::special_function || kind == Kind::conversion) all.special += c.executed;
    const std::string& name = program.function.instructions[i].name;
    if (kind == Kind::barrier && name.starts_with("bar")) all.barriers += c.executed;
    if (kind == Kind::matrix)
      (name.find(".tf32.") == name.npos ? all.matrix_16 : all.matrix_tf32) +=
          matrix_flops(name) * static_cast<double>(c.executed);
    std::uint64_t units = 0;
    if (c.sectors > 0) {
      all.global_requests += c.executed;
      all.global_sectors += c.sectors;
      if (kind == Kind::load_global) all.waiting_loads += c.executed;
      units = std::max(c.lines, clocks(c.sectors * kSectorBytes, card.l1_rate));
    }
    if (c.wavefronts > 0) {
      all.shared_requests += c.executed;
      all.shared_wavefronts += c.wavefronts;
      units += clocks(c.wavefronts * 128, card.l1_rate);
    }
    if (units > 0) all.l1_clocks += std::max(units, clocks(c.executed * kLanes, card.load_store));
  }
  return all;
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
