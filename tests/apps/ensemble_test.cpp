// Several networks, mirror images and temperatures, through predict, explain and segment.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/inference/mirror.h"
#include "data/decode.h"
#include "data/encode.h"
#include "data/image.h"
#include "engine/io/safetensors.h"
#include "engine/stats/temperature.h"
#include "tests/apps/commands.h"
#include "tests/apps/tiny_models.h"

using namespace thorax::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

void fails(const Arguments& arguments, const std::string& wanted, int code = 1) {
  const std::string output = run(arguments, code);
  INFO(output);
  CHECK(output.find(wanted) != std::string::npos);
}
// A tiny classifier whose logits are `factor` times those of the others.
void save_classifier(const std::string& path, float factor, double threshold,
                     std::map<std::string, std::string> more = {}) {
  const auto model = tiny_classifier();
  for (const char* name : {"head.fc2.weight", "head.fc2.bias"})
    thorax::scale_(model->state_dict().at(name), factor);
  std::map<std::string, std::string> metadata{
      {"thorax.input", R"({"task":"classifier","size":32,"view":"whole",)"
                       R"("classes":["normal","covid"],"positive":"covid"})"}};
  metadata["thorax.threshold"] = json{
      {"rule", "youden"},
      {"threshold", threshold},
      {"sensitivity", 0.9},
      {"specificity", 0.8},
      {"images", 10}}.dump();
  more.merge(metadata);
  thorax::save_model(*model, path, more);
}

struct Networks : TemporaryFolder {
  std::string a = *this / "a.safetensors", b = *this / "b.safetensors";
  Networks() {
    run({"data", "phantoms", "--out", *this / "ph", "--patients", "6", "--size", "64",
         "--max-images", "1"});
    save_classifier(a, 100, 0.4);
    save_classifier(b, -300, 0.7, {{"thorax.temperature", R"({"temperature":2.5,"images":40})"}});
    save_tiny_segmenter(*this / "seg.safetensors");
  }
  std::string images() const { return *this / "ph/CXR_png"; }
  json predict(const Arguments& more) const {
    Arguments all{"predict", images(), "--json"};
    all.insert(all.end(), more.begin(), more.end());
    return json::parse(run(all));
  }
};

double p(const json& row) {
  return row.at("probability");
}

}  // namespace

TEST_CASE("several classifiers: means, spread, members and threshold") {
  const Networks n;
  const json one = n.predict({"--classifier", n.a}), two = n.predict({"--classifier", n.b}),
             both = n.predict({"--classifier", n.a, "--classifier", n.b});
  REQUIRE(both.size() == 6);
  // b's threshold is one of its raw probabilities; at its temperature it moves with them.
  const double moved = thorax::tempered(0.7, 2.5);
  for (std::size_t i = 0; i < both.size(); ++i) {
    CHECK(p(one[i]) != p(two[i]));
    CHECK(p(both[i]) == doctest::Approx((p(one[i]) + p(two[i])) / 2).epsilon(1e-14));
    CHECK(both[i]["members"][0]["probability"] == one[i]["probability"]);
    CHECK(both[i]["members"][1]["probability"] == two[i]["probability"]);
    CHECK(both[i]["members"][1]["classifier"] == n.b);
    CHECK(both[i]["spread"].get<double>() ==
          doctest::Approx(std::abs(p(one[i]) - p(two[i])) / std::sqrt(2)).epsilon(1e-12));
    CHECK(both[i]["threshold"].get<double>() == doctest::Approx((0.4 + moved) / 2).epsilon(1e-11));
    CHECK(both[i]["verdict"] ==
          (p(both[i]) >= both[i]["threshold"].get<double>() ? "covid" : "normal"));
    CHECK_FALSE(one[i].contains("members"));
  }
  const std::string text = run({"predict", n.images(), "--classifier", n.a, "--classifier", n.b});
  CHECK(has(text, "ensemble of 2: P is the mean of their probabilities"));
  CHECK(has(text, "b.safetensors  temperature 2.5, threshold"));
  CHECK(has(text, "the mean of the members' thresholds, moved with the calibration"));
  CHECK(has(text, "1 of 2 have one"));
}

TEST_CASE("temperature: the checkpoint's, off or a number; verdicts stay") {
  const Networks n;
  const json raw = n.predict({"--classifier", n.b, "--temperature", "off"}),
             own = n.predict({"--classifier", n.b}),
             four = n.predict({"--classifier", n.b, "--temperature", "4"});
  for (std::size_t i = 0; i < raw.size(); ++i) {
    CHECK(p(own[i]) == doctest::Approx(thorax::tempered(p(raw[i]), 2.5)).epsilon(1e-6));
    CHECK(p(four[i]) == doctest::Approx(thorax::tempered(p(raw[i]), 4)).epsilon(1e-6));
    CHECK(raw[i]["threshold"] == 0.7);
    CHECK(own[i]["verdict"] == raw[i]["verdict"]);
    CHECK(four[i]["verdict"] == raw[i]["verdict"]);
  }
  CHECK(has(run({"predict", n.images(), "--classifier", n.b}),
            "probabilities calibrated: logits divided by 2.5, learnt on 40 validation images"));
  CHECK(has(run({"predict", n.images(), "--classifier", n.b, "--temperature", "off"}),
            "not calibrated (--temperature off)"));
  // A threshold that is given is one of the probabilities that are shown.
  const json stated = n.predict({"--classifier", n.b, "--threshold", "0.5"});
  for (const json& row : stated) CHECK((row["verdict"] == "covid") == (p(row) >= 0.5));
  fails({"predict", n.images(), "--classifier", n.b, "--temperature", "0"}, "neither checkpoint",
        2);
  fails({"predict", n.images(), "--classifier", n.b, "--temperature", "warm"}, "neither checkpoint",
        2);
  // The threshold was found on an image: rounding must not turn the verdict on it.
  const double exact = p(raw[0]);
  save_classifier(n / "edge.safetensors", -300, exact,
                  {{"thorax.temperature", R"({"temperature":2.5,"images":40})"}});
  CHECK(n.predict({"--classifier", n / "edge.safetensors"})[0]["verdict"] == "covid");
}

TEST_CASE("an image and its mirror image: probabilities, masks, heatmaps") {
  const Networks n;
  const fs::path mirrored = n.path() / "mirrored";
  fs::create_directories(mirrored);
  for (const auto& entry : fs::directory_iterator(n.images()))
    thorax::save_image(mirrored / entry.path().filename(),
                       thorax::to_u8(thorax::mirror(thorax::load_gray(entry.path(), {}))));
  const Arguments flip{"--classifier", n.a, "--tta", "flip"};
  const json plain = n.predict({"--classifier", n.a}), both = n.predict(flip);
  const json other = json::parse(run({"predict", mirrored, "--classifier", n.a, "--json"}));
  for (std::size_t i = 0; i < both.size(); ++i)
    CHECK(p(both[i]) == doctest::Approx((p(plain[i]) + p(other[i])) / 2).epsilon(1e-12));
  CHECK(has(run({"predict", n.images(), "--classifier", n.a, "--tta", "flip"}),
            "each image and its mirror image: P is the mean"));
  fails({"predict", n.images(), "--classifier", n.a, "--tta", "rotate"}, "rotate", 2);

  // The mask of the mirror image is the mirror image of the mask.
  const auto segment = [&](const std::string& images, const std::string& out) {
    run({"segment", images, "--model", n / "seg.safetensors", "--tta", "flip", "--min-area", "0",
         "--out", n / out});
  };
  segment(n.images(), "cut");
  segment(mirrored, "cut_mirrored");
  // So is the heatmap, to the rounding of a convolution that sees its rows the other way round.
  const auto explain = [&](const std::string& images, const std::string& out) {
    run({"explain", images, "--classifier", n.a, "--tta", "flip", "--raw", "--layer", "layer1",
         "--class", "positive", "--out", n / out});
  };
  explain(n.images(), "why");
  explain(mirrored, "why_mirrored");
  for (const auto& [one, two, slack] : {std::tuple{"cut/masks", "cut_mirrored/masks", 0.0f},
                                        {"why/maps", "why_mirrored/maps", 2e-4f}}) {
    std::size_t files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(n / one)) {
      if (entry.path().extension() != ".png") continue;
      ++files;
      const fs::path twin = fs::path(n / two) / fs::relative(entry.path(), n / one);
      const thorax::Image a = thorax::load_gray(entry.path(), {}),
                          b = thorax::mirror(thorax::load_gray(twin, {}));
      REQUIRE(a.pixels.size() == b.pixels.size());
      float worst = 0;
      std::size_t differ = 0;
      for (std::size_t i = 0; i < a.pixels.size(); ++i) {
        worst = std::max(worst, std::abs(a.pixels[i] - b.pixels[i]));
        differ += a.pixels[i] != b.pixels[i];
      }
      CAPTURE(differ);
      // A mask's pixel halfway between two of the network's, or of a probability of one half, falls
      // to one side.
      if (slack == 0) {
        CHECK(100 * differ < a.pixels.size());
      } else {
        CHECK(worst <= slack);
      }
    }
    CHECK(files == 6);
  }
}

TEST_CASE("explain with several classifiers: the mean of maps of equal weight") {
  const Networks n;
  // The same network twice, and once with other numbers: its maps count no more for that.
  fs::copy_file(n.a, n / "copy.safetensors");
  const auto maps = [&](const std::string& out, const Arguments& classifiers) {
    Arguments all{"explain", n.images(), "--raw", "--class", "positive",
                  "--layer", "layer1",   "--out", n / out};
    all.insert(all.end(), classifiers.begin(), classifiers.end());
    run(all);
    std::map<std::string, thorax::Image> images;
    for (const auto& entry : fs::directory_iterator(n.path() / out / "maps"))
      images[entry.path().filename()] = thorax::load_gray(entry.path(), {});
    return images;
  };
  const auto one = maps("one", {"--classifier", n.a});
  const auto twice = maps("twice", {"--classifier", n.a, "--classifier", n / "copy.safetensors"});
  REQUIRE(one.size() == 6);
  for (const auto& [name, image] : one)
    for (std::size_t i = 0; i < image.pixels.size(); i += 97)
      CHECK(std::abs(image.pixels[i] - twice.at(name).pixels[i]) < 1e-4f);
  const json summary = json::parse(file_text(n / "twice/summary.json"));
  CHECK(has(summary["notes"].dump(), "ensemble of 2"));
}

TEST_CASE("the folder of a run is its folds; what does not agree is named") {
  const Networks n;
  for (const char* fold : {"fold_0", "fold_1"}) fs::create_directories(n.path() / "run" / fold);
  fs::copy_file(n.a, n / "run/fold_0/model.safetensors");
  fs::copy_file(n.b, n / "run/fold_1/last.safetensors");
  std::ofstream(n / "run/fold_0/result.json") << "{}";
  fails({"predict", n.images(), "--classifier", n / "run"}, "fold_1 is not finished");
  std::ofstream(n / "run/fold_1/result.json") << "{}";
  std::ofstream(n / "run/splits.json") << R"({"folds":[{},{},{}]})";
  fails({"predict", n.images(), "--classifier", n / "run"},
        "of its 3 folds, fold_2 is not finished");
  std::ofstream(n / "run/splits.json") << R"({"folds":[{},{}]})";
  const json folds = n.predict({"--classifier", n / "run"}),
             named = n.predict({"--classifier", n.a, "--classifier", n.b});
  for (std::size_t i = 0; i < folds.size(); ++i) CHECK(p(folds[i]) == p(named[i]));
  fails({"predict", n.images(), "--classifier", n / "ph"}, "holds neither folds nor");
  fails({"predict", n.images(), "--classifier", n.a, "--classifier", n.a}, "is named twice");

  const auto other = [&](const std::string& input) {
    thorax::save_model(*tiny_classifier(), n / "other.safetensors", {{"thorax.input", input}});
    return Arguments{"predict", n.images(),     "--classifier",
                     n.a,       "--classifier", n / "other.safetensors"};
  };
  fails(other(R"({"task":"classifier","size":32,"view":"whole","classes":["normal","flu"]})"),
        "a.safetensors and " + (n / "other.safetensors") +
            ": their classes differ: normal, covid and normal, flu");
  fails(other(R"({"task":"classifier","size":32,"view":"border","classes":["normal","covid"]})"),
        "the views they were trained on differ: whole and border");
  fails({"predict", n.images(), "--classifier", n.a, "--classifier", n / "seg.safetensors"},
        "seg.safetensors: holds a segmenter");
  // Several segmenters: the same one twice is itself.
  fs::copy_file(n / "seg.safetensors", n / "seg2.safetensors");
  run({"segment", n.images(), "--model", n / "seg.safetensors", "--min-area", "0", "--out",
       n / "one"});
  run({"segment", n.images(), "--model", n / "seg.safetensors", "--model", n / "seg2.safetensors",
       "--min-area", "0", "--out", n / "two"});
  for (const auto& entry : fs::recursive_directory_iterator(n.path() / "one/masks"))
    if (entry.is_regular_file())
      CHECK(file_text(entry.path()) ==
            file_text(n.path() / "two/masks" / fs::relative(entry.path(), n / "one/masks")));
}

TEST_CASE("training learns a temperature and carries it to predict") {
  const TemporaryFolder t;
  // Bright against dark, a sixth of them under the wrong name: told apart, but not without an
  // error.
  for (int i = 0; i < 48; ++i) {
    const bool bright = i % 2 == 1, wrong = i % 12 >= 10;
    thorax::Image image(32, 32, 1, bright ? 0.7f : 0.3f);
    for (std::size_t k = 0; k < image.pixels.size(); ++k)
      image.pixels[k] +=
          0.002f * static_cast<float>((k * 7 + static_cast<std::size_t>(i) * 13) % 40);
    const fs::path folder = t.path() / "d" / (bright != wrong ? "positive" : "negative");
    fs::create_directories(folder);
    thorax::save_image(folder / fmt::format("{:02}.png", i), thorax::to_u8(image));
  }
  std::ofstream(t / "narrow.json") << R"({"model": {"model": "resnet18", "in_channels": 1,
    "head": "study", "hidden": [8], "outputs": 1, "layers": [1, 1, 1, 1], "stem": 4, "width": 2}})";
  const std::string text = run({"train",
                                "classifier",
                                "--config",
                                t / "narrow.json",
                                "--data",
                                "folder:" + (t / "d"),
                                "--size",
                                "32",
                                "--epochs",
                                "3",
                                "--batch",
                                "4",
                                "--lr",
                                "0.01",
                                "--augment",
                                "none",
                                "--validation-share",
                                "0.5",
                                "--out",
                                t / "run"});
  const auto metadata = thorax::read_safetensors_header(t / "run/last.safetensors").metadata;
  INFO(text);
  REQUIRE(metadata.contains("thorax.temperature"));
  const json learnt = json::parse(metadata.at("thorax.temperature"));
  CHECK(learnt["nll_after"].get<double>() <= learnt["nll_before"].get<double>());
  CHECK(has(text, fmt::format("temperature {:.4g} of {} validation images",
                              learnt["temperature"].get<double>(), learnt["images"].get<int>())));
  const json result = json::parse(file_text(t / "run/result.json"));
  CHECK(result["temperature"]["temperature"] == learnt["temperature"]);
  CHECK(has(run({"predict", t / "d", "--classifier", t / "run"}),
            fmt::format("logits divided by {:.4g}", learnt["temperature"].get<double>())));
}
