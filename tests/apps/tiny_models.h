// Untrained networks in files as training writes them, for tests of what is around them.
#pragma once

#include <string>

#include "models/factory.h"

namespace thorax::test {

inline void save_tiny_segmenter(const std::string& path) {
  const auto model = create_model({{"model", "unet"}, {"width", 2}, {"depth", 1}}, 3);
  save_model(*model, path,
             {{"thorax.input", R"({"task":"segmenter","size":32,"view":"whole","classes":[]})"}});
}

// Of lungs and heart: a label map by softmax, or a sigmoid each.
inline void save_tiny_organs(const std::string& path, bool softmax) {
  const auto model = create_model(
      {{"model", "unet"}, {"width", 2}, {"depth", 1}, {"out_channels", softmax ? 3 : 2}}, 3);
  const std::string activation = softmax ? "softmax" : "sigmoid";
  save_model(*model, path,
             {{"thorax.input",
               R"({"task":"segmenter","size":32,"view":"whole","classes":["non-COVID","COVID-19"],)"
               R"("organs":["lungs","heart"],"values":[1,2],"activation":")" +
                   activation + "\"}"}});
}

inline std::unique_ptr<Model> tiny_classifier(std::uint64_t seed = 3) {
  return create_model({{"model", "resnet18"},
                       {"in_channels", 1},
                       {"head", "study"},
                       {"outputs", 1},
                       {"hidden", {4}},
                       {"layers", {1, 1, 1, 1}},
                       {"stem", 4},
                       {"width", 2}},
                      seed);
}

// "SIZE" stands in `input` as text, so that a test can write nonsense.
inline std::map<std::string, std::string> classifier_metadata(const std::string& size = "32") {
  return {{"thorax.input", R"({"task":"classifier","size":)" + size +
                               R"(,"view":"whole","classes":["normal","covid"]})"}};
}

inline void save_tiny_classifier(const std::string& path, const std::string& size = "32") {
  save_model(*tiny_classifier(), path, classifier_metadata(size));
}

}  // namespace thorax::test
