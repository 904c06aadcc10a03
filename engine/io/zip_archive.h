// Zip archives whose entries are stored uncompressed, as torch.save writes them. PKWARE's
// APPNOTE.TXT 6.3.10, with the zip64 extension.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/io/byte_source.h"

namespace thorax {

struct ZipEntry {
  std::uint64_t begin = 0, size = 0;  // of its data, in the archive
  std::uint64_t unpacked = 0;         // of its content, if its data are compressed
  std::uint32_t crc = 0;
  std::uint16_t method = 0;  // 0: stored as it is
  bool encrypted = false;
};

class ZipArchive {
 public:
  // Reads the directory and holds it against the file: entries within the file and not in each
  // other's way, names that are unique, relative and without "..", local headers that say the same.
  // Throws Error "[zip] WHAT: ..." otherwise; `what` names the file.
  ZipArchive(ByteSource source, std::string what);

  const std::map<std::string, ZipEntry>& entries() const { return entries_; }
  // The data of an entry that is stored as it is; its CRC-32 is compared. Throws Error otherwise.
  std::vector<std::byte> read(const std::string& name) const;

 private:
  ByteSource source_;
  std::string what_;
  std::map<std::string, ZipEntry> entries_;
};

}  // namespace thorax
