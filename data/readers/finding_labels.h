// Several findings an image: what a source's options say of them, and their cells in a table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/readers/readers.h"

namespace thorax::readers {

// The options labels=auto|single|multi, findings=A,B, uncertain=ignore|zeros|ones and
// blank=unknown|negative of one source.
class FindingLabels {
 public:
  // `stated`: the table itself has several findings an image. Throws for options that do not go
  // together: keys of one class an image beside several findings, and the other way round.
  FindingLabels(const SourceSpec& spec, Options& options, bool stated);

  bool several() const { return several_; }
  // The findings asked for (default: all of `known`), in the order asked for, spelt as in `known`.
  // Throws naming `known` for one that is not among them, or is asked for twice.
  const std::vector<std::string>& choose(const std::vector<std::string>& known);
  const std::vector<std::string>& chosen() const { return chosen_; }

  // "1" positive, "0" negative, "-1" uncertain (as CheXpert writes them, also "1.0"), "" not
  // mentioned: as uncertain= and blank= say. Throws naming `where` and the finding for anything
  // else.
  std::int8_t read(const std::string& cell, const std::string& where, const std::string& finding);
  // What was done to uncertain and empty cells, and how often.
  void add_notes(SampleCollector& collect) const;

 private:
  std::string kind_;
  bool several_ = false;
  std::vector<std::string> wanted_, chosen_;
  std::string uncertain_, blank_;
  std::int64_t uncertain_count_ = 0, blank_count_ = 0;
};

// The rule that leaves out images of which no finding is known: nothing can be learned from them.
inline constexpr const char* kRuleKnown = "a finding is known";
bool any_known(const std::vector<std::int8_t>& labels);

// The dataset with the findings as its classes.
Dataset labelled(Dataset dataset, const FindingLabels& labels);

}  // namespace thorax::readers
