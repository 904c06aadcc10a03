// Where a kernel's variables and registers lie.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/runtime/ptx/flow.h"
#include "engine/runtime/ptx/program.h"

namespace thorax::ptx {

// Offsets in bytes, of registers in those of a warp (Step). Sets the program's sizes; `finish` once
// all constants are known.
class Layout {
 public:
  Layout(const Module& module, Program& program, const Flow& flow);

  std::uint32_t at(std::uint32_t reg) const { return places_[reg]; }
  // For a result that nobody wants.
  std::uint32_t sink(Width width) const {
    return width == Width::predicate ? sink_predicate_ : sink_;
  }
  // Of a register that a way leaves unwritten: the lanes that have written it; nullptr of others.
  const std::uint32_t* written(std::uint32_t reg) const {
    const auto found = written_.find(reg);
    return found == written_.end() ? nullptr : &found->second;
  }
  std::uint32_t preset(Preset::What what, Width width, std::uint64_t bits);
  std::uint32_t constant(Width width, std::uint64_t bits);
  std::uint32_t predicate();  // one more
  std::uint32_t temporary();  // a register of 32 bits, within an instruction
  // The address of a variable or parameter in its space; nullptr: not declared.
  const std::uint64_t* symbol(const std::string& name) const {
    const auto found = symbols_.find(name);
    return found == symbols_.end() ? nullptr : &found->second;
  }
  void finish();

 private:
  void place_variables();
  void place_registers();
  bool names(const std::string& symbol) const;
  std::uint32_t take(std::uint32_t bytes);

  const Module& module_;
  Program& program_;
  const Flow& flow_;
  std::map<std::string, std::uint64_t> symbols_;
  std::vector<std::uint32_t> places_;
  std::map<std::uint32_t, std::uint32_t> written_;
  std::uint32_t top_ = 4;  // 0 stands for no register
  std::uint32_t sink_ = 0, sink_predicate_ = 0, temporary_ = 0;
};

}  // namespace thorax::ptx
