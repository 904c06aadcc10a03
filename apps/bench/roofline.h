// The roofline of a device (Williams, Waterman and Patterson, CACM 2009): how fast work of so many
// operations a byte can be, and how fast measured rows are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "apps/report/plot.h"

namespace thorax::app {

struct Roofline {
  std::string machine;                 // processor or card that all rows are of
  double copy = 0;                     // GB/s of a copy, read and written
  std::map<std::string, double> peak;  // GFLOP/s of the fastest matrix product, by type
  std::int64_t points = 0;
  std::int64_t without_times = 0;  // rows that were not timed, or whose operation has no FLOP rate
  Plot plot;
};

// Of a CSV file of `thorax bench kernels`, whose shares say what that run measured as peak and
// bandwidth (the median over rows). Throws Error "[bench roofline] FILE: ..." (or "[csv] ...")
// naming the line for values that are no positive numbers, rows of two machines, and where no row
// has a rate.
Roofline read_roofline(const std::filesystem::path& file);

}  // namespace thorax::app
