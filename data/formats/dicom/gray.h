// From stored values to brightness: modality and VOI transformations of DICOM's grayscale pipeline
// (PS3.3, C.7.6.3, C.11.1, C.11.2), as tables over every value that a file can store.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace thorax::dicom {

// A LUT: entry i is the output for the input first + i; inputs outside get the nearest entry.
struct Lut {
  int first = 0;
  int bits = 16;  // of the entries
  std::vector<uint16_t> entries;

  double at(double input) const;
};

// Values as stored: sample s (from 0) stands for s + lowest.
struct Stored {
  int bits = 16;
  bool is_signed = false;

  int lowest() const { return is_signed ? -(1 << (bits - 1)) : 0; }
  int count() const { return 1 << bits; }
};

// Stored values to modality values: a LUT, or slope and intercept.
struct Modality {
  double slope = 1, intercept = 0;
  Lut lut = {};

  double at(int stored) const;
};

enum class Function { linear, linear_exact, sigmoid };

// Modality values to brightness: a LUT, or a window.
struct Voi {
  Lut lut = {};
  double centre = 0, width = 1;
  Function function = Function::linear;

  // 0..1
  double at(double modality_value) const;
  // "window (LINEAR)", "VOI LUT".
  std::string name() const;
};

// Brightness 0..1 of every sample; `inverted`: the largest is black (MONOCHROME1).
std::vector<float> brightness(const Stored& stored, const Modality& modality, const Voi& voi,
                              bool inverted);

}  // namespace thorax::dicom
