// Where an image is: a file, or one frame of it, written FILE#N.
#pragma once

#include <filesystem>

namespace thorax {

struct ImagePlace {
  std::filesystem::path file;
  int frame = 0;  // from 1; 0: none is named
};

// "x.dcm#3" is the third frame of x.dcm, unless there is a file of that name.
ImagePlace image_place(const std::filesystem::path& image);

// The file that holds an image.
inline std::filesystem::path image_file(const std::filesystem::path& image) {
  return image_place(image).file;
}

}  // namespace thorax
