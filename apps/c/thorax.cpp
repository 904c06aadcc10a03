// The C interface (thorax.h) over apps/inference. No exception leaves it.
#include "apps/c/thorax.h"

#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include "apps/inference/prediction_json.h"
#include "apps/inference/predictor.h"
#include "apps/inference/segmenter.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"
#include "engine/runtime/device.h"
#include "engine/tensor/error.h"

struct thorax_predictor {
  explicit thorax_predictor(const thorax::PredictorOptions& options) : predictor(options) {}
  thorax::Predictor predictor;
};
struct thorax_prediction {
  thorax::Prediction prediction;
  std::string json;
};
struct thorax_segmenter {
  explicit thorax_segmenter(const thorax::SegmenterOptions& options) : segmenter(options) {}
  thorax::Segmenter segmenter;
};
struct thorax_segmentation {
  thorax::Segmentation segmentation;
};

namespace {

using namespace thorax;

thread_local std::string last_error;

void remember(const char* text) noexcept {
  try {
    last_error = text;
  } catch (...) {
    last_error.clear();
  }
}

// What `f` returns, or a null pointer with the error remembered.
template <class F>
auto guarded(const F& f) noexcept -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    remember("[memory] out of memory");
  } catch (const std::exception& error) {
    remember(error.what());
  } catch (...) {
    remember("[internal] an exception of an unknown type");
  }
  return nullptr;
}

template <class T>
const T& given(const T* pointer, const char* what) {
  THORAX_CHECK(pointer != nullptr, "[c] {}: is a null pointer", what);
  return *pointer;
}

ConfigObject parsed(const char* options) {
  return {parse_json(&given(options, "options"), "options"), "options"};
}

Compute compute_of(const ConfigObject& o) {
  const Device device = parse_device(o.text_or("device", "cpu"));
  return {device, parse_precision(o.text_or("precision", "float32"), device)};
}

std::optional<double> number_if_given(const ConfigObject& o, const char* key) {
  return o.has(key) ? std::optional(o.number(key)) : std::nullopt;
}

ImageSource bytes_of(const void* bytes, std::size_t size, const char* name) {
  given(static_cast<const std::uint8_t*>(bytes), "bytes");
  return ImageSource::bytes({static_cast<const std::uint8_t*>(bytes), size}, &given(name, "name"));
}

ImageSource pixels_of(const thorax_pixels* pixels, const char* name) {
  const thorax_pixels& p = given(pixels, "pixels");
  NumberArray array;
  array.data = static_cast<const std::uint8_t*>(p.data);
  array.height = p.height;
  array.width = p.width;
  array.channels = p.channels;
  NumberType& t = array.type;
  switch (p.type) {
    case THORAX_U8:
      break;
    case THORAX_U16:
      t.bytes = 2;
      break;
    case THORAX_I16:
      t.bytes = 2;
      t.is_signed = true;
      break;
    case THORAX_F32:
    case THORAX_F64:
      t.kind = NumberType::Kind::real;
      t.bytes = p.type == THORAX_F32 ? 4 : 8;
      break;
    default:
      fail("[c] pixels: type {} is none of thorax_pixel_type (0 to 4)", p.type);
  }
  if (p.row_step == 0 && p.column_step == 0 && p.channel_step == 0) {
    array.channel_step = t.bytes;
    array.column_step = std::int64_t{t.bytes} * p.channels;
    array.row_step = array.column_step * p.width;
  } else {
    array.row_step = p.row_step;
    array.column_step = p.column_step;
    array.channel_step = p.channel_step;
  }
  return ImageSource::pixels(array, &given(name, "name"));
}

thorax_prediction* predicted(const thorax_predictor* predictor, const ImageSource& source,
                             std::uint32_t flags) {
  const Predictor& p = given(predictor, "predictor").predictor;
  THORAX_CHECK((flags & ~std::uint32_t{THORAX_HEATMAP}) == 0, "[c] flags {}: unknown bits", flags);
  auto result = std::make_unique<thorax_prediction>();
  result->prediction = (flags & THORAX_HEATMAP) != 0 ? p(source, CamOptions()) : p(source);
  result->json = dump_json(to_json(result->prediction, p), 2);
  return result.release();
}

thorax_segmentation* segmented(const thorax_segmenter* segmenter, const ImageSource& source) {
  const Segmenter& s = given(segmenter, "segmenter").segmenter;
  return new thorax_segmentation{s(source)};
}

template <class T>
const T* plane(const Raster<T>& image, int32_t* height, int32_t* width) {
  if (height != nullptr) *height = image.height;
  if (width != nullptr) *width = image.width;
  return image.pixels.data();
}

template <class Names>
const char* name_at(const Names& names, std::size_t index, const char* what) {
  THORAX_CHECK(index < names.size(), "[c] {} {}: there are {}", what, index, names.size());
  return names[index].c_str();
}

}  // namespace

uint32_t thorax_api_version(void) {
  return THORAX_API_VERSION;
}
const char* thorax_version(void) {
  return THORAX_VERSION;
}
const char* thorax_last_error(void) {
  return last_error.c_str();
}

thorax_predictor* thorax_open_predictor(const char* options) {
  return guarded([&] {
    const ConfigObject o = parsed(options);
    PredictorOptions wanted;
    wanted.classifier.files = o.texts_or("classifier", {});
    wanted.classifier.temperature = o.text_or("temperature", "checkpoint");
    wanted.classifier.tta = o.text_or("tta", "none");
    wanted.classifier.intensity = o.text_or("intensity", "");
    wanted.segmenters = o.texts_or("segmenter", {});
    wanted.min_area = o.number_or("min_area", wanted.min_area);
    wanted.threshold = number_if_given(o, "threshold");
    wanted.compute = compute_of(o);
    o.finish();
    return new thorax_predictor(wanted);
  });
}
void thorax_free_predictor(thorax_predictor* predictor) {
  delete predictor;
}

thorax_segmenter* thorax_open_segmenter(const char* options) {
  return guarded([&] {
    const ConfigObject o = parsed(options);
    SegmenterOptions wanted;
    wanted.checkpoints = o.texts_or("model", {});
    wanted.tta = o.text_or("tta", "none");
    wanted.intensity = o.text_or("intensity", "");
    wanted.min_area = number_if_given(o, "min_area");
    wanted.postprocess = parse_postprocess(o.text_or("postprocess", "auto"));
    wanted.compute = compute_of(o);
    o.finish();
    return new thorax_segmenter(wanted);
  });
}
void thorax_free_segmenter(thorax_segmenter* segmenter) {
  delete segmenter;
}

thorax_prediction* thorax_predict_file(const thorax_predictor* predictor, const char* path,
                                       uint32_t flags) {
  return guarded([&] { return predicted(predictor, &given(path, "path"), flags); });
}
thorax_prediction* thorax_predict_bytes(const thorax_predictor* predictor, const void* bytes,
                                        size_t size, const char* name, uint32_t flags) {
  return guarded([&] { return predicted(predictor, bytes_of(bytes, size, name), flags); });
}
thorax_prediction* thorax_predict_pixels(const thorax_predictor* predictor,
                                         const thorax_pixels* pixels, const char* name,
                                         uint32_t flags) {
  return guarded([&] { return predicted(predictor, pixels_of(pixels, name), flags); });
}
void thorax_free_prediction(thorax_prediction* prediction) {
  delete prediction;
}

size_t thorax_class_count(const thorax_predictor* predictor) {
  return predictor == nullptr ? 0 : predictor->predictor.classifier().classes().size();
}
const char* thorax_class_name(const thorax_predictor* predictor, size_t index) {
  return guarded([&] {
    return name_at(given(predictor, "predictor").predictor.classifier().classes(), index, "class");
  });
}

const char* thorax_prediction_verdict(const thorax_prediction* prediction) {
  return guarded([&] { return given(prediction, "prediction").prediction.verdict.c_str(); });
}
const double* thorax_prediction_probabilities(const thorax_prediction* prediction) {
  return guarded([&]() -> const double* {
    const Prediction& p = given(prediction, "prediction").prediction;
    return p.predicted ? p.opinion.probabilities.data() : nullptr;
  });
}
const char* thorax_prediction_json(const thorax_prediction* prediction) {
  return guarded([&] { return given(prediction, "prediction").json.c_str(); });
}
const uint8_t* thorax_prediction_lungs(const thorax_prediction* prediction, int32_t* height,
                                       int32_t* width) {
  return guarded([&]() -> const uint8_t* {
    const Prediction& p = given(prediction, "prediction").prediction;
    return p.lungs ? plane(p.lungs->mask, height, width) : nullptr;
  });
}
const float* thorax_prediction_heatmap(const thorax_prediction* prediction, int32_t* height,
                                       int32_t* width) {
  return guarded([&]() -> const float* {
    const Prediction& p = given(prediction, "prediction").prediction;
    return p.heatmap ? plane(p.heatmap->map, height, width) : nullptr;
  });
}

thorax_segmentation* thorax_segment_file(const thorax_segmenter* segmenter, const char* path) {
  return guarded([&] { return segmented(segmenter, &given(path, "path")); });
}
thorax_segmentation* thorax_segment_bytes(const thorax_segmenter* segmenter, const void* bytes,
                                          size_t size, const char* name) {
  return guarded([&] { return segmented(segmenter, bytes_of(bytes, size, name)); });
}
thorax_segmentation* thorax_segment_pixels(const thorax_segmenter* segmenter,
                                           const thorax_pixels* pixels, const char* name) {
  return guarded([&] { return segmented(segmenter, pixels_of(pixels, name)); });
}
void thorax_free_segmentation(thorax_segmentation* segmentation) {
  delete segmentation;
}

size_t thorax_organ_count(const thorax_segmenter* segmenter) {
  return segmenter == nullptr ? 0 : segmenter->segmenter.organs().organs.size();
}
const char* thorax_organ_name(const thorax_segmenter* segmenter, size_t index) {
  return guarded([&] {
    return name_at(given(segmenter, "segmenter").segmenter.organs().organs, index, "organ");
  });
}
const uint8_t* thorax_segmentation_mask(const thorax_segmentation* segmentation, size_t organ,
                                        int32_t* height, int32_t* width) {
  return guarded([&]() -> const uint8_t* {
    const Segmentation& s = given(segmentation, "segmentation").segmentation;
    THORAX_CHECK(organ < s.organs.size(), "[c] organ {}: there are {}", organ, s.organs.size());
    return plane(s.organs[organ].mask, height, width);
  });
}
const char* thorax_segmentation_reason(const thorax_segmentation* segmentation) {
  return guarded([&] { return given(segmentation, "segmentation").segmentation.reason.c_str(); });
}
