// Files that appear whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace thorax {

// Writes a new version of a file piece by piece. The pieces go to a temporary file in the same
// folder; commit() makes them durable (fsync) and renames them over `path`. Until then, and after
// any error, `path` is what it was. The destructor removes an uncommitted temporary file.
//
// The temporary file is called NAME.tmp-<16 random hexadecimal digits>, was not there before
// (O_EXCL), and is locked (flock) while it is written: whoever can lock it knows that its writer is
// gone, on whatever machine or in whatever container that was. See remove_leftovers.
class AtomicFile {
 public:
  // Throws Error "[io] ..." naming the file when the folder cannot be written.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends; throws Error "[io] PATH: ..." on a full disk, a quota or any other write error.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  // Makes the new version the file's content. To be called once, last.
  void commit();

 private:
  [[noreturn]] void give_up(const char* what);
  void discard() noexcept;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

// Replaces the content of `path` by `bytes`; see AtomicFile.
void atomic_write(const std::filesystem::path& path, std::span<const std::byte> bytes);
void atomic_write(const std::filesystem::path& path, std::string_view text);

// Copies a regular file; `to` appears whole or not at all.
void atomic_copy(const std::filesystem::path& from, const std::filesystem::path& to);

// Makes a rename or removal in this folder durable.
void sync_folder(const std::filesystem::path& folder);

// Creates the folder and those above it where they are missing, durably. Throws Error
// "[io] PATH: ..." when something else has the name or the system refuses.
void create_folders(const std::filesystem::path& folder);

// Removes the temporary files of AtomicFile that processes which no longer live have left in
// `folder` and below; nothing else, and nothing that somebody is writing. On file systems without
// locks nothing is removed. Temporary files of earlier versions ("NAME.tmp-PID-N", not locked)
// go when they are older than an hour.
void remove_leftovers(const std::filesystem::path& folder);
// The same for the temporary files of one file.
void remove_leftovers_of(const std::filesystem::path& path);

// Sixteen random hexadecimal digits, for names that nobody else chooses or foresees.
std::string random_digits();

// Content of a regular file. Throws Error "[io] PATH: ..." when it cannot be read or holds more
// than `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes);
std::vector<std::byte> read_bytes(const std::filesystem::path& path, std::uint64_t max_bytes);

// A regular file opened for reading at any position.
class InputFile {
 public:
  // A Git LFS pointer in place of the file is an error, unless its bytes are wanted whatever they
  // are.
  enum class Pointer { refuse, accept };
  explicit InputFile(std::filesystem::path path, Pointer pointer = Pointer::refuse);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  // Fills `out` from `offset`; throws Error when the file ends earlier.
  void read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  std::filesystem::path path_;
  std::uint64_t size_ = 0;
  int descriptor_ = -1;
};

}  // namespace thorax
