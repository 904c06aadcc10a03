#include "apps/sample_json.h"

namespace thorax::app {

using nlohmann::json;

namespace {

json rule_to_json(const MaskRule& rule) {
  return {static_cast<int>(rule.kind), rule.top, rule.values};
}

MaskRule rule_from_json(const json& rule) {
  return {static_cast<MaskRule::Kind>(rule.at(0).get<int>()), rule.at(1).get<int>(),
          rule.at(2).get<std::vector<int>>()};
}

json organs_to_json(const OrganMasks& organs) {
  json all = json::array();
  for (const OrganMask& organ : organs.organs)
    all.push_back({organ.name, organ.values, organ.files, rule_to_json(organ.rule)});
  return {organs.label_map, organs.by_values, all, organs.outside};
}

OrganMasks organs_from_json(const json& organs) {
  OrganMasks result{.label_map = organs.at(0).get<bool>(),
                    .by_values = organs.at(1).get<bool>(),
                    .organs = {},
                    .outside = organs.at(3).get<std::vector<int>>()};
  for (const json& organ : organs.at(2))
    result.organs.push_back({organ.at(0).get<std::string>(), organ.at(1).get<std::vector<int>>(),
                             organ.at(2).get<std::vector<std::size_t>>(),
                             rule_from_json(organ.at(3))});
  return result;
}

}  // namespace

json sample_to_json(const Sample& s) {
  json masks = json::array();
  for (const std::filesystem::path& mask : s.masks) masks.push_back(mask.string());
  return {{"id", s.id},
          {"image", s.image.string()},
          {"masks", masks},
          {"mask_rule", rule_to_json(s.mask_rule)},
          {"organs", organs_to_json(s.organs)},
          {"patient", s.patient},
          {"source", s.source},
          {"finding", s.finding},
          {"class_name", s.class_name},
          {"label", s.label},
          {"view", s.view},
          {"age", s.age ? json(*s.age) : json()},
          {"labels", s.labels}};
}

Sample sample_from_json(const json& j) {
  Sample s;
  s.id = j.at("id");
  s.image = j.at("image").get<std::string>();
  for (const json& mask : j.at("masks")) s.masks.emplace_back(mask.get<std::string>());
  s.mask_rule = rule_from_json(j.at("mask_rule"));
  s.organs = organs_from_json(j.at("organs"));
  s.patient = j.at("patient");
  s.source = j.at("source");
  s.finding = j.at("finding");
  s.class_name = j.at("class_name");
  s.label = j.at("label");
  s.view = j.at("view");
  if (!j.at("age").is_null()) s.age = j.at("age").get<double>();
  s.labels = j.at("labels").get<std::vector<std::int8_t>>();
  return s;
}

}  // namespace thorax::app
