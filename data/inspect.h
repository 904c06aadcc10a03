// Opens every file of a data set before anything is computed from it: what cannot be read, what
// shows nothing, what the masks' values mean.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/decode.h"

namespace thorax {

// The masks of one source, or those of one of its organs.
struct MaskSet {
  std::string source;
  std::string organ = {};                // of several; empty: the lungs
  int64_t images = 0;                    // that have a mask which can be read
  std::string rule;                      // in words, with the values seen; empty when in doubt
  std::string doubt;                     // the error, when the values allow more than one reading
  std::vector<std::string> empty, full;  // images whose masks have no pixel inside, none outside
  std::vector<std::string> reversed;     // images with a mask whose four corners are inside
  double share = 0;                      // of all pixels of these images, those inside
};

struct Inspection {
  // By sample:
  std::vector<ImageFacts> facts;
  std::vector<std::string> problem;  // the error of an image or mask that cannot be used, or ""
  std::vector<std::string> blank;    // the error of an image that shows nothing, or ""

  std::vector<std::string> inverted;  // images that look like photographic negatives
  std::vector<MaskSet> masks;
  std::vector<std::string> notes;  // ReadingNotes (data/image_check.h)

  // The same without empty strings.
  std::vector<std::string> problems() const;
  std::vector<std::string> blanks() const;
};

struct InspectOptions {
  Intensity intensity = Intensity::depth;
  bool masks = true;  // open them too
  int threads = 2;    // do not change the result
};

// Decides the rule of every source's masks and sets it in the samples (Sample::mask_rule) that do
// not name one. Throws nothing for bad files: the result says what is wrong.
Inspection inspect_dataset(Dataset& dataset, const InspectOptions& options = {});

// Lines for a person: masks, blank images, notes.
std::vector<std::string> inspection_lines(const Inspection& inspection);

// Removes samples that cannot be used (rule "readable file") and blank ones (rule "image shows
// something"); with `fail_on_error` throws at the first, naming it. Throws for masks in doubt.
void remove_unusable(Dataset& dataset, const Inspection& inspection, bool fail_on_error);

// For training a segmenter: throws Error "[mask] ..." when no mask of the data, or none of one of
// its organs, has both an inside and an outside.
void require_varied_masks(const Inspection& inspection);

// The sets of samples with several organs (data/inspect_organs.cpp); `opened` holds the values of
// every sample's mask files, none where they cannot be used. Sets the rule of organs with masks of
// their own.
std::vector<MaskSet> organ_mask_sets(Dataset& dataset,
                                     const std::vector<std::vector<MaskValues>>& opened);
// What a rule calls inside, in words, with the values of `files`.
std::string rule_in_words(const MaskRule& rule, const std::vector<MaskValues>& files);

}  // namespace thorax
