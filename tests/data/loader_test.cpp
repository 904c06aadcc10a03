#include "data/loader.h"

#include <map>
#include <set>

#include "data/decode.h"
#include "data/encode.h"
#include "data/multilabel.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// `n` images of different content and size with masks and labels.
std::vector<Sample> make_samples(const TempFolder& tmp, int n) {
  std::vector<Sample> out;
  std::mt19937 random(1);
  for (int i = 0; i < n; ++i) {
    const int h = 20 + static_cast<int>(random() % 20), w = 20 + static_cast<int>(random() % 20);
    ImageU8 image(h, w, i % 3 == 0 ? 3 : 1), mask(h, w, 1);
    for (auto& v : image.pixels) v = static_cast<uint8_t>(random());
    for (int y = 0; y < h / 2; ++y)
      for (int x = 0; x < w; ++x) mask.at(y, x) = 255;
    Sample s;
    s.image = tmp / ("image" + std::to_string(i) + (i % 2 ? ".png" : ".jpg"));
    s.masks = {tmp / ("mask" + std::to_string(i) + ".png")};
    s.label = i % 2;
    save_image(s.image, image);
    save_image(s.masks[0], mask);
    out.push_back(s);
  }
  return out;
}

LoaderConfig small_config() {
  LoaderConfig c;
  c.height = 16, c.width = 24, c.batch = 4, c.with_mask = true, c.seed = 42;
  c.augment = augment_preset("study");
  return c;
}

std::vector<float> values(const Tensor& t) {
  return {t.data<float>(), t.data<float>() + t.numel()};
}

// All bits of a batch, to compare.
std::string bits(const Batch& batch) {
  std::string out;
  for (const auto& [name, tensor] : batch.tensors)
    out += name + tensor.shape().to_string() +
           std::string(static_cast<const char*>(tensor.raw()), static_cast<size_t>(tensor.bytes()));
  for (const std::string& name : batch.names) out += name;
  return out;
}

}  // namespace

TEST_CASE("loader: shapes, values, labels") {
  TempFolder tmp;
  const auto samples = make_samples(tmp, 10);
  LoaderConfig c = small_config();
  c.shuffle = false;
  c.augment = {};
  c.mean = 0.5f, c.deviation = 0.25f, c.channels = 3;
  Loader loader(samples, c);
  CHECK(loader.batches_per_epoch() == 3);
  const Batch b = loader.get(0, 1);
  CHECK(b.tensors.at("image").shape() == Shape{4, 16, 24, 3});
  CHECK(b.tensors.at("mask").shape() == Shape{4, 16, 24, 1});
  CHECK(b.tensors.at("label").shape() == Shape{4});
  CHECK(b.tensors.at("label").dtype() == DType::i64);
  for (int k = 0; k < 4; ++k) {
    CHECK(b.tensors.at("label").data<int64_t>()[k] == samples[4 + static_cast<size_t>(k)].label);
    CHECK(b.names[static_cast<size_t>(k)] == samples[4 + static_cast<size_t>(k)].image.string());
  }
  const PreparedSample p = prepare_sample(samples[5], c);
  const float* image = b.tensors.at("image").data<float>() + 16 * 24 * 3;
  for (size_t i = 0; i < p.image.pixels.size(); ++i)
    for (int ch = 0; ch < 3; ++ch)
      CHECK(*image++ == doctest::Approx((p.image.pixels[i] / 65535.0 - 0.5) / 0.25).epsilon(1e-5));
  const auto mask = values(b.tensors.at("mask"));
  CHECK(std::set<float>(mask.begin(), mask.end()) == std::set<float>{0.f, 1.f});
  CHECK(loader.get(0, 2).names.size() == 2);
  c.drop_last = true;
  CHECK(Loader(samples, c).batches_per_epoch() == 2);
}

TEST_CASE("loader: the same bits for any number of workers, any cache, any prefetch") {
  TempFolder tmp;
  const auto samples = make_samples(tmp, 11);
  std::vector<std::string> wanted;
  for (const auto& [workers, prefetch, cache] :
       {std::tuple{0, 0, 0}, {1, 1, 1 << 20}, {3, 4, 1 << 20}, {3, 2, 3000}, {2, 0, 0}}) {
    LoaderConfig c = small_config();
    c.workers = workers, c.prefetch = prefetch, c.cache_bytes = cache;
    Loader loader(samples, c);
    size_t at = 0;
    for (int epoch = 0; epoch < 3; ++epoch)
      for (int i = 0; i < loader.batches_per_epoch(); ++i, ++at) {
        const std::string b = bits(loader.get(epoch, i));
        if (workers == 0) wanted.push_back(b);
        CHECK(b == wanted[at]);
      }
    CHECK(loader.statistics().cache_bytes <= cache);
    if (cache == 1 << 20) {
      // Every image once; what is prepared ahead of epoch 3 comes from the cache. Several workers
      // may meet an image in two batches at once and both decode it: that costs time, not
      // correctness.
      const Loader::Statistics statistics = loader.statistics();
      CHECK(statistics.decoded >= 11);
      if (workers == 1) CHECK(statistics.decoded == 11);
      CHECK(statistics.decoded < 22);
      CHECK(statistics.decoded + statistics.cache_hits >= 33);
    }
  }
}

TEST_CASE("loader: resumes at any batch, jumps anywhere") {
  TempFolder tmp;
  const auto samples = make_samples(tmp, 9);
  const LoaderConfig c = small_config();
  Loader straight(samples, c);
  std::vector<std::string> wanted;
  for (int epoch = 0; epoch < 3; ++epoch)
    for (int i = 0; i < 3; ++i) wanted.push_back(bits(straight.get(epoch, i)));
  for (int begin = 0; begin < 9; ++begin) {
    Loader resumed(samples, c);
    for (int at = begin; at < 9; ++at)
      CHECK(bits(resumed.get(at / 3, at % 3)) == wanted[static_cast<size_t>(at)]);
  }
  std::mt19937 random(2);
  for (int k = 0; k < 40; ++k) {
    const size_t at = random() % 9;
    CHECK(bits(straight.get(static_cast<int64_t>(at) / 3, static_cast<int64_t>(at) % 3)) ==
          wanted[at]);
  }
}

TEST_CASE("loader: an epoch holds every sample once, in a new order") {
  TempFolder tmp;
  const auto samples = make_samples(tmp, 10);
  const LoaderConfig c = small_config();
  const Loader loader(samples, c);
  std::set<std::vector<int64_t>> orders;
  for (int epoch = 0; epoch < 5; ++epoch) {
    std::vector<int64_t> order;
    for (int i = 0; i < 3; ++i)
      for (const int64_t s : loader.batch_samples(epoch, i)) order.push_back(s);
    CHECK(std::set<int64_t>(order.begin(), order.end()).size() == 10);
    orders.insert(order);
  }
  CHECK(orders.size() == 5);
  CHECK_ERROR(loader.batch_samples(0, 3), "no batch 3 in epoch 0: there are 3 an epoch");
}

TEST_CASE("loader: balanced epochs draw every class as often, the same ones for a seed and epoch") {
  TempFolder tmp;
  auto samples = make_samples(tmp, 14);
  // 10 images of class 0, 3 of class 1, 1 of class 2.
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i].label = i < 10 ? 0 : i < 13 ? 1 : 2;
  LoaderConfig c = small_config();
  c.balanced = true;
  Loader loader(samples, c), other(samples, c);
  std::set<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 6; ++epoch) {
    std::vector<int64_t> order;
    std::map<int, int> of_class;
    std::map<int64_t, int> of_sample;
    for (int64_t i = 0; i < loader.batches_per_epoch(); ++i)
      for (const int64_t s : loader.batch_samples(epoch, i)) {
        order.push_back(s);
        ++of_class[samples[static_cast<size_t>(s)].label];
        ++of_sample[s];
      }
    CHECK(order.size() == 14);  // 14 = 4 + 5 + 5, in other ways every epoch
    for (const auto& [label, count] : of_class) CHECK((count == 4 || count == 5));
    // In turn: no image of class 1 is drawn twice more than another, none of class 0 twice.
    for (const auto& [s, count] : of_sample) {
      if (s < 10) CHECK(count == 1);
      if (s >= 10 && s < 13) CHECK((count == 1 || count == 2));
    }
    orders.insert(order);
  }
  CHECK(orders.size() == 6);
  // Any batch by itself, as after a resume; an image that is drawn again is augmented anew.
  const Batch a = other.get(3, 2);
  for (int64_t i = 0; i < 2; ++i) loader.get(3, i);
  CHECK(bits(a) == bits(loader.get(3, 2)));
  std::set<std::string> seen;
  int drawn = 0;
  for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
    const Batch b = loader.get(0, i);
    for (std::size_t k = 0; k < b.names.size(); ++k) {
      if (b.names[k] != samples[13].image.string()) continue;
      const Tensor image = b.tensors.at("image").batch_slice(static_cast<int64_t>(k), 1);
      seen.insert(std::string(reinterpret_cast<const char*>(image.data<float>()),
                              static_cast<size_t>(image.numel()) * sizeof(float)));
      ++drawn;
    }
  }
  CHECK(drawn >= 4);
  CHECK(seen.size() == static_cast<size_t>(drawn));
}

TEST_CASE("loader: balanced epochs of several findings go by an image's rarest one") {
  TempFolder tmp;
  auto samples = make_samples(tmp, 12);
  // The second finding is the rarest, then the third; the first comes with both. Unknown ones are
  // not there.
  for (std::size_t i = 0; i < samples.size(); ++i) {
    samples[i].labels = {static_cast<std::int8_t>(i < 8), 0, static_cast<std::int8_t>(i < 3)};
    if (i == 0) samples[i].labels[1] = 1;
    if (i > 8) samples[i].labels[1] = -1;
  }
  CHECK(rarest_findings(samples) == std::vector<int>{1, 2, 2, 0, 0, 0, 0, 0, -1, -1, -1, -1});
  LoaderConfig c = small_config();
  c.with_label = false;
  c.with_findings = true;
  c.balanced = true;
  Loader loader(samples, c);
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    std::map<int, int> of_group;
    for (int64_t i = 0; i < loader.batches_per_epoch(); ++i)
      for (const int64_t s : loader.batch_samples(epoch, i))
        ++of_group[rarest_findings(samples)[static_cast<size_t>(s)]];
    CHECK(of_group == std::map<int, int>{{-1, 3}, {0, 3}, {1, 3}, {2, 3}});
  }
}

TEST_CASE("loader: targets of two classes, smoothed, with a weight for each image") {
  TempFolder tmp;
  const auto samples = make_samples(tmp, 6);
  LoaderConfig c = small_config();
  c.shuffle = false;
  c.with_target = true;
  c.label_smoothing = 0.2f;
  c.target_weight = 3;
  Loader loader(samples, c);
  const Batch b = loader.get(0, 1);  // the last two
  CHECK(b.tensors.at("target").shape() == Shape{2, 1});
  CHECK(values(b.tensors.at("target")) == std::vector<float>{0.1f, 1 * (1 - 0.2f) + 0.1f});
  CHECK(values(b.tensors.at("target_weight")) == std::vector<float>{1.5f, 1.5f});
}

TEST_CASE("loader: a corrupt file is named; fatal or skipped by choice") {
  TempFolder tmp;
  auto samples = make_samples(tmp, 8);
  const auto bytes = encode_png(ImageU8(30, 30, 1, 9));
  write_bytes(samples[5].image, {bytes.begin(), bytes.begin() + 40});
  LoaderConfig c = small_config();
  c.shuffle = false;
  {
    Loader loader(samples, c);
    CHECK(loader.get(0, 0).names.size() == 4);
    CHECK_ERROR(loader.get(0, 1), "image5.png: truncated png");
    CHECK(loader.get(0, 0).names.size() == 4);  // still usable
  }
  c.on_bad_file = OnBadFile::skip;
  Loader loader(samples, c);
  for (int epoch = 0; epoch < 2; ++epoch) {
    const Batch b = loader.get(epoch, 1);
    CHECK(b.names.size() == 3);
    CHECK(b.tensors.at("image").shape() == Shape{3, 16, 24, 1});
    CHECK(b.tensors.at("label").data<int64_t>()[1] == samples[6].label);
    CHECK(b.names[1] == samples[6].image.string());
  }
  REQUIRE(loader.skipped().size() == 1);
  CHECK(contains(loader.skipped()[0], "image5.png"));
  for (size_t i = 4; i < 8; ++i) write_text(samples[i].image, "");
  Loader none(samples, c);
  CHECK_ERROR(none.get(0, 1), "no file of batch 1 in epoch 0 can be read");
}

TEST_CASE("loader: masks cut the image, or the lungs out of it; wrong sizes are named") {
  TempFolder tmp;
  auto samples = make_samples(tmp, 2);
  LoaderConfig c = small_config();
  const PreparedSample all = prepare_sample(samples[0], c);
  c.view = View::lungs;
  const PreparedSample inside = prepare_sample(samples[0], c);
  c.view = View::no_lungs;
  const PreparedSample outside = prepare_sample(samples[0], c);
  CHECK(inside.image.at(2, 5) == all.image.at(2, 5));
  CHECK(outside.image.at(2, 5) == 0);
  CHECK(inside.image.at(13, 5) == 0);
  CHECK(outside.image.at(13, 5) == all.image.at(13, 5));
  for (const Fit fit : {Fit::stretch, Fit::letterbox, Fit::crop}) {
    c.fit = fit;
    const PreparedSample p = prepare_sample(samples[1], c);
    CHECK(
        (p.image.height == 16 && p.image.width == 24 && p.mask.height == 16 && p.mask.width == 24));
  }
  save_image(samples[1].masks[0], ImageU8(5, 5, 1));
  CHECK_ERROR(prepare_sample(samples[1], c), "mask is 5x5, its image");
}

TEST_CASE("loader: what it refuses to start with") {
  TempFolder tmp;
  auto samples = make_samples(tmp, 2);
  LoaderConfig c = small_config();
  CHECK_ERROR(Loader({}, c), "there are no samples");
  samples[1].label = -1;
  CHECK_ERROR(Loader(samples, c), "image1.png: has no class");
  samples[1].label = 0;
  samples[1].masks.clear();
  CHECK_ERROR(Loader(samples, c), "image1.png: has no lung mask");
  c.with_mask = false;
  c.batch = 0;
  CHECK_ERROR(Loader(samples, c), "sizes must be positive");
  c.batch = 8;
  c.drop_last = true;
  CHECK_ERROR(Loader(samples, c), "2 samples make no full batch of 8");
  CHECK_ERROR(parse_fit("squash"), "fit 'squash': must be one of stretch, letterbox, crop");
}

TEST_CASE("loader: destroyed while it works") {
  TempFolder tmp;
  const auto samples = make_samples(tmp, 9);
  for (int k = 0; k < 10; ++k) {
    LoaderConfig c = small_config();
    c.workers = 3, c.prefetch = 5, c.batch = 1;
    Loader loader(samples, c);
    loader.get(k, 0);
  }
}
