#include <doctest/doctest.h>

#include "data/dataset.h"

using namespace thorax;

namespace {

Sample sample(const char* source, const char* path) {
  Sample s;
  s.source = source;
  s.image = path;
  return s;
}

}  // namespace

TEST_CASE("sample ids: the shortest end of the path that is unique in its source") {
  Dataset d;
  d.samples = {sample("nih", "/data/nih/images/1.png"), sample("covid", "/data/c/images/1.png"),
               sample("folder", "/x/a/ill/1.png"),      sample("folder", "/x/a/well/1.png"),
               sample("folder", "/x/b/well/1.png"),     sample("folder", "/x/b/well/2.png")};
  assign_ids(d);
  const char* expected[] = {"nih/1.png",           "covid/1.png",         "folder/ill/1.png",
                            "folder/a/well/1.png", "folder/b/well/1.png", "folder/2.png"};
  for (std::size_t i = 0; i < d.samples.size(); ++i) CHECK(d.samples[i].id == expected[i]);
  // The same files elsewhere.
  Dataset moved = d;
  for (Sample& s : moved.samples) s.image = "/mnt/other" + s.image.string();
  assign_ids(moved);
  for (std::size_t i = 0; i < d.samples.size(); ++i) CHECK(moved.samples[i].id == d.samples[i].id);
}
