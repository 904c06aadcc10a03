#include "engine/runtime/ptx/counters.h"

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

#include "engine/runtime/ptx/opcodes.h"
#include "engine/runtime/ptx/request.h"
#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

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
  if (request.global.lanes != 0) note_global(line, request.global, s.bytes);
  if (kind != Kind::async_copy && request.shared.lanes != 0) {
    line.bytes += s.bytes * lanes(request.shared);
    line.wavefronts += shared_wavefronts(request);
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
