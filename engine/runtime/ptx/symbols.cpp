#include "engine/runtime/ptx/symbols.h"

#include <cxxabi.h>

#include <charconv>
#include <cstdlib>
#include <memory>

namespace thorax::ptx {
namespace {

bool read_space(std::string_view part, Space& space) {
  for (const Space known :
       {Space::global, Space::shared, Space::local, Space::param, Space::constant})
    if (part == (known == Space::param      ? "param"
                 : known == Space::constant ? "const"
                                            : name_of(known))) {
      space = known;
      return true;
    }
  return false;
}

std::string_view next_part(std::string_view& rest) {
  const std::size_t dot = rest.find('.');
  const std::string_view part = rest.substr(0, dot);
  rest = dot == rest.npos ? std::string_view{} : rest.substr(dot + 1);
  return part;
}

}  // namespace

std::string demangled(const std::string& mangled) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), std::free);
  if (status != 0) return mangled;
  std::string result = text.get();
  constexpr std::string_view kFrom = "cuda_build::", kTo = "sim_build::";
  for (std::size_t at = 0; (at = result.find(kFrom, at)) != std::string::npos; at += kTo.size())
    result.replace(at, kFrom.size(), kTo);
  return result;
}

std::string file_in(std::string_view mangled) {
  constexpr std::string_view kMark = "_GLOBAL__N__";
  std::size_t at = mangled.find(kMark);
  if (at == mangled.npos) return {};
  // A hash, the length of the name, the name with _ for what an identifier may not have.
  at = mangled.find('_', at + kMark.size());
  if (at == mangled.npos) return {};
  std::size_t length = 0;
  const char* end = mangled.data() + mangled.size();
  const auto [rest, error] = std::from_chars(mangled.data() + at + 1, end, length);
  if (error != std::errc() || rest == end || length > static_cast<std::size_t>(end - rest - 1))
    return {};
  return std::string(rest + 1, length);
}

// What says how long data stays in which cache, or that nothing else writes it, has no meaning
// here.
AccessName split_access(std::string_view name) {
  AccessName result;
  std::string_view rest = name.substr(3);
  while (!rest.empty()) {
    const std::string_view part = next_part(rest);
    if (rest.empty()) {
      result.type = part;
    } else if (part == "v2" || part == "v4") {
      result.elements = part[1] - '0';
    } else if (!read_space(part, result.space) && part != "nc" && part != "ca" && part != "cg" &&
               part != "cs" && part != "cv" && part != "wb" && part != "wt" && part != "volatile") {
      return result;
    }
  }
  result.known = !result.type.empty();
  return result;
}

AccessName split_atomic(std::string_view name) {
  AccessName result;
  next_part(name);
  while (!name.empty()) {
    std::string_view rest = name;
    const std::string_view part = next_part(rest);
    if (!read_space(part, result.space) && part != "relaxed" && part != "gpu" && part != "cta" &&
        part != "sys")
      break;
    name = rest;
  }
  result.type = name;
  result.known = !name.empty();
  return result;
}

std::size_t registers_of_matrix(std::string_view name) {
  if (name.starts_with("ldmatrix"))
    return name.find(".x4") != name.npos ? 4 : name.find(".x2") != name.npos ? 2 : 1;
  const bool tf32 = name.find("tf32") != name.npos;
  const std::size_t depth = name.find("k16.") != name.npos  ? 16
                            : name.find("k8.") != name.npos ? 8
                                                            : 4;
  const std::size_t b = depth / (tf32 ? 4 : 8);
  return 8 + 3 * b;
}

}  // namespace thorax::ptx
