// Stands in for gnuplot, which writes no file and takes most of a small run's time: this program
// under that name answers every script with an empty picture.
#pragma once

#include <filesystem>

namespace thorax::reliability {

// A link to this program in `folder`, to be first on the PATH.
void make_gnuplot_stub(const std::filesystem::path& folder);
bool is_gnuplot_stub(const char* program_name);
int run_gnuplot_stub();

}  // namespace thorax::reliability
