// The pixels of several organs, from label maps or from masks of their own, and what they are
// called.
//
// A picture of organs is one byte a pixel: an index into a table of sets of organs. So nearest
// neighbour moves label maps and overlapping masks alike, and no value between two labels can
// arise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"

namespace thorax {

inline constexpr std::size_t kMaxOrgans = 64;
inline constexpr const char* kLungs = "lungs";  // what masks without a stated organ are of

struct OrganMap {
  ImageU8 map;                           // indices into `organs_of`
  std::vector<std::uint64_t> organs_of;  // bit k: organ k is there; [0] is 0, the background
};

// Names of the organs in the order of the first sample that has any; empty where the data has one
// organ.
std::vector<std::string> organ_names(const Dataset& dataset);
// Whether all organs come from label maps, so that they exclude each other.
bool organs_are_labels(const Dataset& dataset);

// Finds the organs of label maps that are to follow from the data's values, gives every sample's
// organs one order, and throws Error "[organs] ..." where sources or images have other organs.
// load_datasets does so.
void unify_organs(Dataset& dataset);

// From integers to organs: `labels` are values as a file stores them. Throws Error "[organs] FILE:
// ..." naming a value that is neither an organ's nor background.
OrganMap organs_of_labels(const ImageU16& labels, const OrganMasks& organs,
                          const std::vector<std::string>& names, const std::string& file);

// The organs `names` of one sample, at the size of its image; a sample of one organ has it under
// any one name. Throws Error for a mask of another size and for values without a name.
OrganMap sample_organs(const Sample& sample, const std::vector<std::string>& names, int height,
                       int width);
// 255 where organ `organ` is, else 0.
ImageU8 organ_plane(const OrganMap& map, std::size_t organ);
// Throws Error "[organs] FILE: ..." when two organs share a pixel, as softmax does not allow.
void require_no_overlap(const OrganMap& map, const std::vector<std::string>& names,
                        const std::string& file);

// Throws Error "[organs] FILE: ..." for a file whose values cannot be labels: in colour, or a JPEG.
void require_labels(const MaskPixels& pixels, const std::string& file);
[[noreturn]] void fail_unnamed(const std::string& file, int value, const OrganMasks& organs);

// Which of the names are the lungs: "lungs" (or "lung"), else the left and the right one, in any
// spelling; empty when there are none, or only one side of them.
std::vector<std::size_t> lungs_among(const std::vector<std::string>& names);
bool is_lung(const std::string& name);
// Of each organ the one that lies in its place in the mirror image: the other side of a left or
// right one ("left lung", "clavicle_r"), else itself. Throws Error "[organs] ..." where the other
// side is not among the names.
std::vector<std::size_t> mirrored_organs(const std::vector<std::string>& names);

}  // namespace thorax
