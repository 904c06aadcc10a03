#include "apps/kernel/page.h"

#include <fmt/format.h>
#include <thorax_kernel_page.h>  // generated: kKernelHtml, kKernelStyle, kKernelScript

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/kernel_table.h"
#include "engine/io/json_text.h"
#include "engine/runtime/ptx/opcodes.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

using Json = nlohmann::ordered_json;

// The lanes' addresses as runs: start, step, lanes, and again. Lanes in ascending order.
Json runs_of(const ptx::Addresses& addresses, std::uint64_t origin) {
  Json runs = Json::array();
  std::int64_t start = 0, step = 0, last = 0, count = 0;
  const auto finish = [&] {
    if (count == 0) return;
    runs.push_back(start);
    runs.push_back(step);
    runs.push_back(count);
  };
  for (std::uint32_t left = addresses.lanes; left != 0; left &= left - 1) {
    const auto at = static_cast<std::int64_t>(
        addresses.at[static_cast<std::size_t>(std::countr_zero(left))] - origin);
    if (count == 1) step = at - last;
    if (count >= 1 && at - last == step) {
      ++count;
    } else {
      finish();
      start = at;
      step = 0;
      count = 1;
    }
    last = at;
  }
  finish();
  return runs;
}

// Groups of lanes that shared memory serves together: the fewest cycles there can be.
std::uint64_t least_wavefronts(const ptx::Request& r) {
  if (r.matrices > 0) return r.matrices;
  const int together = r.bytes <= 4 ? 32 : r.bytes == 8 ? 16 : 8;
  std::uint64_t groups = 0;
  for (int first = 0; first < ptx::kLanes; first += together) {
    const std::uint32_t group = together == 32 ? ptx::kAllLanes : ((1u << together) - 1) << first;
    groups += (r.shared.lanes & group) != 0 ? 1 : 0;
  }
  return groups;
}

class Files {
 public:
  Files(const ptx::Module& module, std::string source)
      : module_(module), source_(std::move(source)) {}
  // -1: there is none.
  int number(std::uint32_t file) {
    if (file == 0) return -1;
    const auto [at, is_new] = numbers_.try_emplace(file, static_cast<int>(json_.size()));
    if (is_new) {
      const std::string& path = module_.file(file);
      Json lines;
      if (std::ifstream in = open(path); in) {
        lines = Json::array();
        for (std::string line; std::getline(in, line);) lines.push_back(line);
      }
      json_.push_back({{"name", short_path(path)}, {"lines", std::move(lines)}});
    }
    return at->second;
  }
  Json take() { return std::move(json_); }

 private:
  // From the last part on that names a folder of this project's top level.
  static std::string short_path(const std::string& path) {
    std::size_t best = 0;
    for (const char* folder : {"/kernels/", "/engine/"})
      if (const std::size_t at = path.rfind(folder); at != path.npos) best = std::max(best, at + 1);
    return path.substr(best);
  }

  // Paths of nvcc go through the build folder, which need not be there any more.
  std::ifstream open(const std::string& path) const {
    std::ifstream in(std::filesystem::path(path).lexically_normal());
    if (!in) in = std::ifstream(std::filesystem::path(source_) / short_path(path));
    return in;
  }

  const ptx::Module& module_;
  std::string source_;
  std::map<std::uint32_t, int> numbers_;
  Json json_ = Json::array();
};

// Blocks of device memory that the events touch, as offsets from the first, with the argument of
// the kernel that points into each.
Json buffers_of(const ptx::Recording& r, const std::vector<ptx::Range>& touched,
                std::uint64_t origin) {
  Json all = Json::array();
  for (const ptx::Range& range : touched) {
    std::string name = "memory no argument points into";
    const auto& wanted = r.program->function.parameters;
    for (std::size_t p = 0; p < wanted.size(); ++p) {
      for (std::size_t at = 0; at + 8 <= wanted[p].bytes; at += 8) {
        std::uint64_t value = 0;
        std::memcpy(&value, r.parameters.data() + wanted[p].offset + at, sizeof value);
        if (value < range.begin || value >= range.end) continue;
        name = wanted[p].bytes == 8 ? fmt::format("argument {}", p + 1)
                                    : fmt::format("argument {}, byte {}", p + 1, at);
        break;
      }
      if (name.starts_with("argument")) break;
    }
    all.push_back({{"name", name}, {"begin", range.begin - origin}, {"end", range.end - origin}});
  }
  return all;
}

std::vector<ptx::Range> touched_memory(const ptx::Recording& r) {
  std::vector<bool> used(r.memory.size());
  for (const ptx::Event& event : r.events) {
    const ptx::Addresses& lanes = event.request.global;
    for (std::uint32_t left = lanes.lanes; left != 0; left &= left - 1) {
      const std::uint64_t at = lanes.at[static_cast<std::size_t>(std::countr_zero(left))];
      const auto after =
          std::upper_bound(r.memory.begin(), r.memory.end(), at,
                           [](std::uint64_t a, const ptx::Range& m) { return a < m.begin; });
      if (after != r.memory.begin())
        used[static_cast<std::size_t>(after - r.memory.begin() - 1)] = true;
    }
  }
  std::vector<ptx::Range> ranges;
  for (std::size_t i = 0; i < used.size(); ++i)
    if (used[i]) ranges.push_back(r.memory[i]);
  return ranges;
}

Json event_json(const ptx::Event& event, std::uint64_t origin, std::uint32_t number) {
  const ptx::Request& r = event.request;
  Json json = {{"i", number}, {"w", event.warp}, {"n", event.before}};
  if (event.lanes != ptx::kAllLanes) json["l"] = event.lanes;
  if (r.global.lanes != 0) {
    json["g"] = runs_of(r.global, origin);
    json["sectors"] = ptx::distinct(r.global, 32);
    json["least"] = (ptx::distinct(r.global, r.bytes) * r.bytes + 31) / 32;
    if (r.global.lanes != event.lanes) json["gl"] = r.global.lanes;
  }
  if (r.shared.lanes != 0) {
    ptx::Addresses rows = r.shared;
    if (r.matrices > 0 && r.matrices < 4) rows.lanes &= (1u << (8 * r.matrices)) - 1;
    json["s"] = runs_of(rows, 0);
    json["waves"] = ptx::shared_wavefronts(r);
    json["fewest"] = least_wavefronts(r);
    if (r.matrices > 0) json["sl"] = rows.lanes;
  }
  if (r.bytes != 0) json["b"] = r.matrices > 0 ? 16 : r.bytes;
  return json;
}

Json occupancy_of(const ptx::Recording& r, int capability) {
  const KernelResources* const found = find_resources(r.program->name, capability);
  if (found == nullptr) return nullptr;
  KernelResources row = *found;
  row.threads = static_cast<int>(r.shape.block.x * r.shape.block.y * r.shape.block.z);
  row.dynamic_shared = static_cast<int>(r.shape.dynamic_shared);
  return {{"registers", row.registers},
          {"spills", row.spills},
          {"resident", row.resident_blocks()},
          {"occupancy", row.occupancy()}};
}

Json data_of(const ptx::Recording& r, const KernelRunText& text) {
  const ptx::Program& program = *r.program;
  Files files(*program.module, text.source);
  Json instructions = Json::array();
  std::map<std::uint32_t, std::uint32_t> numbers;
  const auto& lines = r.counts.lines();
  for (std::uint32_t i = 0; i < lines.size(); ++i) {
    const ptx::LineCounts& c = lines[i];
    if (c.executed == 0) continue;
    const ptx::Instruction& instruction = program.function.instructions[i];
    numbers[i] = static_cast<std::uint32_t>(instructions.size());
    const ptx::Source& source = instruction.source;
    instructions.push_back({{"name", instruction.name},
                            {"class", ptx::name_of(program.kind_of(i))},
                            {"ptx", instruction.line},
                            {"file", files.number(source.file)},
                            {"line", source.line},
                            {"from", files.number(source.caller_file)},
                            {"from_line", source.caller_line},
                            {"executed", c.executed},
                            {"lanes", c.lanes},
                            {"sectors", c.sectors},
                            {"unique", c.unique_bytes},
                            {"waves", c.wavefronts}});
    if (instruction.name == "cp.async.wait_group")
      instructions.back()["pending"] = instruction.operands.at(0).bits;
  }
  const std::vector<ptx::Range> touched = touched_memory(r);
  const std::uint64_t origin = touched.empty() ? 0 : touched.front().begin;
  Json events = Json::array();
  for (const ptx::Event& event : r.events)
    events.push_back(event_json(event, origin, numbers.at(event.instruction)));
  const auto triple = [](const sim::Index3& i) { return Json{i.x, i.y, i.z}; };
  return {{"kernel", plain_kernel_name(program.name)},
          {"full_name", program.name},
          {"target", program.module->target()},
          {"command", text.command},
          {"problem", text.problem},
          {"provider", text.provider},
          {"device", text.device},
          {"grid", triple(r.shape.grid)},
          {"block_size", triple(r.shape.block)},
          {"block", triple(r.block)},
          {"shared_bytes", r.shared_bytes},
          {"resources", occupancy_of(r, text.capability)},
          {"buffers", buffers_of(r, touched, origin)},
          {"left_out", r.left_out},
          {"instructions", std::move(instructions)},
          {"files", files.take()},
          {"events", std::move(events)}};
}

void replace_once(std::string& text, std::string_view what, std::string_view by) {
  const std::size_t at = text.find(what);
  THORAX_CHECK(at != text.npos, "[kernel] the page has no place {}", what);
  text.replace(at, what.size(), by);
}

}  // namespace

std::string kernel_page(const ptx::Recording& recording, const KernelRunText& text) {
  std::string data = dump_json(data_of(recording, text), -1);
  // The data must not end the element that they stand in.
  for (std::size_t at = 0; (at = data.find("</", at)) != data.npos; at += 3)
    data.replace(at, 2, "<\\/");
  for (std::size_t at = 0; (at = data.find("<!--", at)) != data.npos; at += 9)
    data.replace(at, 1, "\\u003c");
  std::string page = kKernelHtml;
  replace_once(page, "/*style*/", kKernelStyle);
  replace_once(page, "/*script*/", kKernelScript);
  replace_once(page, "\"data\"", data);
  return page;
}

}  // namespace thorax::app
