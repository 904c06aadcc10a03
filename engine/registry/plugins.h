// Loads plugins: shared objects that add providers and operations (plugin.h says how they are
// written).
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace thorax {

struct PluginInfo {
  std::string name;
  std::string file;      // absolute
  std::string checksum;  // of the file, 16 hexadecimal digits
};

// Loads a plugin, for as long as the program runs. Throws Error "[plugin] FILE: ..." for a file
// that is missing, no shared object, no plugin or one of another build (found before any of its
// code runs), loaded already, or that fails or adds nothing; then nothing of it stays in any table,
// and the file is refused until the program starts anew.
// To be called before anything computes: the tables are not locked.
void load_plugin(const std::filesystem::path& file);

// In the order in which they were loaded.
std::vector<PluginInfo> loaded_plugins();

namespace detail {
// The plugin that adds rows at the moment; empty for the library's own.
const std::string& adding_plugin();
// To be called when a row was added, with what removes it again.
void on_plugin_failure(std::function<void()> undo);
}  // namespace detail

}  // namespace thorax
