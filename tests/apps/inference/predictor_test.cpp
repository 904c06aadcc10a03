// The calls against the commands that are made of them, and against the same image given as a file,
// as bytes and as pixels.
#include "apps/inference/predictor.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "apps/inference/prediction_json.h"
#include "apps/inference/segmenter.h"
#include "data/encode.h"
#include "data/phantom.h"
#include "engine/io/atomic_file.h"
#include "models/grad_cam.h"
#include "tests/apps/tiny_models.h"
#include "tests/support/program.h"

using namespace thorax;
using namespace thorax::test;

namespace {

template <class F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

CamOptions explaining(std::int64_t target, const std::string& layer = "") {
  CamOptions options;
  options.target = target;
  options.layer = layer;
  return options;
}

struct Networks : TemporaryFolder {
  std::string classifier = *this / "covid.safetensors", segmenter = *this / "lungs.safetensors",
              organs = *this / "organs.safetensors", image = *this / "image.png",
              blank = *this / "blank.png";
  ImageU8 pixels{48, 40};
  Networks() {
    std::map<std::string, std::string> metadata = classifier_metadata();
    metadata["thorax.temperature"] = R"({"temperature":0.5,"images":10})";
    metadata["thorax.threshold"] =
        R"({"rule":"youden","threshold":0.4,"sensitivity":0.9,"specificity":0.8,"images":10})";
    save_model(*tiny_classifier(), classifier, metadata);
    save_tiny_segmenter(segmenter);
    save_tiny_organs(organs, false);
    for (std::size_t i = 0; i < pixels.pixels.size(); ++i)
      pixels.pixels[i] = static_cast<std::uint8_t>((i * 37 + i / 40 * 11) % 251);
    save_image(image, pixels);
    save_image(blank, ImageU8(48, 40, 1, 7));
  }
  PredictorOptions options() const {
    return {.classifier = {.files = {classifier}}, .segmenters = {segmenter}, .min_area = 0};
  }
};

NumberArray array_of(const ImageU8& image) {
  NumberArray array;
  array.data = image.pixels.data();
  array.height = image.height;
  array.width = image.width;
  array.row_step = image.width;
  array.column_step = 1;
  array.channel_step = 1;
  return array;
}

}  // namespace

TEST_CASE("Predictor gives what thorax predict prints, to the bit") {
  const Networks n;
  const Predictor predictor(n.options());
  for (const std::string& image : {n.image, n.blank}) {
    const Outcome outcome =
        run_thorax({"predict", image, "--segmenter", n.segmenter, "--classifier", n.classifier,
                    "--min-area", "0", "--json", "-q"});
    INFO(outcome.output);
    REQUIRE(outcome.exit_code == 0);
    CHECK(nlohmann::ordered_json::parse(outcome.output).at(0) ==
          to_json(predictor(image), predictor));
  }
  CHECK(predictor(n.blank).verdict == "rejected");
  CHECK(has(predictor(n.blank).reason, "shows nothing"));
  CHECK(predictor(n.image).lungs->mask.height == 48);
}

TEST_CASE("a file, its bytes and its pixels are one image") {
  const Networks n;
  const Predictor predictor(n.options());
  const Prediction file = predictor(n.image);
  const std::string content = read_file(n.image, 1 << 20);
  const Prediction bytes = predictor(ImageSource::bytes(
      {reinterpret_cast<const std::uint8_t*>(content.data()), content.size()}, "bytes"));
  const Prediction pixels = predictor(ImageSource::pixels(array_of(n.pixels), "pixels"));
  for (const Prediction& other : {bytes, pixels}) {
    CHECK(other.opinion.probabilities == file.opinion.probabilities);
    CHECK(other.lungs->mask.pixels == file.lungs->mask.pixels);
    CHECK(other.gray.pixels == file.gray.pixels);
  }
  // Turned by 180 degrees by its steps alone: another image.
  NumberArray turned = array_of(n.pixels);
  turned.data += n.pixels.pixels.size() - 1;
  turned.row_step = -turned.row_step;
  turned.column_step = -1;
  const Prediction other = predictor(ImageSource::pixels(turned, "turned"));
  CHECK(std::equal(other.gray.pixels.begin(), other.gray.pixels.end(), file.gray.pixels.rbegin()));
}

TEST_CASE("a heatmap comes with the prediction and leaves it as it is") {
  const Networks n;
  const Predictor predictor(n.options());
  const Prediction alone = predictor(n.image), with = predictor(n.image, explaining(1));
  CHECK(with.opinion.probabilities == alone.opinion.probabilities);
  CHECK(!alone.heatmap);
  REQUIRE(with.heatmap);
  CHECK(with.heatmap->map.height == 48);
  CHECK(with.heatmap->map.width == 40);
  CHECK(with.heatmap->explained == 1);
  CHECK(!predictor(n.blank, CamOptions{}).heatmap);
  CHECK(has(error_of([&] { predictor(n.image, explaining(1, "nowhere")); }), "no layer 'nowhere'"));
  CHECK(has(error_of([&] { predictor(n.image, explaining(2)); }), "has 2 classes"));
}

TEST_CASE("threads that share a predictor get what one gets") {
  const Networks n;
  const Predictor predictor(n.options());
  const std::vector<double> alone = predictor(n.image).opinion.probabilities;
  std::vector<int> equal(4);
  std::vector<std::thread> threads;
  for (int& mine : equal)
    threads.emplace_back([&] {
      for (int i = 0; i < 3; ++i)
        mine += predictor(n.image, CamOptions{}).opinion.probabilities == alone;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(equal == std::vector<int>{3, 3, 3, 3});
}

TEST_CASE("Predictor refuses options that are none") {
  const Networks n;
  const auto refused = [&](const auto& change) {
    PredictorOptions options = n.options();
    change(options);
    return error_of([&] { const Predictor predictor(options); });
  };
  CHECK(has(refused([](auto& o) { o.classifier.files = {}; }), "no classifier"));
  CHECK(has(refused([](auto& o) { o.classifier.tta = "turn"; }), "neither none nor flip"));
  CHECK(has(refused([](auto& o) { o.classifier.temperature = "warm"; }), "temperature 'warm'"));
  CHECK(has(refused([](auto& o) { o.classifier.temperature = "nan"; }), "temperature 'nan'"));
  CHECK(has(refused([](auto& o) { o.classifier.intensity = "loud"; }), "'loud' is none of"));
  CHECK(has(refused([](auto& o) { o.threshold = 1.5; }), "threshold 1.5"));
  CHECK(has(refused([](auto& o) { o.min_area = -1; }), "min_area -1"));
  CHECK(has(refused([&](auto& o) { o.segmenters = {n.classifier}; }), "not a segmenter"));
  ImageU8 none;
  CHECK(has(error_of([&] { ImageSource::pixels(array_of(none), "none"); }), "0x0 pixels"));
}

TEST_CASE("Segmenter gives what thorax segment writes") {
  const Networks n;
  const Segmenter lungs({.checkpoints = {n.segmenter}, .min_area = 0});
  CHECK(lungs.organs().organs == std::vector<std::string>{"lungs"});
  const Segmentation found = lungs(n.image);
  const std::string out = n / "cut";
  REQUIRE(run_thorax({"segment", n.image, "--model", n.segmenter, "--min-area", "0", "--out", out})
              .exit_code == 0);
  CHECK(found.organs.at(0).mask.pixels == to_u8(load_gray(out + "/masks/image.png")).pixels);
  CHECK(!lungs(n.blank).kept);
  CHECK(has(lungs(n.blank).reason, "shows nothing"));

  const Segmenter several({.checkpoints = {n.organs}});
  const Segmentation both = several(n.image);
  REQUIRE(both.organs.size() == 2);
  const std::string out2 = n / "organs";
  REQUIRE(run_thorax({"segment", n.image, "--model", n.organs, "--out", out2}).exit_code == 0);
  for (std::size_t k = 0; k < 2; ++k)
    CHECK(both.organs[k].mask.pixels ==
          to_u8(load_gray(out2 + "/masks/" + several.organs().organs[k] + "/image.png")).pixels);
  CHECK(has(error_of([&] { const Segmenter s({.checkpoints = {n.organs}, .min_area = 1}); }),
            "--min-area rejects"));
}
