// Networks that look at an image which a browser or program sends.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "apps/inference/predictor.h"
#include "apps/inference/segmenter.h"
#include "apps/serve/http.h"
#include "apps/serve/work_queue.h"

namespace thorax::app {

// What looks: a predictor, or a segmenter alone.
struct Viewers {
  std::unique_ptr<Predictor> predictor;
  std::unique_ptr<Segmenter> segmenter;
};

// The names of pictures that can be asked for: radiograph; with a segmenter mask (0 and 255; organs
// by softmax: their values; by sigmoid mask/ORGAN), overlay, and of lungs probability (0..1 as
// 0..255); with a classifier heatmap (on the radiograph) and map (16 bit, 65535 = its maximum).
std::vector<std::string> picture_names(const Viewers& viewers);
// {"classifier", "segmenter", "classes", "organs", "lines", "pictures"}: for people who open the
// page.
nlohmann::ordered_json describe(const Viewers& viewers);

// POST /api/predict?name=NAME&pictures=NAME,...&side=PIXELS
//   body: the bytes of an image file, or a form with it
//   {"prediction": what `thorax predict --json` prints of the file} or, of a segmenter alone,
//   {"segmentation": {"image", "organs": [{"organ", "pixels", "area_512", "regions"}], "kept",
//   "reason", "notes"}}; "pictures": {NAME: PNG in base64}, scaled down where a side is longer than
//   `side` (never when it is not given); "seconds" that computing took
// Files over 64 MiB are refused with 413, what cannot be read as an image of at most 36 megapixels
// with 422. Everything is computed in the thread of `work`.
std::vector<HttpRoute> image_routes(const Viewers& viewers, WorkQueue& work);

}  // namespace thorax::app
