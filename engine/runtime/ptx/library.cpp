#include "engine/runtime/ptx/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "engine/runtime/ptx/symbols.h"
#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

namespace fs = std::filesystem;
constexpr auto kLinks = fs::directory_options::follow_directory_symlink;

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  THORAX_CHECK(file.good(), "[ptx] {}: cannot be read", path.string());
  return std::move(text).str();
}

// "x.cu" as nvcc writes it into the names of an unnamed namespace: "x_cu".
std::string as_identifier(std::string name) {
  for (char& c : name)
    if ((c < '0' || c > '9') && (c | 32) < 'a') c = '_';
  std::replace_if(
      name.begin(), name.end(), [](char c) { return (c | 32) > 'z'; }, '_');
  return name;
}

// Of a kernel that is no template the tag has no parameter list; and nor has this.
std::string without_parameters(std::string name) {
  if (name.starts_with("void ") || !name.ends_with(")")) return name;
  int depth = 0;
  for (std::size_t at = name.size(); at-- > 0;) {
    depth += name[at] == ')' ? 1 : name[at] == '(' ? -1 : 0;
    if (depth == 0) return name.substr(0, at);
  }
  return name;
}

// KernelTag<&(void kernel<float>(float*))> -> void kernel<float>(float*)
std::string kernel_of_tag(const std::string& symbol) {
  std::string text = demangled(symbol);
  const std::size_t begin = text.find("<&"), end = text.rfind('>');
  THORAX_CHECK(begin != text.npos && end != text.npos && begin < end,
               "[ptx] '{}' is no kernel's name", text);
  text = text.substr(begin + 2, end - begin - 2);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  if (text.starts_with("(void ") && text.ends_with(")")) text = text.substr(1, text.size() - 2);
  return text;
}

bool has_ptx(const fs::path& folder) {
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, kLinks, error), end; !error && at != end;
       at.increment(error))
    if (at->path().extension() == ".ptx") return true;
  return false;
}

// `ptx` beside the library, which in a build is the folder of the build: an installed one holds no
// path of the machine that built it.
std::string folder_beside_library() {
  Dl_info info{};
  static const char here = 0;
  if (::dladdr(&here, &info) == 0 || info.dli_fname == nullptr) return "ptx";
  return (fs::path(info.dli_fname).parent_path() / "ptx").string();
}

}  // namespace

std::string find_folder(std::string& why) {
  const char* chosen = std::getenv("THORAX_PTX");
  const std::string folder =
      chosen != nullptr && *chosen != '\0' ? chosen : folder_beside_library();
  if (has_ptx(folder)) return folder;
  why = fmt::format(
      "no PTX files below {}: 'cmake --build --preset cuda --target kernel_ptx' makes them (needs "
      "nvcc), THORAX_PTX names their folder",
      folder);
  return {};
}

Library::Library(const std::string& folder) : folder_(folder) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(folder, kLinks))
    if (entry.path().extension() == ".ptx") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    modules_.push_back(std::make_unique<Module>(path.string(), read_file(path)));
    const Module& module = *modules_.back();
    for (const Module::Entry& entry : module.entries())
      kernels_[{file_in(entry.name), without_parameters(demangled(entry.name))}].push_back(
          {&module, &entry});
  }
}

std::vector<Library::Found> Library::kernels() const {
  std::vector<Found> all;
  for (const auto& [key, found] : kernels_) all.insert(all.end(), found.begin(), found.end());
  return all;
}

const Program& Library::find(const Kernel& kernel, int compute_capability) {
  const std::scoped_lock lock(mutex_);
  const Program*& known = found_[{kernel.symbol, compute_capability}];
  if (known != nullptr) return *known;
  const std::string name = kernel_of_tag(kernel.symbol);
  // g++ compiles x.cu through x.cu.cpp (CMakeLists.txt).
  fs::path path(kernel.file);
  if (path.extension() == ".cpp") path.replace_extension();
  const std::string file = as_identifier(path.filename().string());
  auto found = kernels_.find({file, name});
  if (found == kernels_.end()) found = kernels_.find({"", name});
  THORAX_CHECK(found != kernels_.end(),
               "[ptx] {}: the PTX files below {} have no kernel '{}' of {}; they must be made from "
               "the sources of this build",
               kernel.name, folder_, name, kernel.file);
  const Found* best = nullptr;
  std::set<int> targets;
  for (const Found& one : found->second) {
    targets.insert(one.module->target());
    if (one.module->target() <= compute_capability &&
        (best == nullptr || one.module->target() > best->module->target()))
      best = &one;
  }
  THORAX_CHECK(best != nullptr, "[ptx] {}: its PTX is for sm_{} and newer, the device is sm_{}",
               kernel.name, *targets.begin(), compute_capability);
  std::unique_ptr<Program>& program = programs_[best->entry];
  if (program == nullptr) program = make_program(*best->module, *best->entry);
  known = program.get();
  return *known;
}

Library& library() {
  // Never destroyed: kernels may run in destructors of static objects.
  static Library& all = *[] {
    std::string why;
    const std::string folder = find_folder(why);
    THORAX_CHECK(!folder.empty(), "[ptx] {}", why);
    return new Library(folder);
  }();
  return all;
}

}  // namespace thorax::ptx
