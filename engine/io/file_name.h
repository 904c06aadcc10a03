// Names that come from data and become part of a path.
#pragma once

#include <string>
#include <string_view>

namespace thorax {

// One part of a path: what is written below a folder under this name stays in that folder. Not
// empty, at most 150 bytes (room for what is put before and after it), no '/' or '\', no control
// characters, neither "." nor ".." and not beginning with '-'.
class FileName {
 public:
  // Throws Error "[name] WHAT: ..." with the rule that `text` breaks. `what` says where it came
  // from: "manifest.csv, line 3: source".
  FileName(std::string text, std::string_view what);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// What to call an output made from something named `text` (an input file's stem): separators and
// control characters become '_', and it is cut to 150 bytes between characters. Different texts may
// give equal names.
FileName output_name(std::string_view text);

}  // namespace thorax
