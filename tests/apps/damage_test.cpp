// Damaged, foreign and senseless files of weights, through every command that reads them.
#include <doctest/doctest.h>

#include <fstream>

#include "engine/io/safetensors.h"
#include "tests/apps/commands.h"
#include "tests/apps/tiny_models.h"
#include "tests/support/places.h"
#include "tests/support/zip_writer.h"

using namespace thorax::test;

namespace {

void says(const Arguments& arguments, const std::string& wanted, int code = 1) {
  const Outcome outcome = run_thorax(arguments);
  INFO(outcome.output);
  CHECK(outcome.exit_code == code);
  CHECK(outcome.output.find(wanted) != std::string::npos);
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

struct Files : TemporaryFolder {
  Files() {
    REQUIRE(run_thorax({"data", "phantoms", "--out", *this / "ph", "--patients", "10", "--size",
                        "64", "--max-images", "1"})
                .exit_code == 0);
    save_tiny_segmenter(*this / "seg.safetensors");
    save_tiny_classifier(*this / "cls.safetensors");
  }
  std::string images() const { return *this / "ph/CXR_png"; }
  // The same file with one bit of its last weights flipped.
  std::string damaged(const std::string& name) const {
    std::string bytes = file_text(*this / name);
    bytes[bytes.size() - 3] = static_cast<char>(bytes[bytes.size() - 3] ^ 16);
    const std::string path = *this / ("bad_" + name);
    write_text(path, bytes);
    return path;
  }
};

}  // namespace

TEST_CASE("every command refuses damaged weights, by name") {
  const Files f;
  const std::string segmenter = f / "seg.safetensors", classifier = f / "cls.safetensors";
  const std::string bad_segmenter = f.damaged("seg.safetensors"),
                    bad_classifier = f.damaged("cls.safetensors");
  const std::string damaged = ": checksum ";
  says({"predict", f.images(), "--classifier", bad_classifier}, "bad_cls.safetensors" + damaged);
  says({"predict", f.images(), "--classifier", classifier, "--segmenter", bad_segmenter},
       "bad_seg.safetensors" + damaged);
  says({"segment", f.images(), "--model", bad_segmenter, "--out", f / "cut"},
       "bad_seg.safetensors" + damaged);
  says({"explain", f.images(), "--classifier", bad_classifier, "--out", f / "why"},
       "bad_cls.safetensors" + damaged);
  says({"weights", "show", bad_classifier}, "bad_cls.safetensors" + damaged);
  says({"weights", "convert", bad_segmenter, "--model", "unet", "--out", f / "x.safetensors"},
       "bad_seg.safetensors" + damaged);
  says({"train", "segmenter", "--data", "shenzhen:" + (f / "ph"), "--size", "32", "--epochs", "1",
        "--width", "2", "--weights", bad_segmenter, "--out", f / "run"},
       "bad_seg.safetensors" + damaged);

  // Class names that change places keep every length: only the checksum can tell.
  std::string bytes = file_text(classifier);
  const std::string before = R"(\"normal\",\"covid\")", after = R"(\"covid\",\"normal\")";
  bytes.replace(bytes.find(before), before.size(), after);
  write_text(f / "swapped.safetensors", bytes);
  says({"predict", f.images(), "--classifier", f / "swapped.safetensors"},
       "swapped.safetensors" + damaged);
  // A letter that changes makes the entry contradict itself; the cause is the damage all the same.
  auto metadata = classifier_metadata();
  std::string& input = metadata.at("thorax.input");
  input.insert(input.size() - 1, R"(,"positive":"covid")");
  thorax::save_model(*tiny_classifier(), f / "named.safetensors", metadata);
  bytes = file_text(f / "named.safetensors");
  for (const char* name : {R"(\"covid\"])", R"(\"classifier\")", R"(\"whole\")"}) {
    CAPTURE(name);
    std::string changed = bytes;
    const std::size_t at = changed.find(name);
    REQUIRE(at != std::string::npos);
    changed[at + 3] = static_cast<char>(changed[at + 3] ^ 1);
    write_text(f / "letter.safetensors", changed);
    for (const char* command : {"predict", "explain"})
      says({command, f.images(), "--classifier", f / "letter.safetensors", "--out", f / "why"},
           "letter.safetensors" + damaged);
  }
  // What is whole goes through, and what `convert` writes has a checksum.
  says({"predict", f.images(), "--classifier", classifier, "--segmenter", segmenter, "--min-area",
        "0"},
       "P(covid)", 0);
  says({"weights", "show", classifier}, "checksum: correct", 0);
}

TEST_CASE("files of others are taken, with a line where damage could not be noticed") {
  const Files f;
  const auto model = tiny_classifier();
  std::map<std::string, std::string> metadata = classifier_metadata();
  metadata.merge(thorax::model_metadata(*model));
  thorax::write_safetensors(f / "plain.safetensors", model->state_dict(), metadata,
                            thorax::FileOrder::pytorch);
  says({"predict", f.images(), "--classifier", f / "plain.safetensors"},
       "plain.safetensors has no checksum", 0);
  says({"weights", "show", f / "plain.safetensors"}, "checksum: none", 0);
}

TEST_CASE("weights and logits that are not finite end in an error, not in a verdict") {
  const Files f;
  const auto model = tiny_classifier();
  const thorax::StateDict state = model->state_dict();
  float* head = state.at("head.fc1.weight").data<float>();
  const float before = head[0];
  head[0] = std::nanf("");
  thorax::save_model(*model, f / "nan.safetensors", classifier_metadata());
  says({"predict", f.images(), "--classifier", f / "nan.safetensors"},
       "'head.fc1.weight' has values that are not finite");
  head[0] = before;
  // Finite weights whose products are not.
  for (const char* name : {"head.fc1.weight", "head.fc1.bias", "head.fc2.weight"})
    state.at(name).copy_from(thorax::Tensor::full(state.at(name).shape(), 3e38));
  thorax::save_model(*model, f / "large.safetensors", classifier_metadata());
  says({"predict", f.images(), "--classifier", f / "large.safetensors"},
       "the network's output is not finite");
  says({"explain", f.images(), "--classifier", f / "large.safetensors", "--out", f / "why"},
       "output is not finite");
}

TEST_CASE("what a file says of its input is checked") {
  const Files f;
  for (const auto& [size, wanted] : {std::pair{"33.7", "size: the number 33.7 instead of a whole"},
                                     {"1e300", "instead of a whole number"},
                                     {"0", "size: 0 is not within 8..8192"},
                                     {"\"32\"", "instead of a whole number"}}) {
    CAPTURE(size);
    save_tiny_classifier(f / "odd.safetensors", size);
    says({"predict", f.images(), "--classifier", f / "odd.safetensors"}, wanted);
  }
  says({"predict", f.images(), "--classifier", f / "seg.safetensors"},
       "holds a segmenter, not a classifier");
  write_text(f / "lfs.safetensors",
             "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n");
  says({"predict", f.images(), "--classifier", f / "lfs.safetensors"}, "is a Git LFS pointer");
  write_text(f / "net.pth", std::string("PK\x03\x04", 4) + std::string(100, 'x'));
  says({"weights", "convert", f / "net.pth", "--model", "resnet18", "--out", f / "x"},
       "a zip archive without its directory at the end");
  write_text(f / "net.zip", make_zip({{"weights.bin", "x"}}));
  says({"train", "segmenter", "--data", "shenzhen:" + (f / "ph"), "--size", "32", "--epochs", "1",
        "--width", "2", "--weights", f / "net.zip", "--out", f / "run"},
       "net.zip: is a zip archive without NAME/data.pkl");
  // Weights alone do not say what they are to be shown.
  says({"predict", f.images(), "--classifier",
        thorax::test::source_folder() / "tests/golden/pytorch/checkpoint.pth"},
       "thorax weights convert");
}

TEST_CASE("weights show lists types and ranks that nothing here computes with") {
  const TemporaryFolder t;
  const std::string header =
      R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},)"
      R"("b":{"dtype":"F8_E4M3","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[2,4]}})";
  const std::uint64_t length = header.size();
  write_text(t / "odd.safetensors",
             std::string(reinterpret_cast<const char*>(&length), 8) + header + "1234");
  says({"weights", "show", t / "odd.safetensors"}, "1x1x1x1x1x1x1x1x2", 0);
  says({"weights", "show", t / "odd.safetensors"}, "f8_e4m3", 0);
  says({"weights", "convert", t / "odd.safetensors", "--model", "unet", "--out", t / "x"},
       "tensor 'a': I8 is no type");
}

TEST_CASE("training goes on from the program's own checkpoint and from wrapped weights") {
  const Files f;
  const Arguments train{"train",   "segmenter", "--data",   "shenzhen:" + (f / "ph"),
                        "--size",  "32",        "--width",  "2",
                        "--batch", "2",         "--epochs", "1"};
  const auto with = [&](const Arguments& more) {
    Arguments all = train;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  says(with({"--out", f / "first"}), "checkpoint: ", 0);
  says(with({"--weights", f / "first/last.safetensors", "--out", f / "second"}),
       "of the same task and classes: its head is taken over", 0);
  thorax::StateDict wrapped, twice;
  for (const auto& [name, tensor] :
       thorax::load_model(f / "first/best.safetensors")->state_dict()) {
    wrapped["module." + name] = tensor;
    twice["model." + name] = twice["ema." + name] = tensor;
  }
  thorax::save_weights(f / "wrapped.safetensors", wrapped);
  says(with({"--weights", f / "wrapped.safetensors", "--out", f / "third"}),
       "without their prefix 'module.'", 0);
  thorax::save_weights(f / "twice.safetensors", twice);
  says(with({"--weights", f / "twice.safetensors", "--out", f / "fourth"}),
       "under the prefixes ema., model.");
}
