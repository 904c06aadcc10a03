// A report as ONE HTML file: pictures and style are inside, nothing is fetched when it is opened,
// no script is needed (a content security policy in the page forbids both), and every text is
// escaped. It reads in light and in dark, prints, and is well-formed XML at the same time.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "apps/report/plot.h"
#include "apps/report/table.h"
#include "data/image.h"

namespace thorax::app {

// A picture for a grid: the bytes of a PNG or JPEG file.
struct ReportImage {
  std::string bytes;
  std::string caption;  // below it; may be empty
  std::string alt;      // empty = the caption
};
ReportImage report_image(const ImageU8& image, std::string caption, std::string alt = {});
// Throws Error "[io] ..." when the file cannot be read or is larger than 64 MiB.
ReportImage report_image(const std::filesystem::path& file, std::string caption,
                         std::string alt = {});

// Collects the parts in order; every call returns the report, so that calls can be chained.
class Report {
 public:
  explicit Report(std::string title, std::string subtitle = {});

  // Headings, listed in the table of contents. A subsection needs a section before it.
  Report& section(const std::string& title);
  Report& subsection(const std::string& title);

  Report& paragraph(const std::string& text);
  Report& list(const std::vector<std::string>& items);
  // Boxes: something to know, something to beware of.
  Report& note(const std::string& text);
  Report& warning(const std::string& text);
  Report& key_values(const std::vector<std::pair<std::string, std::string>>& pairs);
  Report& table(const Table& table);
  // Text as it is, in a fixed-width font: a command, a configuration.
  Report& code(const std::string& text);

  // Figures side by side, as many in a row as the window has room for.
  Report& figures(const std::vector<Figure>& figures);
  Report& figure(const Figure& figure) { return figures({figure}); }
  // Pictures in a grid whose cells are at least `least_width` CSS pixels wide, or the whole width.
  Report& images(const std::vector<ReportImage>& images, int least_width = 160);

  // Links to files beside the report: path relative to its folder, what is in it.
  Report& files(const std::vector<std::pair<std::string, std::string>>& files);

  // What follows up to end_details() is folded away under `summary`. May be nested; headings cannot
  // be inside.
  Report& begin_details(const std::string& summary, bool open = false);
  Report& end_details();

  // The page. Throws Error "[report] ..." when a begin_details has no end. Also thrown by the calls
  // above for what cannot be shown: bytes that are neither PNG nor JPEG, a figure that has not been
  // drawn, an absolute path, headings inside of details.
  std::string html() const;
  // Atomically.
  void write(const std::filesystem::path& path) const;

 private:
  struct Heading {
    std::string id, title;
    int level;
  };

  Report& add(std::string html);
  void heading(const std::string& title, int level);

  std::string title_, subtitle_, body_;
  std::vector<Heading> headings_;
  int sections_ = 0, subsections_ = 0, figures_ = 0, open_details_ = 0;
};

}  // namespace thorax::app
