#include "engine/io/zip_archive.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "engine/io/crc32.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::uint32_t kEndSignature = 0x06054b50, kEnd64Signature = 0x06064b50,
                        kLocator64Signature = 0x07064b50, kDirectorySignature = 0x02014b50,
                        kLocalSignature = 0x04034b50;
constexpr std::size_t kEndBytes = 22, kLocator64Bytes = 20, kEnd64Bytes = 56, kDirectoryBytes = 46,
                      kLocalBytes = 30;
constexpr std::uint64_t kMaxDirectory = 64 << 20;
constexpr std::uint16_t kElsewhere16 = 0xFFFF;  // the value stands in a zip64 field
constexpr std::uint32_t kElsewhere32 = 0xFFFFFFFF;

template <class T>
T number(Bytes bytes, std::size_t at) {
  T value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::string text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Directory {
  std::uint64_t begin = 0, size = 0, count = 0;
};

// Where the directory lies, from the record at the end of the file.
Directory find_directory(const ByteSource& source, const std::string& what) {
  THORAX_CHECK(source.size >= kEndBytes, "[zip] {}: {} bytes are too few for a zip archive", what,
               source.size);
  const std::uint64_t length = std::min<std::uint64_t>(source.size, kEndBytes + 0xFFFF);
  const std::uint64_t start = source.size - length;
  std::vector<std::byte> tail(static_cast<std::size_t>(length));
  source.read(start, tail);
  std::size_t at = tail.size() - kEndBytes + 1;
  bool found = false;
  while (!found && at > 0) {
    --at;
    found = number<std::uint32_t>(tail, at) == kEndSignature &&
            number<std::uint16_t>(tail, at + 20) == tail.size() - at - kEndBytes;
  }
  THORAX_CHECK(found,
               "[zip] {}: a zip archive without its directory at the end: the file is cut short; "
               "copy or download it again",
               what);
  const Bytes end = Bytes(tail).subspan(at);
  THORAX_CHECK(number<std::uint16_t>(end, 4) == 0 && number<std::uint16_t>(end, 6) == 0,
               "[zip] {}: is one part of an archive in several files", what);
  Directory d{number<std::uint32_t>(end, 16), number<std::uint32_t>(end, 12),
              number<std::uint16_t>(end, 10)};
  std::uint64_t limit = start + at;
  if (d.begin == kElsewhere32 || d.size == kElsewhere32 || d.count == kElsewhere16) {
    THORAX_CHECK(limit >= kLocator64Bytes, "[zip] {}: no zip64 record before its end", what);
    std::vector<std::byte> record(kEnd64Bytes);
    source.read(limit - kLocator64Bytes, std::span(record).first(kLocator64Bytes));
    const auto where = number<std::uint64_t>(record, 8);
    THORAX_CHECK(number<std::uint32_t>(record, 0) == kLocator64Signature &&
                     where <= limit - kLocator64Bytes &&
                     limit - kLocator64Bytes - where >= kEnd64Bytes,
                 "[zip] {}: no zip64 record before its end", what);
    source.read(where, record);
    THORAX_CHECK(number<std::uint32_t>(record, 0) == kEnd64Signature &&
                     number<std::uint32_t>(record, 16) == 0,
                 "[zip] {}: its zip64 record is broken", what);
    d = {number<std::uint64_t>(record, 48), number<std::uint64_t>(record, 40),
         number<std::uint64_t>(record, 32)};
    limit = where;
  }
  THORAX_CHECK(d.begin <= limit && d.size <= limit - d.begin && d.size <= kMaxDirectory &&
                   d.count <= d.size / kDirectoryBytes,
               "[zip] {}: a directory of {} entries in {} bytes at {} does not fit the file of {}",
               what, d.count, d.size, d.begin, source.size);
  return d;
}

// Names are only looked up here, never made into files; one that would leave a folder shows all the
// same that the archive was not written by torch.save.
void check_name(const std::string& name, const std::string& what) {
  const bool inside = !name.empty() && name.front() != '/' &&
                      ("/" + name + "/").find("/../") == std::string::npos &&
                      name.find_first_of(std::string_view("\\:\0", 3)) == std::string::npos;
  THORAX_CHECK(inside,
               "[zip] {}: the entry '{}' is no name of a file inside the archive (empty, absolute, "
               "or with .., \\ or :)",
               what, name);
}

}  // namespace

ZipArchive::ZipArchive(ByteSource source, std::string what)
    : source_(std::move(source)), what_(std::move(what)) {
  const Directory directory = find_directory(source_, what_);
  std::vector<std::byte> bytes(static_cast<std::size_t>(directory.size));
  source_.read(directory.begin, bytes);
  Bytes rest(bytes);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;  // of whole entries
  for (std::uint64_t i = 0; i < directory.count; ++i) {
    THORAX_CHECK(
        rest.size() >= kDirectoryBytes && number<std::uint32_t>(rest, 0) == kDirectorySignature,
        "[zip] {}: entry {} of its directory is broken", what_, i + 1);
    const auto name_bytes = number<std::uint16_t>(rest, 28),
               extra_bytes = number<std::uint16_t>(rest, 30),
               comment_bytes = number<std::uint16_t>(rest, 32);
    const std::size_t whole =
        kDirectoryBytes + std::size_t{name_bytes} + extra_bytes + comment_bytes;
    THORAX_CHECK(rest.size() >= whole, "[zip] {}: entry {} of its directory is broken", what_,
                 i + 1);
    const std::string name = text(rest.subspan(kDirectoryBytes, name_bytes));
    check_name(name, what_);
    ZipEntry entry;
    entry.crc = number<std::uint32_t>(rest, 16);
    entry.method = number<std::uint16_t>(rest, 10);
    entry.encrypted = (number<std::uint16_t>(rest, 8) & 1) != 0;
    // Uncompressed size, size in the archive, offset: those that say "elsewhere" follow each other
    // in the extra field 1.
    std::uint64_t values[3] = {number<std::uint32_t>(rest, 24), number<std::uint32_t>(rest, 20),
                               number<std::uint32_t>(rest, 42)};
    Bytes extra = rest.subspan(kDirectoryBytes + name_bytes, extra_bytes);
    while (extra.size() >= 4) {
      const auto id = number<std::uint16_t>(extra, 0);
      const std::size_t length =
          std::min<std::size_t>(number<std::uint16_t>(extra, 2), extra.size() - 4);
      Bytes field = extra.subspan(4, length);
      for (std::uint64_t& value : values)
        if (id == 1 && value == kElsewhere32 && field.size() >= 8) {
          value = number<std::uint64_t>(field, 0);
          field = field.subspan(8);
        }
      extra = extra.subspan(4 + length);
    }
    entry.size = values[1];
    entry.unpacked = values[0];
    THORAX_CHECK(entry.method != 0 || values[0] == values[1],
                 "[zip] {}: '{}' is stored in {} bytes but said to have {}", what_, name, values[1],
                 values[0]);
    const std::uint64_t local = values[2];
    THORAX_CHECK(local <= directory.begin && directory.begin - local >= kLocalBytes,
                 "[zip] {}: '{}' begins at {}, behind the data of the file", what_, name, local);
    std::vector<std::byte> header(kLocalBytes + name_bytes);
    source_.read(local, std::span(header).first(kLocalBytes));
    const bool fits = number<std::uint32_t>(header, 0) == kLocalSignature &&
                      number<std::uint16_t>(header, 8) == entry.method &&
                      number<std::uint16_t>(header, 26) == name_bytes &&
                      directory.begin - local >= header.size();
    if (fits) source_.read(local, header);
    THORAX_CHECK(fits && text(Bytes(header).subspan(kLocalBytes)) == name,
                 "[zip] {}: '{}': directory and entry say different things", what_, name);
    entry.begin = local + header.size() + number<std::uint16_t>(header, 28);
    THORAX_CHECK(entry.begin <= directory.begin && entry.size <= directory.begin - entry.begin,
                 "[zip] {}: '{}' of {} bytes at {} does not fit the file of {}", what_, name,
                 entry.size, entry.begin, source_.size);
    ranges.emplace_back(local, entry.begin + entry.size);
    THORAX_CHECK(entries_.emplace(name, entry).second, "[zip] {}: has two entries '{}'", what_,
                 name);
    rest = rest.subspan(whole);
  }
  THORAX_CHECK(rest.empty(), "[zip] {}: {} bytes too many in its directory", what_, rest.size());
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i)
    THORAX_CHECK(ranges[i - 1].second <= ranges[i].first,
                 "[zip] {}: two entries lie over each other, at {}", what_, ranges[i].first);
}

std::vector<std::byte> ZipArchive::read(const std::string& name) const {
  const auto found = entries_.find(name);
  THORAX_CHECK(found != entries_.end(), "[zip] {}: has no entry '{}'", what_, name);
  const ZipEntry& entry = found->second;
  THORAX_CHECK(!entry.encrypted, "[zip] {}: '{}' is encrypted", what_, name);
  THORAX_CHECK(
      entry.method == 0,
      "[zip] {}: '{}' is compressed (method {}), torch.save stores its entries as they "
      "are: unpack the archive and pack it with 'zip -0 -r', or save it with PyTorch again",
      what_, name, entry.method);
  std::vector<std::byte> bytes(static_cast<std::size_t>(entry.size));
  source_.read(entry.begin, bytes);
  THORAX_CHECK(crc32(bytes) == entry.crc,
               "[zip] {}: '{}' has another CRC-32 than the directory says: the file is damaged; "
               "copy or download it again (files written under "
               "torch.serialization.set_crc32_options(False) have none: save them again with it)",
               what_, name);
  return bytes;
}

}  // namespace thorax
