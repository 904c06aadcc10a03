#include "engine/io/file_kind.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace thorax {
namespace {

using std::string_view_literals::operator""sv;

constexpr const char* kTakePytorch =
    ": --weights and 'thorax weights' read it; 'thorax weights convert' makes a model file of it "
    "for the other commands";

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Magic {
  std::string_view start;
  const char* what;
};
constexpr Magic kMagic[] = {
    {"\x1f\x8b"sv, "is compressed with gzip: unpack it first"},
    {"BZh"sv, "is compressed with bzip2: unpack it first"},
    {"\xfd"
     "7zXZ\0"sv,
     "is compressed with xz: unpack it first"},
    {"\x28\xb5\x2f\xfd"sv, "is compressed with zstd: unpack it first"},
    {"7z\xbc\xaf\x27\x1c"sv, "is a 7z archive: unpack it first"},
    {"Rar!"sv, "is a RAR archive: unpack it first"},
    {"\x89HDF\r\n\x1a\n"sv, "is an HDF5 file, as Keras writes: its weights must be exported"},
    {"\x93NUMPY"sv, "is a NumPy array: safetensors.numpy.save_file writes arrays by name"},
    {"GGUF"sv, "is a GGUF file of another kind of network"},
    {"%PDF"sv, "is a PDF document"},
    {"\x89PNG\r\n"sv, "is a PNG image"},
    {"\xff\xd8\xff"sv, "is a JPEG image"},
};

}  // namespace

bool is_lfs_pointer(std::span<const std::byte> head) {
  return text_of(head).starts_with("version https://git-lfs.github.com/spec/");
}

std::string foreign_kind(std::span<const std::byte> head) {
  const std::string_view text = text_of(head);
  if (is_lfs_pointer(head))
    return "is a Git LFS pointer, not the file that it stands for: fetch that with 'git lfs pull'";
  if (text.starts_with("PK\x03\x04"))
    return std::string("is a zip archive, as torch.save writes .pt and .pth") + kTakePytorch;
  // Protocols 2 to 5.
  if (text.size() >= 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5)
    return std::string("is a Python pickle, as torch.save wrote .pth before 2020") + kTakePytorch;
  for (const Magic& magic : kMagic)
    if (text.starts_with(magic.start)) return magic.what;
  if (text.size() >= 262 && text.substr(257, 5) == "ustar")
    return "is a tar archive: unpack it first";
  std::string start(text.substr(0, 64));
  start.erase(0, std::min(start.size(), start.find_first_not_of(" \t\r\n\xef\xbb\xbf")));
  std::transform(start.begin(), start.end(), start.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* html : {"<!doctype", "<html", "<head", "<?xml"})
    if (start.starts_with(html))
      return "is an HTML page: the download gave a web page in place of the file; look at its "
             "address (on a hub: 'resolve' or 'raw' instead of 'blob')";
  if (start.starts_with('{') || start.starts_with('['))
    return "is JSON text: an index or a configuration; the weights lie in the files beside it";
  return {};
}

}  // namespace thorax
