#include "apps/inference/organ_outputs.h"

#include <fmt/format.h>

#include <set>

#include "data/organs.h"
#include "engine/io/config.h"
#include "engine/tensor/error.h"

namespace thorax {

nlohmann::json to_json(const OrganOutputs& organs) {
  if (organs.plain()) return {};
  return {{"organs", organs.organs},
          {"values", organs.values},
          {"activation", organs.softmax ? "softmax" : "sigmoid"}};
}

OrganOutputs read_organ_outputs(const nlohmann::json& json, const std::string& where) {
  OrganOutputs out;
  const ConfigObject c(json, where);
  out.organs = c.texts_or("organs", {});
  if (out.organs.empty()) return out;
  const std::vector<std::int64_t> stated = c.integers_or("values", {});
  out.softmax = c.choice("activation", {"softmax", "sigmoid"}) == "softmax";
  const std::set<std::string> names(out.organs.begin(), out.organs.end());
  const std::set<std::int64_t> values(stated.begin(), stated.end());
  const bool whole = names.size() == out.organs.size() && values.size() == out.organs.size() &&
                     stated.size() == out.organs.size() && out.organs.size() <= kMaxOrgans &&
                     *values.begin() >= 1 && *values.rbegin() <= 255;
  THORAX_CHECK(whole,
               "[model] {}: organs {} with values {}: every organ needs a name and a value from 1 "
               "to 255 of its own",
               where, fmt::join(out.organs, ", "), fmt::join(stated, ", "));
  // Names become folders and columns: they obey the rules of organs=.
  std::size_t known = 0;
  try {
    known = parse_organs(fmt::format("{}", fmt::join(out.organs, ","))).organs.size();
  } catch (const Error& error) {
    fail("[model] {}: {}", where, error.what());
  }
  THORAX_CHECK(known == out.organs.size(), "[model] {}: organs {}: a name has a comma", where,
               fmt::join(out.organs, "; "));
  out.values.assign(stated.begin(), stated.end());
  return out;
}

}  // namespace thorax
