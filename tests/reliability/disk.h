// A folder in memory that the log of a run is replayed on: what it holds after any number of calls
// and what of that is left when the power fails.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/reliability/call_log.h"

namespace thorax::reliability {

struct LoggedCall : CallRecord {
  std::string path, other, data;
};
std::vector<LoggedCall> read_log(const std::filesystem::path& file);
// "rename a -> b", for messages.
std::string describe(const LoggedCall& call);
// 128 bits, as text.
std::string hash_of(std::string_view bytes);

// Contents by path relative to the folder; folders have a trailing '/' and no content.
using Tree = std::map<std::string, std::string>;
Tree read_tree(const std::filesystem::path& folder);
// Makes the folder hold exactly this.
void write_tree(const Tree& tree, const std::filesystem::path& folder);

// What is left of calls that no fsync made durable. Whatever is chosen, a file that was fsynced has
// at least the content of that moment, a folder that was fsynced at least the names of that moment;
// a rename happens in both of its folders or in neither.
enum class Survivors {
  all,       // the process was killed, the machine goes on
  none,      // only what was fsynced
  names,     // all names, but of contents only what was fsynced: the rest reads as zeros
  prefixes,  // of each folder's and each file's calls a random prefix, the last write torn
};

class Disk {
 public:
  // The state of the folder now; all of it is durable.
  explicit Disk(const std::filesystem::path& folder);

  // Throws std::runtime_error when the call cannot have happened so (the shim missed another).
  void apply(const LoggedCall& call);
  // Undoes the write that was applied last.
  void take_back(const LoggedCall& write);
  // `seed` is used by Survivors::prefixes.
  Tree tree(Survivors survivors, std::uint64_t seed = 0) const;
  // Equal for equal trees, without making them.
  std::string hash(Survivors survivors, std::uint64_t seed = 0) const;

 private:
  struct Change {  // of a folder's names
    std::uint64_t number;
    std::string name;
    int node;       // -1: removed
    int elsewhere;  // the other folder of a rename between two, or -1
  };
  struct Write {
    std::uint64_t offset;
    std::string data;
    bool cut;  // a truncate to `offset`
  };
  struct Node {
    bool folder = false;
    std::string durable = {};
    std::vector<Write> writes = {};  // since then
    std::map<std::string, int> names = {};
    std::vector<Change> changes = {};  // since then
    std::map<std::string, int> now = {};
    mutable std::string durable_hash = {};  // "": not computed yet
    std::string content() const;
  };
  // A file, or a folder (its path ends in '/').
  using Visit = std::function<void(const std::string& path, int node)>;

  int find(const std::string& path) const;  // -1: not there
  int parent(const std::string& path, std::string& name) const;
  void set(int folder, const std::string& name, int node, int elsewhere = -1);
  void make_names_durable(int folder, std::uint64_t up_to);
  void walk(Survivors survivors, std::uint64_t seed, const Visit& visit) const;
  void walk(int node, const std::string& path, const std::map<int, std::size_t>& kept,
            const Visit& visit) const;
  std::string content(int node, Survivors survivors, std::uint64_t seed) const;

  std::vector<Node> nodes_;  // 0: the folder itself
  std::map<std::uint64_t, int> by_inode_;
  std::uint64_t next_change_ = 1;
};

}  // namespace thorax::reliability
