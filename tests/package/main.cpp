// Uses the installed headers and library: a convolution whose provider registered itself, and the
// gradient that the tape finds.
#include <cstdio>
#include <string>

#include "apps/inference/predictor.h"
#include "apps/inference/segmenter.h"
#include "engine/autograd/variable.h"
#include "engine/tensor/tensor.h"
#include "kernels/conv2d/conv2d.h"

int main() {
  using namespace thorax;
  const Variable x(Tensor::full({1, 4, 4, 2}, 1.0));
  const Variable w(Tensor::full({3, 3, 3, 2}, 0.5), true);
  const Variable y = conv2d(x, w, Variable(), {.padding = 1});
  const Tensor seed = Tensor::full(y.shape(), 1.0);
  backward(y, seed);
  // An inner pixel sums 3*3*2 products of 1 * 0.5; a corner of the filter sees 3*3 pixels.
  const float* values = y.value().data<float>();
  const float inner = values[(1 * 4 + 1) * 3];
  const float corner = w.grad().data<float>()[0];
  std::printf("inner %g, corner gradient %g\n", inner, corner);
  // The calls behind `thorax predict` are installed, too.
  std::string error;
  try {
    PredictorOptions options;
    options.classifier.files = {"nowhere.safetensors"};
    const Predictor predictor(options);
  } catch (const Error& caught) {
    error = caught.what();
  }
  std::printf("%s\n", error.c_str());
  const bool named = error.find("nowhere.safetensors") != std::string::npos;
  return inner == 9.0F && corner == 9.0F && named ? 0 : 1;
}
