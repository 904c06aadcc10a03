// The operations that `thorax op` can run.
#pragma once

#include <span>
#include <string>

#include "apps/op_case.h"

namespace thorax::app {

struct OpRow {
  const char* name;
  const char* registry;  // whose providers --provider names; empty: there are none
  void (*run)(OpCase&);
};

std::span<const OpRow> op_table();
// Throws Error "[op] ..." listing the names when there is none.
const OpRow& find_op(const std::string& name);

}  // namespace thorax::app
