#include "apps/report/report.h"

#include <fmt/format.h>

#include "apps/report/report_style.h"
#include "apps/report/text.h"
#include "data/encode.h"
#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

const char* media_type(const std::string& bytes) {
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return "image/png";
  if (bytes.starts_with("\xFF\xD8\xFF")) return "image/jpeg";
  return nullptr;
}

// Every id and every reference to one gets a prefix: two figures of one page use the same names.
std::string with_prefix(const std::string& svg, const std::string& prefix) {
  std::string out;
  std::size_t from = 0;
  for (;;) {
    std::size_t best = std::string::npos;
    std::size_t length = 0;
    for (const char* mark : {" id='", " id=\"", "href='#", "href=\"#", "url(#"}) {
      const std::size_t at = svg.find(mark, from);
      if (at < best) {
        best = at;
        length = std::char_traits<char>::length(mark);
      }
    }
    if (best == std::string::npos) return out + svg.substr(from);
    out += svg.substr(from, best + length - from) + prefix;
    from = best + length;
  }
}

// The <svg> element of a drawn figure, ready to stand in a page.
std::string inline_svg(const Figure& figure, int number) {
  const std::size_t start = figure.svg.find("<svg");
  THORAX_CHECK(start != std::string::npos, "[report] figure '{}' has not been drawn",
               clean_text(figure.title));
  THORAX_CHECK(figure.svg.find("<script") == std::string::npos,
               "[report] figure '{}' contains a script", clean_text(figure.title));
  std::string svg = with_prefix(figure.svg.substr(start), fmt::format("f{}-", number));
  svg.insert(4, fmt::format(" role=\"img\" aria-label=\"{}\"",
                            escape_html(figure.alt.empty() ? figure.title : figure.alt)));
  return svg;
}

// A relative path as a link; "./" keeps "a:b" from being read as a scheme.
std::string href(const std::string& path) {
  std::string out = "./";
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '/' || c == '.' || c == '_' || c == '-';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return out;
}

}  // namespace

ReportImage report_image(const ImageU8& image, std::string caption, std::string alt) {
  const std::vector<std::uint8_t> png = encode_png(image);
  return {std::string(png.begin(), png.end()), std::move(caption), std::move(alt)};
}

ReportImage report_image(const std::filesystem::path& file, std::string caption, std::string alt) {
  return {read_file(file, std::uint64_t{64} << 20), std::move(caption), std::move(alt)};
}

Report::Report(std::string title, std::string subtitle)
    : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

Report& Report::add(std::string html) {
  body_ += html;
  return *this;
}

void Report::heading(const std::string& title, int level) {
  THORAX_CHECK(open_details_ == 0, "[report] heading '{}' stands inside of details",
               clean_text(title));
  const std::string id =
      level == 2 ? fmt::format("s{}", sections_) : fmt::format("s{}-{}", sections_, subsections_);
  headings_.push_back({id, title, level});
  add(fmt::format("<h{0} id=\"{1}\">{2}</h{0}>\n", level, id, escape_html(title)));
}

Report& Report::section(const std::string& title) {
  ++sections_;
  subsections_ = 0;
  heading(title, 2);
  return *this;
}

Report& Report::subsection(const std::string& title) {
  THORAX_CHECK(sections_ > 0, "[report] subsection '{}' stands before the first section",
               clean_text(title));
  ++subsections_;
  heading(title, 3);
  return *this;
}

Report& Report::paragraph(const std::string& text) {
  return add("<p>" + escape_html(text) + "</p>\n");
}

Report& Report::list(const std::vector<std::string>& items) {
  if (items.empty()) return *this;
  std::string out = "<ul>\n";
  for (const std::string& item : items) out += "<li>" + escape_html(item) + "</li>\n";
  return add(out + "</ul>\n");
}

Report& Report::note(const std::string& text) {
  return add("<div class=\"box\"><strong>Note</strong>" + escape_html(text) + "</div>\n");
}

Report& Report::warning(const std::string& text) {
  return add("<div class=\"box warning\"><strong>Warning</strong>" + escape_html(text) +
             "</div>\n");
}

Report& Report::key_values(const std::vector<std::pair<std::string, std::string>>& pairs) {
  if (pairs.empty()) return *this;
  std::string out = "<dl>\n";
  for (const auto& [key, value] : pairs)
    out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_html(key), escape_html(value));
  return add(out + "</dl>\n");
}

Report& Report::table(const Table& table) {
  return add(to_html(table));
}

Report& Report::code(const std::string& text) {
  return add("<pre><code>" + escape_html(text) + "</code></pre>\n");
}

Report& Report::figures(const std::vector<Figure>& figures) {
  if (figures.empty()) return *this;
  std::string out = "<div class=\"figures\">\n";
  for (const Figure& figure : figures) {
    if (!figure.missing.empty()) {
      out += fmt::format("<div class=\"box\"><strong>No figure</strong>{}</div>\n",
                         escape_html(figure.missing));
      continue;
    }
    out += fmt::format("<figure class=\"plot\" style=\"max-width: {}px\">\n", figure.width) +
           inline_svg(figure, ++figures_);
    if (!figure.caption.empty())
      out += "<figcaption>" + escape_html(figure.caption) + "</figcaption>\n";
    out += "</figure>\n";
  }
  return add(out + "</div>\n");
}

Report& Report::images(const std::vector<ReportImage>& images, int least_width) {
  if (images.empty()) return *this;
  THORAX_CHECK(least_width > 0 && least_width <= 4000, "[report] cells of {} pixels", least_width);
  std::string out = fmt::format(
      "<div class=\"images\" style=\"grid-template-columns: repeat(auto-fill, minmax(min({}px, "
      "100%), 1fr))\">\n",
      least_width);
  for (const ReportImage& image : images) {
    const char* type = media_type(image.bytes);
    THORAX_CHECK(type != nullptr, "[report] picture '{}' is neither PNG nor JPEG",
                 clean_text(image.caption));
    out += fmt::format("<figure><img alt=\"{}\" src=\"data:{};base64,{}\" />",
                       escape_html(image.alt.empty() ? image.caption : image.alt), type,
                       base64(image.bytes));
    if (!image.caption.empty())
      out += "<figcaption>" + escape_html(image.caption) + "</figcaption>";
    out += "</figure>\n";
  }
  return add(out + "</div>\n");
}

Report& Report::files(const std::vector<std::pair<std::string, std::string>>& files) {
  if (files.empty()) return *this;
  std::string out = "<ul>\n";
  for (const auto& [path, what] : files) {
    THORAX_CHECK(!path.empty() && path[0] != '/', "[report] '{}' is no path below the report",
                 clean_text(path));
    out += fmt::format("<li><a href=\"{}\">{}</a>{}</li>\n", href(path), escape_html(path),
                       what.empty() ? "" : ": " + escape_html(what));
  }
  return add(out + "</ul>\n");
}

Report& Report::begin_details(const std::string& summary, bool open) {
  ++open_details_;
  return add(fmt::format("<details{}><summary>{}</summary>\n", open ? " open=\"open\"" : "",
                         escape_html(summary)));
}

Report& Report::end_details() {
  THORAX_CHECK(open_details_ > 0, "[report] end_details without begin_details");
  --open_details_;
  return add("</details>\n");
}

std::string Report::html() const {
  THORAX_CHECK(open_details_ == 0, "[report] {} details have no end", open_details_);
  const std::string title = escape_html(title_);
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
      "<meta charset=\"utf-8\" />\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src 'unsafe-inline'\" />\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<header>\n<h1>{}</h1>\n",
      title, kReportStyle, title);
  if (!subtitle_.empty()) out += "<p class=\"subtitle\">" + escape_html(subtitle_) + "</p>\n";
  out += "</header>\n";
  if (headings_.size() > 1) {
    out += "<nav aria-label=\"Contents\">\n<h2>Contents</h2>\n<ol>\n";
    int level = 2;
    for (std::size_t i = 0; i < headings_.size(); ++i) {
      const Heading& h = headings_[i];
      if (i > 0) out += h.level > level ? "\n<ol>\n" : "</li>\n";
      if (h.level < level) out += "</ol>\n</li>\n";
      out += fmt::format("<li><a href=\"#{}\">{}</a>", h.id, escape_html(h.title));
      level = h.level;
    }
    out += level == 3 ? "</li>\n</ol>\n</li>\n" : "</li>\n";
    out += "</ol>\n</nav>\n";
  }
  return out + "<main>\n" + body_ + "</main>\n<footer>Not for diagnostic use.</footer>\n</body>\n" +
         "</html>\n";
}

void Report::write(const std::filesystem::path& path) const {
  atomic_write(path, html());
}

}  // namespace thorax::app
