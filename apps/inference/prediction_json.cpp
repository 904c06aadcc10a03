#include "apps/inference/prediction_json.h"

namespace thorax {

nlohmann::ordered_json findings_json(const Ensemble& classifier,
                                     std::span<const double> probabilities,
                                     std::span<const double> thresholds) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (std::size_t f = 0; f < probabilities.size(); ++f)
    list.push_back({{"finding", classifier.classes()[f]},
                    {"probability", probabilities[f]},
                    {"threshold", thresholds[f]},
                    {"verdict", probabilities[f] >= thresholds[f] ? "positive" : "negative"}});
  return list;
}

nlohmann::ordered_json to_json(const Prediction& p, const Predictor& predictor) {
  const Ensemble& classifier = predictor.classifier();
  const std::vector<double>& thresholds = predictor.thresholds();
  const std::vector<std::string>& classes = classifier.classes();
  nlohmann::ordered_json json{{"image", p.image}, {"verdict", p.verdict}};
  json[classifier.multilabel() ? "findings" : "probability"] = nullptr;  // of a rejected image
  if (classifier.multilabel()) {
    if (p.predicted)
      json["findings"] = findings_json(classifier, p.opinion.probabilities, thresholds);
  } else if (classifier.binary()) {
    json["positive_class"] = classifier.positive_class();
    json["threshold"] = thresholds[0];
    if (p.predicted) json["probability"] = p.opinion.probabilities[1];
  } else if (p.predicted) {
    json["probability"] = p.opinion.probabilities[*p.predicted];
    for (std::size_t c = 0; c < classes.size(); ++c)
      json["probabilities"][classes[c]] = p.opinion.probabilities[c];
  }
  if (p.predicted && classifier.members().size() > 1) {
    for (std::size_t m = 0; m < classifier.files().size(); ++m) {
      nlohmann::ordered_json own{{"classifier", classifier.files()[m].string()}};
      const std::vector<double>& probabilities = p.opinion.members[m];
      if (classifier.binary())
        own["probability"] = probabilities[1];
      else
        for (std::size_t c = 0; c < classes.size(); ++c)
          own["probabilities"][classes[c]] = probabilities[c];
      json["members"].push_back(std::move(own));
    }
    if (classifier.multilabel())
      for (std::size_t c = 0; c < classes.size(); ++c)
        json["spread"][classes[c]] = p.opinion.spread[c];
    else
      json["spread"] = p.opinion.spread[classifier.binary() ? 1 : *p.predicted];
  }
  if (p.lungs) json["lung_area_512"] = p.lungs->area;
  if (!p.overlay.empty()) json["overlay"] = p.overlay;
  if (!p.reason.empty()) json["reason"] = p.reason;
  if (!p.notes.empty()) json["notes"] = p.notes;
  return json;
}

}  // namespace thorax
