/* The C interface of thorax: what `thorax predict` and `thorax segment` do of one image, for
 * programs in C and for languages that call C (apps/examples/embedding/ has C and Python). Link
 * with -lthorax_c.
 *
 * Functions that return a pointer return NULL on failure, and thorax_last_error() then says why,
 * for the calling thread. Every function may be called from several threads; calls with one
 * predictor or segmenter wait for one another. Texts and pixels that are returned belong to the
 * object that they were asked of and live as long as it. Each object is freed by the function of
 * its name; NULL may be freed. Not for diagnostic use. */
#ifndef THORAX_H
#define THORAX_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define THORAX_C_API __attribute__((visibility("default")))
#else
#define THORAX_C_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a function is added; programs for a version run with every library that gives the
 * same or a higher one. What is incompatible gets another SONAME. */
#define THORAX_API_VERSION 1
THORAX_C_API uint32_t thorax_api_version(void);
/* "0.1.0", of the library. */
THORAX_C_API const char* thorax_version(void);
/* Of the last call of this thread that failed; "" before there was one. */
THORAX_C_API const char* thorax_last_error(void);

typedef struct thorax_predictor thorax_predictor;
typedef struct thorax_prediction thorax_prediction;
typedef struct thorax_segmenter thorax_segmenter;
typedef struct thorax_segmentation thorax_segmentation;

/* `options`: JSON with "classifier" (checkpoints and folders of runs) and, where they are wanted,
 * "segmenter" (checkpoints), "min_area", "threshold", "temperature", "tta", "intensity", "device",
 * "precision": what the options of that name of `thorax predict` are, and the same defaults.
 * Another key is an error. */
THORAX_C_API thorax_predictor* thorax_open_predictor(const char* options);
THORAX_C_API void thorax_free_predictor(thorax_predictor* predictor);
/* `options`: JSON with "model" (checkpoints) and, where they are wanted, "min_area", "postprocess",
 * "tta", "intensity", "device", "precision", as `thorax segment` has them. */
THORAX_C_API thorax_segmenter* thorax_open_segmenter(const char* options);
THORAX_C_API void thorax_free_segmenter(thorax_segmenter* segmenter);

enum thorax_pixel_type {
  THORAX_U8 = 0,
  THORAX_U16 = 1,
  THORAX_I16 = 2,
  THORAX_F32 = 3,
  THORAX_F64 = 4
};

/* Pixels in memory, rows from top to bottom, read as if numpy.save had written them to a file:
 * whole numbers go by the rule that the network was trained with, real numbers from 0 to 1 are
 * brightness. Nothing is to be scaled or normalised before. */
typedef struct thorax_pixels {
  const void* data;
  int32_t height, width, channels; /* 1 gray, 3 RGB */
  int32_t type;                    /* thorax_pixel_type */
  /* Bytes from a row, column or channel to the next; all 0: dense, channels interleaved. */
  int64_t row_step, column_step, channel_step;
} thorax_pixels;

enum thorax_flags { THORAX_HEATMAP = 1 /* predictions: also where the classifier looks */ };

/* An image file; the bytes of one; pixels. `name` is for messages. */
THORAX_C_API thorax_prediction* thorax_predict_file(const thorax_predictor* predictor,
                                                    const char* path, uint32_t flags);
THORAX_C_API thorax_prediction* thorax_predict_bytes(const thorax_predictor* predictor,
                                                     const void* bytes, size_t size,
                                                     const char* name, uint32_t flags);
THORAX_C_API thorax_prediction* thorax_predict_pixels(const thorax_predictor* predictor,
                                                      const thorax_pixels* pixels, const char* name,
                                                      uint32_t flags);
THORAX_C_API void thorax_free_prediction(thorax_prediction* prediction);

/* Classes or findings of the predictor, in the order of the probabilities. */
THORAX_C_API size_t thorax_class_count(const thorax_predictor* predictor);
THORAX_C_API const char* thorax_class_name(const thorax_predictor* predictor, size_t index);

/* The class, the findings, or "rejected". */
THORAX_C_API const char* thorax_prediction_verdict(const thorax_prediction* prediction);
/* As many as there are classes; NULL of a rejected image, without an error. */
THORAX_C_API const double* thorax_prediction_probabilities(const thorax_prediction* prediction);
/* What `thorax predict --json` prints of the image. */
THORAX_C_API const char* thorax_prediction_json(const thorax_prediction* prediction);
/* height x width pixels, 255 inside the lungs, else 0; NULL without a segmenter, and of an image
 * that shows nothing. */
THORAX_C_API const uint8_t* thorax_prediction_lungs(const thorax_prediction* prediction,
                                                    int32_t* height, int32_t* width);
/* height x width pixels from 0 to 1; NULL where none was asked for or the image was rejected. */
THORAX_C_API const float* thorax_prediction_heatmap(const thorax_prediction* prediction,
                                                    int32_t* height, int32_t* width);

THORAX_C_API thorax_segmentation* thorax_segment_file(const thorax_segmenter* segmenter,
                                                      const char* path);
THORAX_C_API thorax_segmentation* thorax_segment_bytes(const thorax_segmenter* segmenter,
                                                       const void* bytes, size_t size,
                                                       const char* name);
THORAX_C_API thorax_segmentation* thorax_segment_pixels(const thorax_segmenter* segmenter,
                                                        const thorax_pixels* pixels,
                                                        const char* name);
THORAX_C_API void thorax_free_segmentation(thorax_segmentation* segmentation);

/* "lungs", or the organs of the checkpoint. */
THORAX_C_API size_t thorax_organ_count(const thorax_segmenter* segmenter);
THORAX_C_API const char* thorax_organ_name(const thorax_segmenter* segmenter, size_t index);
/* height x width pixels, 255 inside the organ, else 0. */
THORAX_C_API const uint8_t* thorax_segmentation_mask(const thorax_segmentation* segmentation,
                                                     size_t organ, int32_t* height, int32_t* width);
/* Why the image was not kept (shows nothing, too little lung), or "". */
THORAX_C_API const char* thorax_segmentation_reason(const thorax_segmentation* segmentation);

#ifdef __cplusplus
}
#endif
#endif
