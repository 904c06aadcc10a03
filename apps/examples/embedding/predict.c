/* What thorax says of an image, in C:
 *   gcc predict.c -lthorax_c -o predict
 *   ./predict '{"classifier": ["runs/kfold"]}' image.png */
#include <inttypes.h>
#include <stdio.h>
#include <thorax.h>

static int failed(const char* what) {
  fprintf(stderr, "%s: %s\n", what, thorax_last_error());
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s OPTIONS IMAGE\n", argv[0]);
    return 2;
  }
  if (thorax_api_version() < THORAX_API_VERSION) {
    fprintf(stderr, "thorax %s is older than this program wants\n", thorax_version());
    return 1;
  }
  thorax_predictor* predictor = thorax_open_predictor(argv[1]);
  if (predictor == NULL) return failed("open");
  thorax_prediction* prediction = thorax_predict_file(predictor, argv[2], 0);
  if (prediction == NULL) {
    thorax_free_predictor(predictor);
    return failed(argv[2]);
  }
  printf("%s\n", thorax_prediction_verdict(prediction));
  const double* probabilities = thorax_prediction_probabilities(prediction);
  for (size_t i = 0; probabilities != NULL && i < thorax_class_count(predictor); ++i)
    printf("P(%s) %.17g\n", thorax_class_name(predictor, i), probabilities[i]);
  int32_t height = 0, width = 0;
  const uint8_t* lungs = thorax_prediction_lungs(prediction, &height, &width);
  if (lungs != NULL) {
    size_t inside = 0;
    for (size_t i = 0; i < (size_t)height * (size_t)width; ++i) inside += lungs[i] != 0;
    printf("lungs: %zu of %" PRId32 " x %" PRId32 " pixels\n", inside, width, height);
  }
  thorax_free_prediction(prediction);
  thorax_free_predictor(predictor);
  return 0;
}
