#include "apps/report/gnuplot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

#include "apps/report/text.h"
#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace gnuplot {
namespace {

constexpr const char* kFont = "DejaVu Sans,13";
constexpr auto kLongestRun = std::chrono::seconds(60);

// A file in memory: gnuplot reads its commands from one and writes picture and messages to two
// others, so nobody ever waits for a full pipe and nothing is left behind.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& figure)
      : descriptor_(memfd_create("thorax-figure", MFD_CLOEXEC)) {
    THORAX_CHECK(descriptor_ >= 0, "{}no memory file: {}", where(figure), std::strerror(errno));
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  int descriptor() const { return descriptor_; }

  void fill(std::string_view text, const std::string& figure) {
    while (!text.empty()) {
      const ssize_t written = ::write(descriptor_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      THORAX_CHECK(written > 0, "{}its data cannot be stored: {}", where(figure),
                   std::strerror(errno));
      text.remove_prefix(static_cast<std::size_t>(written));
    }
    lseek(descriptor_, 0, SEEK_SET);
  }

  std::string content(const std::string& figure) const {
    struct stat status {};
    THORAX_CHECK(fstat(descriptor_, &status) == 0, "{}{}", where(figure), std::strerror(errno));
    std::string text(static_cast<std::size_t>(status.st_size), '\0');
    std::size_t done = 0;
    while (done < text.size()) {
      const ssize_t got =
          pread(descriptor_, text.data() + done, text.size() - done, static_cast<off_t>(done));
      if (got < 0 && errno == EINTR) continue;
      THORAX_CHECK(got > 0, "{}its picture cannot be read: {}", where(figure),
                   std::strerror(errno));
      done += static_cast<std::size_t>(got);
    }
    return text;
  }

 private:
  int descriptor_;
};

constexpr const char* kInstall =
    "gnuplot is not installed; third_party/install.sh installs it (Debian package gnuplot-nox)";

// Why no figure can be drawn; empty while there is no reason.
std::string& trouble() {
  static std::string text;
  return text;
}

// Waits for the process; past the limit it is killed and the figure named.
int wait_for(pid_t process, const std::string& figure, std::chrono::seconds longest) {
  const auto end = std::chrono::steady_clock::now() + longest;
  for (;;) {
    int status = 0;
    const pid_t ended = waitpid(process, &status, WNOHANG);
    if (ended == process) return status;
    THORAX_CHECK(ended == 0 || errno == EINTR, "{}gnuplot was lost: {}", where(figure),
                 std::strerror(errno));
    if (std::chrono::steady_clock::now() > end) {
      kill(process, SIGKILL);
      waitpid(process, &status, 0);
      trouble() = fmt::format("gnuplot did not end within {} s and was ended", longest.count());
      fail("{}{}", where(figure), trouble());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

std::string run(const std::string& script, const std::string& figure,
                std::vector<std::string> arguments, std::chrono::seconds longest) {
  MemoryFile commands(figure), picture(figure), messages(figure);
  commands.fill(script, figure);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, commands.descriptor(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, picture.descriptor(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, messages.descriptor(), STDERR_FILENO);
  // What this program ignores, another one may rely on.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t usual;
  sigemptyset(&usual);
  for (const int signal : {SIGPIPE, SIGXFSZ}) sigaddset(&usual, signal);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  arguments.insert(arguments.begin(), "gnuplot");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t process = 0;
  const int error = posix_spawnp(&process, "gnuplot", &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  THORAX_CHECK(error != ENOENT, "{}{}", where(figure), kInstall);
  THORAX_CHECK(error == 0, "{}gnuplot cannot be started: {}", where(figure), std::strerror(error));
  const int status = wait_for(process, figure, longest);
  std::string message = clean_text(messages.content(figure));
  message.erase(0, message.find_first_not_of(' '));
  if (message.size() > 500) message.resize(500);
  THORAX_CHECK(!WIFSIGNALED(status), "{}gnuplot was ended by signal {}: {}", where(figure),
               WTERMSIG(status), message);
  THORAX_CHECK(WEXITSTATUS(status) == 0, "{}gnuplot failed with exit status {}: {}", where(figure),
               WEXITSTATUS(status), message);
  std::string bytes = picture.content(figure);
  THORAX_CHECK(!bytes.empty(), "{}gnuplot drew nothing: {}", where(figure), message);
  return bytes;
}

// -d: the reader's own ~/.gnuplot must not change the figures.
std::string drawn(const std::string& script, const std::string& figure) {
  THORAX_CHECK(trouble().empty(), "{}{}", where(figure), trouble());
  return run(script, figure, {"-d"}, kLongestRun);
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

// gnuplot names its parts in <title> elements, which browsers show as tips; the figure has a title
// of its own. It also leaves "]]>" in texts as it is, which XML forbids.
std::string tidy_svg(std::string svg, const std::string& title) {
  replace_all(svg, "]]>", "]]&gt;");
  for (std::size_t at = svg.find("<title>gnuplot_plot_"); at != std::string::npos;
       at = svg.find("<title>gnuplot_plot_", at)) {
    const std::size_t end = svg.find("</title>", at);
    if (end == std::string::npos) break;
    svg.erase(at, end + 8 - at);
  }
  const std::size_t head = svg.find("<title>Gnuplot</title>");
  if (head != std::string::npos) svg.replace(head, 22, "<title>" + escape_html(title) + "</title>");
  const std::size_t from = svg.find("<desc>"), to = svg.find("</desc>");
  if (from != std::string::npos && to != std::string::npos && from < to)
    svg.erase(from, to + 7 - from);
  return svg;
}

// Lines of at most `columns` characters, broken at blanks.
std::vector<std::string> lines_of(const std::string& text, std::size_t columns) {
  std::vector<std::string> lines(1);
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = text.find(' ', i);
    if (end == std::string::npos) end = text.size();
    const std::string word = text.substr(i, end - i);
    if (!word.empty()) {
      if (!lines.back().empty() && text_columns(lines.back()) + 1 + text_columns(word) > columns)
        lines.emplace_back();
      lines.back() += (lines.back().empty() ? "" : " ") + shortened(word, columns);
    }
    i = end + 1;
  }
  return lines;
}

}  // namespace

const std::string& problem() {
  static bool asked = false;
  if (!asked) {
    asked = true;
    try {
      run("", "version", {"--version"}, std::chrono::seconds(10));
    } catch (const Error& error) {
      const std::string text = error.what(), before = where("version");
      trouble() = text.starts_with(before) ? text.substr(before.size()) : text;
    }
  }
  return trouble();
}

std::string literal(std::string_view text) {
  const std::string clean = clean_text(text);
  // gnuplot takes two quotes at the beginning for an empty string: quotes that lead are joined from
  // outside.
  const std::size_t quotes = std::min(clean.find_first_not_of('\''), clean.size());
  std::string out = quotes > 0 ? "\"" + clean.substr(0, quotes) + "\".'" : "'";
  for (const char c : clean.substr(quotes)) {
    if (c == '\'') out += c;
    out += c;
  }
  return out + "'";
}

std::string wrapped(std::string_view text, std::size_t columns, std::size_t lines) {
  std::vector<std::string> parts = lines_of(clean_text(text), columns);
  if (parts.size() > lines) {
    // The next line's first word did not fit behind this one, so that this ends in an ellipsis.
    parts[lines - 1] = shortened(parts[lines - 1] + " " + parts[lines], columns);
    parts.resize(lines);
  }
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ".\"\\n\".") + literal(part);
  return out;
}

std::string shortened(std::string_view text, std::size_t columns) {
  const std::string clean = clean_text(text);
  if (text_columns(clean) <= columns) return clean;
  std::string out;
  std::size_t used = 0;
  for (std::size_t i = 0; i < clean.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(clean[i]) & 0xC0) != 0x80;
    if (begins && ++used >= columns) break;
    out += clean[i];
  }
  return out + "\xE2\x80\xA6";  // U+2026, an ellipsis
}

std::string tick_label(std::string_view text) {
  std::string doubled;
  for (const char c : text) {
    if (c == '%') doubled += c;
    doubled += c;
  }
  return literal(doubled);
}

std::string number(double value) {
  THORAX_CHECK(std::isfinite(value), "[plot] {} is no number to draw", value);
  return fmt::format("{:.9g}", value);
}

std::string where(const std::string& title) {
  return fmt::format("[plot] figure '{}': ", clean_text(title));
}

namespace {
constexpr int kLooks = 7;
}

std::string colour(int look) {
  // Okabe-Ito, without its yellow, which is hard to see on white.
  constexpr std::array<const char*, kLooks> kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                        "#e69f00", "#56b4e9", "#000000"};
  return kColours[static_cast<std::size_t>(look % kLooks)];
}

std::string dash(int look) {
  constexpr std::array<const char*, kLooks> kDashes = {
      "solid", "(12,5)", "(3,4)", "(14,4,3,4)", "(20,6)", "(10,4,3,4,3,4)", "(6,6)"};
  return kDashes[static_cast<std::size_t>((look + look / kLooks) % kLooks)];
}

int point_type(int look) {
  // Circle, triangle, square, diamond, upside-down triangle, then open circle and square.
  constexpr std::array<int, kLooks> kTypes = {7, 9, 5, 13, 11, 6, 4};
  return kTypes[static_cast<std::size_t>((look + look / kLooks) % kLooks)];
}

LegendLayout legend_layout(const std::vector<std::string>& names, int width) {
  std::size_t longest = 1;
  for (const std::string& name : names) longest = std::max(longest, text_columns(name));
  const int entry = 70 + 8 * static_cast<int>(longest);
  const int count = static_cast<int>(names.size());
  LegendLayout layout;
  layout.columns = std::clamp(width / entry, 1, std::max(1, count));
  layout.rows = (count + layout.columns - 1) / layout.columns;
  // Three of four entries above one another look better than four and a straggler.
  layout.columns = layout.rows > 0 ? (count + layout.rows - 1) / layout.rows : 1;
  layout.bottom = kAxisHeight + kLegendRow * layout.rows;
  return layout;
}

std::string legend_below(const LegendLayout& layout, int height) {
  return fmt::format(
      "set key at screen 0.5,screen {} center bottom horizontal maxcols {} Left reverse samplen 3 "
      "spacing 1.1\n",
      number(5.0 / height), layout.columns);
}

std::string axis_label(const std::string& label, int bottom, int height) {
  return fmt::format(
      "set bmargin at screen {}\nset label {} at graph 0.5,screen {} center textcolor rgb '{}'\n",
      number(static_cast<double>(bottom) / height), literal(shortened(label, 70)),
      number((bottom - 46.0) / height), kInk);
}

std::string preamble(const std::string& title, int width) {
  std::string out = "set encoding utf8\n";
  out += fmt::format("set border 3 lc rgb '{}' lw 0.8\n", kInk);
  out += fmt::format("set tics nomirror out scale 0.6 textcolor rgb '{}'\n", kInk);
  out += "set format '%g'\n";
  out += fmt::format("set grid back lt 1 lc rgb '{}' lw 0.8 dt solid\n", kGridColour);
  if (!title.empty())
    out += fmt::format("set title {} font ',15' textcolor rgb '#000000'\n",
                       wrapped(title, static_cast<std::size_t>(width / 10)));
  return out;
}

Figure render(const std::string& script, const std::string& title, int width, int height) {
  Figure figure;
  figure.title = title;
  figure.width = width;
  figure.height = height;
  const std::string svg = fmt::format(
      "set terminal svg noenhanced size {},{} fixed font '{}' background '#ffffff' linewidth 1\n"
      "POINT = 0.7\n",
      width, height, kFont);
  const std::string png = fmt::format(
      "set terminal pngcairo noenhanced size {},{} font '{}' fontscale 1.5 linewidth 2 pointscale "
      "2 background '#ffffff'\nPOINT = 1\n",
      2 * width, 2 * height, kFont);
  figure.svg = tidy_svg(drawn(svg + script, title), title);
  figure.png = drawn(png + script, title);
  return figure;
}

}  // namespace gnuplot

void save_figure(const Figure& figure, const std::filesystem::path& stem) {
  THORAX_CHECK(!figure.svg.empty() && !figure.png.empty(), "{}has not been drawn",
               gnuplot::where(figure.title));
  const auto with = [&](const char* extension) {
    std::filesystem::path path = stem;
    path += extension;
    return path;
  };
  atomic_write(with(".svg"), figure.svg);
  atomic_write(with(".png"), figure.png);
}

}  // namespace thorax::app
