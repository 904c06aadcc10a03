// What a trained classifier says of an image:  predict CLASSIFIER.safetensors IMAGE [SEGMENTER]
#include <thorax/thorax.h>

#include <iostream>

int main(int count, char** values) try {
  if (count < 3)
    throw thorax::Error("predict CLASSIFIER.safetensors IMAGE [SEGMENTER.safetensors]");
  thorax::PredictorOptions options{.classifier = {.files = {values[1]}}, .min_area = 0};
  if (count > 3) options.segmenters = {values[3]};
  const thorax::Prediction p = thorax::Predictor(options)(std::string(values[2]));
  std::cout << p.verdict << "\n";
  for (const double probability : p.opinion.probabilities) std::cout << probability << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
