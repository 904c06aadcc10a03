// What a plugin includes: a shared object, built outside this tree against the installed headers,
// that adds providers of operations or whole operations to a program that loads it
// (`thorax --plugin my.so COMMAND`; plugins.h). One file of it says
//
//   THORAX_PLUGIN("my_plugin") {
//     add_op({"swish", "swish", run_swish});               // an operation of `thorax op`
//   }
//
// with braces that may be empty, and providers are added as inside the tree, in any of its files,
// by THORAX_PROVIDER. Whatever of this fails is reported by the loader, and nothing of the plugin
// stays. apps/examples/plugin/ has a plugin with a kernel for GPUs.
//
// A plugin shares the classes of the headers with the program, so both must have been compiled with
// the same ones: the loader refuses a plugin of another build before any of its code runs.
#pragma once

#include <thorax_headers.h>  // written by third_party/cmake/write_headers_id.cmake

#include <string>  // libstdc++'s macros

#include "engine/registry/op_case.h"
#include "engine/registry/registry.h"

#define THORAX_PLUGIN_TEXT2(x) #x
#define THORAX_PLUGIN_TEXT(x) THORAX_PLUGIN_TEXT2(x)
#ifdef _GLIBCXX_DEBUG
#define THORAX_PLUGIN_LISTS "debug"
#else
#define THORAX_PLUGIN_LISTS "plain"
#endif
// What must be equal: the headers, and how the standard library lays out its classes. The loader
// looks for the first words in the plugin's file.
#define THORAX_PLUGIN_BUILD                                                                       \
  "thorax-plugin-build: thorax " THORAX_HEADERS                                                   \
  ", libstdc++ " THORAX_PLUGIN_TEXT(_GLIBCXX_RELEASE) " with strings of ABI " THORAX_PLUGIN_TEXT( \
      _GLIBCXX_USE_CXX11_ABI) " and " THORAX_PLUGIN_LISTS " containers"

namespace thorax {

struct PluginEntry {
  const char* build;
  const char* name;
  void (*add)();
};

}  // namespace thorax

// `name`: letters, digits, '_' and '-'; what messages and records of runs call the plugin.
#define THORAX_PLUGIN(name)                                                     \
  static void thorax_plugin_add();                                              \
  extern "C" __attribute__((visibility("default")))                             \
  const ::thorax::PluginEntry thorax_plugin_entry;                              \
  const ::thorax::PluginEntry thorax_plugin_entry = {THORAX_PLUGIN_BUILD, name, \
                                                     thorax_plugin_add};        \
  static void thorax_plugin_add()
