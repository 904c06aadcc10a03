#include "apps/serve/image_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <future>

#include "apps/inference/prediction_json.h"
#include "apps/report/text.h"
#include "apps/verdict_colour.h"
#include "data/colormap.h"
#include "data/container_check.h"
#include "data/encode.h"
#include "data/formats/format.h"
#include "data/organ_pictures.h"
#include "data/overlay.h"
#include "data/resize.h"
#include "engine/io/json_text.h"

namespace thorax::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostBytes = std::size_t{64} << 20;
constexpr DecodeLimits kLimits{
    .max_file_bytes = kMostBytes, .max_side = 10000, .max_pixels = 36'000'000};
constexpr double kHeatOpacity = 0.5;

struct Wanted {
  std::string name = "image";  // of the file, for messages
  std::vector<std::string> pictures;
  int side = 0;  // 0: as large as the image

  bool has(std::string_view picture) const {
    return std::find(pictures.begin(), pictures.end(), picture) != pictures.end();
  }
};

Wanted wanted_of(const HttpRequest& request, const std::vector<std::string>& known) {
  Wanted wanted;
  for (const auto& [name, value] : request.query) {
    if (name == "name") {
      wanted.name = value;
    } else if (name == "pictures") {
      for (std::size_t from = 0; from <= value.size();) {
        const std::size_t end = std::min(value.find(',', from), value.size());
        const std::string picture = value.substr(from, end - from);
        if (std::find(known.begin(), known.end(), picture) == known.end())
          throw HttpError(400, fmt::format("[serve] pictures={}: there is no such picture; there "
                                           "are: {}",
                                           picture, fmt::join(known, ", ")));
        wanted.pictures.push_back(picture);
        from = end + 1;
      }
    } else if (name == "side") {
      const auto [end, error] =
          std::from_chars(value.data(), value.data() + value.size(), wanted.side);
      if (error != std::errc() || end != value.data() + value.size() || wanted.side < 16 ||
          wanted.side > kLimits.max_side)
        throw HttpError(400, fmt::format("[serve] side={}: is no number from 16 to {}", value,
                                         kLimits.max_side));
    } else {
      throw HttpError(400, fmt::format("[serve] {}: takes name, pictures and side, no '{}'",
                                       request.path, name));
    }
  }
  if (!request.file_name.empty()) wanted.name = request.file_name;
  // Some browsers send the path on the sender's machine.
  wanted.name.erase(0, wanted.name.find_last_of("/\\") + 1);
  return wanted;
}

// The pictures that were asked for, made when they are added and as large as they may be.
class Pictures {
 public:
  explicit Pictures(const Wanted& wanted) : wanted_(wanted) {}

  template <class Make>
  void add(const std::string& name, const Make& make) {
    if (!wanted_.has(name)) return;
    const std::vector<std::uint8_t> png = encode_png(make());
    json_[name] = base64({reinterpret_cast<const char*>(png.data()), png.size()});
  }
  // Of one channel, 0..1.
  Image scaled(const Image& image) const {
    const auto [height, width] = size(image.height, image.width);
    return height == image.height ? image : resize(image, height, width);
  }
  ImageU8 scaled(const ImageU8& mask) const {
    const auto [height, width] = size(mask.height, mask.width);
    return height == mask.height ? mask : resize_nearest(mask, height, width);
  }
  const Json& json() const { return json_; }

 private:
  std::pair<int, int> size(int height, int width) const {
    const int longest = std::max(height, width);
    if (wanted_.side == 0 || longest <= wanted_.side) return {height, width};
    const auto shorter = [&](int side) {
      return std::max(1, static_cast<int>(std::int64_t{side} * wanted_.side / longest));
    };
    return {shorter(height), shorter(width)};
  }

  const Wanted& wanted_;
  Json json_ = Json::object();
};

// `gray`: as the segmenter reads it, of the size of the picture's image.
void add_probability(Pictures& pictures, const LungSegmenter& segmenter, const Image& gray) {
  pictures.add("probability", [&] {
    return to_u8(
        pictures.scaled(resize(segmenter.steps(gray).probability, gray.height, gray.width)));
  });
}

Json predict(const Predictor& predictor, const ImageSource& source, const Wanted& wanted) {
  Predictor::Reading reading = predictor.read(source);
  const Image for_segmenter =
      wanted.has("probability")
          ? (reading.for_segmenter.empty() ? reading.image.gray : reading.for_segmenter)
          : Image();
  const CamOptions cam;
  const bool explain = wanted.has("heatmap") || wanted.has("map");
  const Prediction p = predictor.predict(std::move(reading), explain ? &cam : nullptr);
  Pictures pictures(wanted);
  pictures.add("radiograph", [&] { return to_u8(pictures.scaled(p.gray)); });
  if (p.lungs) {
    pictures.add("mask", [&] { return pictures.scaled(p.lungs->mask); });
    pictures.add("overlay", [&] {
      return overlay_mask(pictures.scaled(p.gray), pictures.scaled(p.lungs->mask),
                          verdict_colour(p));
    });
    add_probability(pictures, *predictor.segmenter(), for_segmenter);
  }
  if (p.heatmap) {
    pictures.add("heatmap", [&] {
      return overlay_heat(pictures.scaled(p.gray), pictures.scaled(p.heatmap->map), kHeatOpacity);
    });
    pictures.add("map", [&] { return to_u16(pictures.scaled(p.heatmap->map)); });
  }
  Json reply{{"prediction", to_json(p, predictor)}};
  if (p.heatmap) reply["explained"] = predictor.classifier().classes()[p.heatmap->explained];
  reply["pictures"] = pictures.json();
  return reply;
}

Json segment(const Segmenter& segmenter, const ImageSource& source, const Wanted& wanted) {
  const Segmentation s = segmenter(source);
  const OrganOutputs& organs = segmenter.organs();
  Pictures pictures(wanted);
  pictures.add("radiograph", [&] { return to_u8(pictures.scaled(s.gray)); });
  if (segmenter.lungs() != nullptr) {
    pictures.add("mask", [&] { return pictures.scaled(s.organs.front().mask); });
    pictures.add("overlay", [&] {
      return overlay_mask(pictures.scaled(s.gray), pictures.scaled(s.organs.front().mask),
                          s.kept ? kBlue : kVermillion);
    });
    add_probability(pictures, *segmenter.lungs(), s.gray);
  } else {
    if (organs.softmax)
      pictures.add("mask", [&] { return pictures.scaled(label_map(s.organs, organs)); });
    else
      for (std::size_t k = 0; k < s.organs.size(); ++k)
        pictures.add("mask/" + organs.organs[k], [&] { return pictures.scaled(s.organs[k].mask); });
    pictures.add("overlay", [&] {
      std::vector<ImageU8> masks;
      for (const OrganFound& organ : s.organs) masks.push_back(pictures.scaled(organ.mask));
      return with_legend(overlay_organs(pictures.scaled(s.gray), masks), organs.organs);
    });
  }
  Json json{{"image", s.image}, {"organs", Json::array()}};
  for (std::size_t k = 0; k < s.organs.size(); ++k)
    json["organs"].push_back({{"organ", organs.organs[k]},
                              {"pixels", s.organs[k].pixels},
                              {"area_512", s.organs[k].area_512},
                              {"regions", s.organs[k].regions}});
  json["kept"] = s.kept;
  if (!s.reason.empty()) json["reason"] = s.reason;
  if (!s.notes.empty()) json["notes"] = s.notes;
  return {{"segmentation", json}, {"pictures", pictures.json()}};
}

HttpReply look(const Viewers& viewers, WorkQueue& work, const HttpRequest& request) {
  const Wanted wanted = wanted_of(request, picture_names(viewers));
  if (request.body.empty())
    throw HttpError(400, "[serve] there is no image in the request; send the bytes of a file");
  const std::span content(reinterpret_cast<const std::uint8_t*>(request.body.data()),
                          request.body.size());
  Json json;
  const auto compute = [&] {
    const auto begin = std::chrono::steady_clock::now();
    const ImageSource source = ImageSource::bytes(content, wanted.name);
    json = viewers.predictor ? predict(*viewers.predictor, source, wanted)
                             : segment(*viewers.segmenter, source, wanted);
    json["seconds"] =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  try {
    check_container(content, wanted.name, kLimits);
    work.run(compute);
  } catch (const std::future_error&) {
    throw HttpError(503, "[serve] the server is ending");
  } catch (const Error& error) {
    // What the networks cannot do is no fault of the image.
    throw HttpError(std::string_view(error.what()).starts_with("[decode]") ? 422 : 500,
                    error.what());
  }
  HttpReply reply;
  reply.body = dump_json(json) + "\n";
  return reply;
}

}  // namespace

std::vector<std::string> picture_names(const Viewers& viewers) {
  std::vector<std::string> names{"radiograph"};
  const Segmenter* segmenter = viewers.segmenter.get();
  const bool lungs =
      viewers.predictor ? viewers.predictor->segmenter() != nullptr : segmenter->lungs() != nullptr;
  if (lungs) {
    names.insert(names.end(), {"overlay", "mask", "probability"});
  } else if (segmenter != nullptr) {
    names.emplace_back("overlay");
    if (segmenter->organs().softmax)
      names.emplace_back("mask");
    else
      for (const std::string& organ : segmenter->organs().organs) names.push_back("mask/" + organ);
  }
  if (viewers.predictor) names.insert(names.end(), {"heatmap", "map"});
  return names;
}

Json describe(const Viewers& viewers) {
  Json json;
  if (viewers.predictor) {
    const Ensemble& classifier = viewers.predictor->classifier();
    json["classifier"] = classifier.name();
    json["classes"] = classifier.classes();
    json["lines"] = classifier.lines();
  } else {
    json["organs"] = viewers.segmenter->organs().organs;
  }
  json["pictures"] = picture_names(viewers);
  json["formats"] = readable_formats();
  return json;
}

std::vector<HttpRoute> image_routes(const Viewers& viewers, WorkQueue& work) {
  return {{"POST", "/api/predict",
           [&](const HttpRequest& request) { return look(viewers, work, request); }, kMostBytes}};
}

}  // namespace thorax::app
