// Names in PTX taken apart.
#pragma once

#include <string>
#include <string_view>

#include "engine/runtime/ptx/module.h"

namespace thorax::ptx {

// "thorax::sim_build::(anonymous namespace)::kernel<float>(float*)": of nvcc's kernels, whose
// namespace is cuda_build, and of g++'s, whose is sim_build, the same text.
std::string demangled(const std::string& mangled);
// Of nvcc's mangled name of something in an unnamed namespace: the .cu file; else empty.
std::string file_in(std::string_view mangled);

struct AccessName {
  bool known = false;
  Space space = Space::generic;
  int elements = 1;
  std::string_view type;  // of atomics "add.u32"
};
// ld.global.nc.v4.f32
AccessName split_access(std::string_view name);
// atom.global.add.u32
AccessName split_atomic(std::string_view name);
// How many registers ldmatrix or mma has in all.
std::size_t registers_of_matrix(std::string_view name);

}  // namespace thorax::ptx
