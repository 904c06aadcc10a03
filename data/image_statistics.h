// A radiograph in a dozen numbers that know nothing of anatomy: if they tell two classes apart, so
// can any network, without looking at a lung.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/decode.h"

namespace thorax {

// What image_statistics gives, in its order.
const std::vector<std::string>& image_statistic_names();

// Size and shape of the file's image; whether it is a JPEG, and in colour; mean, deviation and
// percentiles of the gray values; shares of black and white; mean of a frame of a twentieth of each
// side, and of the four corners; difference of left and right half; mean absolute Laplacian (noise
// and sharpness) of the image scaled to 256 x 256. Gray values 0..1. Throws Error naming the file
// when it cannot be read.
std::vector<double> image_statistics(const std::filesystem::path& image,
                                     Intensity intensity = Intensity::depth);

}  // namespace thorax
