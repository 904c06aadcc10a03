#include "data/describe.h"

#include "data/draw.h"
#include "data/encode.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;

namespace {

// Two sources, two classes, a duplicate file, a broken file, a patient in both classes.
Dataset make_dataset(const TempFolder& tmp) {
  std::filesystem::create_directories(tmp / "d");
  for (int i = 0; i < 5; ++i)
    save_image(tmp / "d" / ("i" + std::to_string(i) + ".png"),
               ImageU8(20 + i, 30, i == 4 ? 3 : 1, static_cast<uint8_t>(i == 3 ? 0 : i)));
  std::filesystem::copy_file(tmp / "d/i0.png", tmp / "d/same.png");
  write_text(tmp / "d/broken.jpg", "no");
  write_text(tmp / "d/m.csv",
             "path,label,patient,source,finding,view,age\n"
             "i0.png,COVID-19,1,a,COVID-19,PA,50\n"
             "i1.png,COVID-19,1,a,\"COVID-19, ARDS\",AP,\n"
             "i2.png,normal,2,b,No Finding,PA,30\n"
             "same.png,normal,1,a,No Finding,PA,40\n"
             "i4.png,normal,3,b,No Finding,,\n"
             "broken.jpg,normal,4,b,No Finding,PA,20\n"
             "gone.png,normal,5,b,No Finding,PA,20\n");
  return load_datasets({"manifest:" + (tmp / "d/m.csv").string()});
}

}  // namespace

TEST_CASE("describe: counts, conflicts, identical and unreadable files") {
  TempFolder tmp;
  Dataset d = make_dataset(tmp);
  const Inspection inspected = inspect_dataset(d);
  const DatasetSummary s = summarize(d, &inspected);
  CHECK(s.images == 6);
  CHECK(s.patients == 4);
  REQUIRE(s.classes.size() == 2);
  CHECK(s.classes[0].name == "non-COVID");
  CHECK(s.classes[0].images == 4);
  CHECK(s.classes[0].sources.at("b") == 3);
  CHECK(s.classes[1].patients == 1);
  CHECK(s.findings.at("COVID-19, ARDS") == 1);
  CHECK(s.views.at("(none)") == 1);
  CHECK(s.kinds.at("png RGB 8 bit") == 1);
  CHECK(s.kinds.at("png gray 8 bit") == 4);
  CHECK(s.height.least == 20);
  CHECK(s.height.most == 24);
  CHECK(s.age_known == 4);
  CHECK(s.age.median == 35);
  CHECK(s.identical.size() == 1);
  REQUIRE(s.unreadable.size() == 1);
  CHECK(contains(s.unreadable[0], "broken.jpg"));
  CHECK(s.report.conflicts.size() == 1);
  CHECK(s.patients_by_images.at(3) == 1);

  const std::string text = describe_text(s);
  for (const char* part : {"6 images of 4 patients", "7 read", "1  file present", "non-COVID",
                           "a/1: COVID-19 2, non-COVID 1", "1 groups of files hold the same bytes",
                           "1 files cannot be read", "i1.png: shows nothing"})
    CHECK_MESSAGE(contains(text, part), part << " in:\n" << text);
  const nlohmann::json json = describe_json(s);
  CHECK(json["classes"][1]["images"] == 2);
  CHECK(json["rules"][1]["removed"] == 1);
  CHECK(json["conflicts"][0]["patient"] == "a/1");
  CHECK(nlohmann::json::parse(json.dump()) == json);
  CHECK(summarize(d).kinds.empty());
}

TEST_CASE("describe: names that are no UTF-8 still make JSON") {
  DatasetSummary s;
  s.findings["bad \xff\xfe byte"] = 1;
  CHECK(contains(describe_json(s).dump(), "bad"));
}

TEST_CASE("describe: pictures") {
  TempFolder tmp;
  const Dataset d = make_dataset(tmp);
  const ImageU8 sheet = sample_sheet(d, {.per_class = 3, .columns = 2, .tile = 64});
  CHECK(sheet.channels == 3);
  CHECK(sheet.width == 2 * 70 + 6);
  CHECK(sheet.height == 3 * (64 + 20 + 6) + 6);  // two rows of one class, one of the other
  CHECK(sample_sheet(d, {.per_class = 3, .columns = 2, .tile = 64}).pixels == sheet.pixels);
  const ImageU8 chart = bar_chart("FINDINGS", summarize(d).findings);
  // The longest bar is the most frequent finding: count coloured pixels in its row.
  const auto colored = [&](int row) {
    int n = 0;
    for (int x = 0; x < chart.width; ++x)
      n += chart.at(54 + 30 * row + 10, x, 0) != chart.at(54 + 30 * row + 10, x, 2);
    return n;
  };
  CHECK(colored(0) == 560);
  CHECK(colored(1) == 140);
  CHECK_ERROR(sample_sheet(d, {.per_class = 0}), "sample sheet of 0");
}

TEST_CASE("draw: text and clipping") {
  ImageU8 canvas(9, 14, 1);
  draw_text(canvas, "i1", 1, 1, {255, 255, 255});
  CHECK(mask_area(canvas) == 21);  // 11 dots of I, 10 of 1
  draw_text(canvas, "CLIPPED", -3, -8, {255, 255, 255}, 4);
  fill_rectangle(canvas, -5, -5, 100, 100, {7, 7, 7});
  CHECK(canvas.at(8, 13) == 7);
  CHECK(text_width("abc", 2) == 36);
  CHECK(glyph_dot('L', 6, 4));
  CHECK_FALSE(glyph_dot('L', 0, 4));
  CHECK(glyph_dot('\x01', 0, 0));
}
