#include "engine/train/provenance.h"

#include <doctest/doctest.h>

#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace thorax;
using nlohmann::json;

TEST_CASE("every start has its entry, and finds the one before") {
  test::TempFolder t;
  const auto path = t / "provenance.json";
  const auto silent = [](const std::string& text) { FAIL(text); };
  const RunHistory first(path, provenance(), silent);
  CHECK(first.previous().is_null());
  const RunHistory second(path, {{"device", "sim"}}, silent);
  CHECK(second.previous().at("device") == "cpu");
  first.note("fold_seconds", "fold_0", 2.5);
  second.note("fold_seconds", "fold_1", 3);
  second.note("fold_seconds", "fold_2", 4);
  const json history = load_json(path);
  REQUIRE(history.size() == 2);
  CHECK(history[0].at("fold_seconds") == json{{"fold_0", 2.5}});
  CHECK(history[1].at("fold_seconds") == json{{"fold_1", 3}, {"fold_2", 4}});
  for (const char* key : {"time", "thorax", "commit", "compiler", "processor", "threads", "device"})
    CHECK_MESSAGE(history[0].contains(key), key);
}

TEST_CASE("a history that is none is kept aside, with a line, and blocks nothing") {
  for (const char* text : {"", "{\"time\"", "{}", "[1, 2]"}) {
    test::TempFolder t;
    const auto path = t / "provenance.json";
    atomic_write(path, std::string_view(text));
    std::string told;
    const RunHistory history(path, {{"device", "cpu"}},
                             [&](const std::string& message) { told += message; });
    CHECK(told.find("provenance.json: ") != std::string::npos);
    CHECK(told.find("kept as provenance.bad-") != std::string::npos);
    CHECK(load_json(path).size() == 1);
    int kept = 0;
    for (const auto& entry : std::filesystem::directory_iterator(t.path()))
      if (entry.path().filename().string().starts_with("provenance.bad-"))
        kept += read_file(entry.path(), 100) == text;
    CHECK(kept == 1);
  }
}

TEST_CASE("what may change the last bits of a result is named, before and now") {
  const json before{{"device", "cpu"}, {"providers", ""}, {"threads", 1}, {"commit", "a"}};
  json now = before;
  now["threads"] = 8;
  CHECK(provenance_differences(before, now).empty());
  now["device"] = "sim";
  now["providers"] = "conv2d=gemm";
  CHECK(provenance_differences(before, now) ==
        "device cpu, now sim; providers none, now conv2d=gemm");
  CHECK(provenance_differences(json(), now).empty());
  // A start that does not say what read its JPEGs is of the time when only stb_image did.
  const json old = before;
  now = before;
  now["jpeg_reader"] = "libjpeg-turbo 2.1.5";
  CHECK(provenance_differences(old, now) == "jpeg_reader stb_image, now libjpeg-turbo 2.1.5");
  now["jpeg_reader"] = "stb_image";
  CHECK(provenance_differences(old, now).empty());
}
