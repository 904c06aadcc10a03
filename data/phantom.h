// Phantom chest radiographs: drawn from a seed, with exact lung masks, so that the whole pipeline
// can run and be tested without any download. They look like chest X-rays; they are no medical
// simulation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"

namespace thorax {

// What a phantom's masks show. `lungs`: the lung fields. `labels`: a label map, 1 lung fields, 2
// heart and great vessels. `organs`: a mask of the whole lungs, also behind the heart, and one of
// the heart, which overlap.
enum class PhantomMasks { lungs, labels, organs };
// Of "lungs", "labels", "organs"; throws Error "[phantom] ..." for another text.
PhantomMasks parse_phantom_masks(const std::string& text);

struct PhantomConfig {
  int size = 512;  // pixels a side
  int patients = 40;
  int max_images = 3;           // images of a patient: 1 to this many
  double positive_share = 0.5;  // share of patients with opacities (class "COVID-19")
  double severity = 1.0;        // strength of the opacities; 0 makes both classes alike
  // Probability that an image's text marker and exposure follow its class: a shortcut for a
  // classifier, to test that an audit notices. 0: markers and exposure say nothing.
  double confounding = 0;
  PhantomMasks masks = PhantomMasks::lungs;  // what write_phantoms writes
  uint64_t seed = 1;
};

struct Phantom {
  Image image;    // size x size, 0..1
  ImageU8 lungs;  // 255 inside; lung fields without heart and mediastinum, as in the Montgomery set
  ImageU8 whole_lungs;  // also where heart and mediastinum hide them
  ImageU8 heart;        // silhouette of heart and great vessels; touches no pixel of `lungs`
  bool positive = false;
  std::string patient;  // "P0007"
  std::string name;     // "PHANTOM_0007_2_1": patient, image, class
};

// Images of one patient share anatomy and class and differ in pose, exposure, noise and extent of
// disease. A function of (config, patient, number) alone.
Phantom make_phantom(const PhantomConfig& config, int patient, int number);
int images_of_patient(const PhantomConfig& config, int patient);
bool is_positive(const PhantomConfig& config, int patient);

// All of them, in order of patient and number, without drawing.
std::vector<std::pair<int, int>> phantom_list(const PhantomConfig& config);

// Writes FOLDER/CXR_png/NAME.png, FOLDER/mask/NAME_mask.png (reader "shenzhen") and
// FOLDER/manifest.csv with class, patient and mask (reader "manifest"); with masks of organs
// FOLDER/masks/lungs/NAME.png and FOLDER/masks/heart/NAME.png in place of mask/. Returns the
// manifest's path. Existing files are replaced.
std::filesystem::path write_phantoms(const PhantomConfig& config,
                                     const std::filesystem::path& folder, int threads = 2);

}  // namespace thorax
