#include "apps/intensity.h"

#include <CLI/CLI.hpp>

#include "data/decode.h"

namespace thorax::app {

void add_intensity_option(CLI::App& command, std::string& intensity) {
  command
      .add_option("--intensity", intensity,
                  "Which stored value is white: the largest of the effective bit depth (depth), of "
                  "the file's samples (full), or the 99.5th percentile (percentiles). DICOM: depth "
                  "goes by the header's first VOI LUT or window, window2 by its second, stored is "
                  "depth without them")
      ->capture_default_str()
      ->check(CLI::IsMember(intensity_names()));
}

void add_intensity_override(CLI::App& command, std::string& intensity) {
  command
      .add_option("--intensity", intensity,
                  "Which stored value is white: depth, full, percentiles, or for DICOM stored, "
                  "window2 (default: as the network "
                  "was trained)")
      ->check(CLI::IsMember(intensity_names()));
}

}  // namespace thorax::app
