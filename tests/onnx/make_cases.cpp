// Writes a folder of networks as ONNX files, each with an input and what this program computes from
// it: NAME.onnx, and NAME.safetensors with "image" N x C x H x W, "logits", "probability", and
// "reference", the logits by the providers that keep to the definition. compare.py runs the files
// by onnxruntime.
#include <fmt/format.h>

#include <cmath>
#include <exception>

#include "bench/peers/hashfill.h"
#include "engine/io/atomic_file.h"
#include "engine/io/safetensors.h"
#include "engine/registry/registry.h"
#include "models/factory.h"
#include "models/onnx/export.h"
#include "models/onnx/import.h"
#include "tests/models/support.h"

namespace {

using namespace thorax;

Tensor transposed(const Tensor& x) {
  return x.rank() == 4 ? nhwc_to_nchw(x) : x.to_contiguous();
}

Tensor logits_of(const Model& model, const Tensor& input) {
  const NoGrad no_grad;
  return model.forward(Variable(input)).value().clone();
}

// Along the last axis, in double.
Tensor probabilities(const Tensor& logits, onnx::Activation activation) {
  const Tensor result = logits.clone();
  const std::int64_t channels = logits.channels();
  for (std::int64_t pixel = 0; pixel < logits.pixels(); ++pixel) {
    float* values = result.data<float>() + pixel * channels;
    double sum = 0;
    for (std::int64_t c = 0; c < channels; ++c) sum += std::exp(static_cast<double>(values[c]));
    for (std::int64_t c = 0; c < channels; ++c) {
      const double e = std::exp(static_cast<double>(values[c]));
      values[c] =
          static_cast<float>(activation == onnx::Activation::softmax ? e / sum : e / (1 + e));
    }
  }
  return result;
}

void write_case(const std::filesystem::path& folder, const std::string& name,
                const nlohmann::json& config, onnx::Activation activation, bool preprocess) {
  const std::unique_ptr<Model> model = create_model(config);
  hashfill::fill(*model);
  test::unsettle(*model);
  model->eval();
  onnx::ExportOptions options{.channels = model->config().at("in_channels"),
                              .height = 64,
                              .width = 96,
                              .activation = activation,
                              .preprocess = preprocess,
                              .mean = 0.5,
                              .deviation = 0.25,
                              .metadata = {{"classes", "[\"a\", \"b\"]"}},
                              .producer_version = "test"};
  const onnx::Exported exported = onnx::export_model(*model, options);
  atomic_write(folder / (name + ".onnx"), exported.bytes);

  const std::int64_t channels = preprocess ? 1 : options.channels;
  const Tensor image = hashfill::uniform("image", {2, 64, 96, channels}, 0.5);
  Tensor input = image;
  if (preprocess) {
    input = Tensor::empty({2, 64, 96, options.channels});
    for (std::int64_t i = 0; i < image.numel(); ++i) {
      image.data<float>()[i] += 0.5f;
      for (std::int64_t c = 0; c < options.channels; ++c)
        input.data<float>()[i * options.channels + c] = (image.data<float>()[i] - 0.5f) / 0.25f;
    }
  }
  const Tensor logits = logits_of(*model, input);
  Tensor reference;
  {
    const ProviderScope conv2d("conv2d", "reference"), transpose("conv_transpose2d", "reference"),
        linear("linear", "reference");
    reference = logits_of(*model, input);
  }
  write_safetensors(folder / (name + ".safetensors"),
                    {{"image", transposed(image)},
                     {"logits", transposed(logits)},
                     {"probability", transposed(probabilities(logits, activation))},
                     {"reference", transposed(reference)}});
  fmt::print("{}: {} bytes\n", name, exported.bytes.size());
}

void write_cases(const std::filesystem::path& folder) {
  using enum onnx::Activation;
  const auto classifier = [](const char* name, std::int64_t outputs) {
    return nlohmann::json{
        {"model", name}, {"in_channels", 1}, {"head", "study"}, {"outputs", outputs}};
  };
  create_folders(folder);
  write_case(folder, "unet", {{"model", "unet"}, {"width", 8}}, sigmoid, true);
  write_case(folder, "unet_organs", {{"model", "unet"}, {"width", 4}, {"out_channels", 3}}, softmax,
             false);
  write_case(folder, "hrnet_w18", classifier("hrnet_w18", 1), sigmoid, true);
  write_case(folder, "resnet50", classifier("resnet50", 3), softmax, true);
  write_case(folder, "densenet121", classifier("densenet121", 1), sigmoid, false);
  for (auto [name, config] : {std::pair{"tiny_hrnet", test::tiny_hrnet()},
                              {"tiny_resnet", test::tiny_resnet("basic")},
                              {"tiny_densenet", test::tiny_densenet()}})
    write_case(folder, name, config, softmax, true);  // three input channels
}

// What the networks NAME.onnx of a folder compute from the image in NAME.safetensors:
// NAME.thorax.safetensors.
void run_cases(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".onnx") continue;
    const onnx::Imported network = onnx::import_model(entry.path());
    std::filesystem::path input = entry.path(), output = entry.path();
    const SafetensorsFile given =
        read_safetensors(input.replace_extension(".safetensors"), FileOrder::pytorch);
    const Tensor logits = logits_of(*network.model, given.tensors.at("image"));
    write_safetensors(output.replace_extension(".thorax.safetensors"),
                      {{"logits", transposed(logits)}});
  }
}

}  // namespace

int main(int count, char** values) {
  try {
    const bool run = count == 3 && std::string(values[1]) == "--run";
    if (count != 2 && !run) {
      fmt::print(stderr, "usage: onnx_cases FOLDER | onnx_cases --run FOLDER\n");
      return 2;
    }
    if (run) {
      run_cases(values[2]);
    } else {
      write_cases(values[1]);
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
