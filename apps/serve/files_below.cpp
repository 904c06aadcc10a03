#include "apps/serve/files_below.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace thorax::app {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  int number() const { return number_; }

 private:
  int number_;
};

}  // namespace

std::optional<std::string> read_below(const std::filesystem::path& root, std::string_view relative,
                                      std::uint64_t max_bytes) {
  if (relative.find('\0') != std::string_view::npos) return std::nullopt;
  Descriptor at(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (std::size_t from = 0; at.number() >= 0;) {
    const std::size_t end = relative.find('/', from);
    const std::string part(relative.substr(from, end - from));
    if (part.empty() || part == "." || part == "..") return std::nullopt;
    const bool last = end == std::string_view::npos;
    // A pipe in the place of the file would never open.
    at =
        Descriptor(::openat(at.number(), part.c_str(),
                            O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (last ? O_NONBLOCK : O_DIRECTORY)));
    if (last) break;
    from = end + 1;
  }
  struct stat status {};
  if (at.number() < 0 || ::fstat(at.number(), &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<std::uint64_t>(status.st_size) > max_bytes)
    return std::nullopt;
  std::string content(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t got = ::read(at.number(), content.data() + done, content.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;  // it became shorter meanwhile
    done += static_cast<std::size_t>(got);
  }
  content.resize(done);
  return content;
}

}  // namespace thorax::app
