#include "tests/reliability/disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>

namespace thorax::reliability {

namespace fs = std::filesystem;

namespace {

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::uint64_t inode_of(const fs::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0)
    throw std::runtime_error(fmt::format("{}: {}", path.string(), std::strerror(errno)));
  return status.st_ino;
}

void put(std::string& content, std::uint64_t offset, const std::string& data) {
  if (content.size() < offset + data.size()) content.resize(offset + data.size(), '\0');
  content.replace(offset, data.size(), data);
}

}  // namespace

std::string hash_of(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::vector<LoggedCall> read_log(const fs::path& file) {
  const std::string bytes = read_file(file);
  std::vector<LoggedCall> calls;
  std::size_t at = 0;
  while (at < bytes.size()) {
    LoggedCall call;
    if (bytes.size() - at < sizeof(CallRecord)) throw std::runtime_error("the log ends early");
    std::memcpy(static_cast<CallRecord*>(&call), bytes.data() + at, sizeof(CallRecord));
    at += sizeof(CallRecord);
    for (const auto& [text, size] :
         {std::pair<std::string*, std::uint64_t>{&call.path, call.path_bytes},
          {&call.other, call.other_bytes},
          {&call.data, call.data_bytes}}) {
      if (bytes.size() - at < size) throw std::runtime_error("the log ends early");
      text->assign(bytes, at, size);
      at += size;
    }
    calls.push_back(std::move(call));
  }
  return calls;
}

std::string describe(const LoggedCall& call) {
  static constexpr const char* kNames[] = {"open",   "write", "fsync",    "rename", "link",
                                           "unlink", "rmdir", "truncate", "mkdir",  "symlink"};
  std::string text = fmt::format("{} {}", kNames[static_cast<int>(call.call)], call.path);
  if (!call.other.empty()) text += " -> " + call.other;
  return text;
}

Tree read_tree(const fs::path& folder) {
  Tree tree;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    if (entry.is_directory() && !entry.is_symlink())
      tree[name + "/"];
    else
      tree[name] =
          entry.is_symlink() ? fs::read_symlink(entry.path()).string() : read_file(entry.path());
  }
  return tree;
}

void write_tree(const Tree& tree, const fs::path& folder) {
  fs::create_directories(folder);
  for (const auto& entry : fs::directory_iterator(folder)) fs::remove_all(entry.path());
  for (const auto& [name, content] : tree) {
    if (name.ends_with('/'))
      fs::create_directories(folder / name);
    else
      std::ofstream(folder / name, std::ios::binary) << content;
  }
}

std::string Disk::Node::content() const {
  std::string result = durable;
  for (const Write& write : writes)
    write.cut ? result.resize(write.offset, '\0') : put(result, write.offset, write.data);
  return result;
}

Disk::Disk(const fs::path& folder) {
  nodes_.push_back({.folder = true});
  by_inode_[inode_of(folder)] = 0;
  std::map<std::string, int> at{{".", 0}};
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const fs::path relative = entry.path().lexically_relative(folder);
    const std::string up = relative.parent_path().string();
    Node& above = nodes_[static_cast<std::size_t>(at.at(up.empty() ? "." : up))];
    const std::uint64_t inode = inode_of(entry.path());
    // A second name of the same file.
    const auto known = by_inode_.find(inode);
    const int node = known != by_inode_.end() ? known->second : static_cast<int>(nodes_.size());
    above.names[relative.filename().string()] = node;
    above.now[relative.filename().string()] = node;
    if (known != by_inode_.end()) continue;
    by_inode_[inode] = node;
    at[relative.string()] = node;
    Node fresh{.folder = entry.is_directory()};
    if (!fresh.folder) fresh.durable = read_file(entry.path());
    nodes_.push_back(std::move(fresh));
  }
}

int Disk::find(const std::string& path) const {
  int node = 0;
  if (path == ".") return node;
  for (const fs::path& part : fs::path(path)) {
    const auto& names = nodes_[static_cast<std::size_t>(node)].now;
    const auto found = names.find(part.string());
    if (found == names.end()) return -1;
    node = found->second;
  }
  return node;
}

int Disk::parent(const std::string& path, std::string& name) const {
  const fs::path whole = path;
  name = whole.filename().string();
  const int node = find(whole.has_parent_path() ? whole.parent_path().string() : ".");
  if (node < 0) throw std::runtime_error(fmt::format("{}: its folder was never made", path));
  return node;
}

void Disk::set(int folder, const std::string& name, int node, int elsewhere) {
  Node& f = nodes_[static_cast<std::size_t>(folder)];
  f.changes.push_back({next_change_, name, node, elsewhere});
  if (node < 0)
    f.now.erase(name);
  else
    f.now[name] = node;
}

void Disk::make_names_durable(int folder, std::uint64_t up_to) {
  std::vector<Change> done;
  Node& f = nodes_[static_cast<std::size_t>(folder)];
  const auto end = std::find_if(f.changes.begin(), f.changes.end(),
                                [&](const Change& c) { return c.number > up_to; });
  done.assign(f.changes.begin(), end);
  f.changes.erase(f.changes.begin(), end);
  for (const Change& c : done) {
    if (c.node < 0)
      f.names.erase(c.name);
    else
      f.names[c.name] = c.node;
  }
  for (const Change& c : done)
    if (c.elsewhere >= 0) make_names_durable(c.elsewhere, c.number);
}

void Disk::apply(const LoggedCall& call) {
  if (call.error != 0) return;
  const auto missing = [&](const std::string& path) {
    throw std::runtime_error(
        fmt::format("call {} ({}): {} was not there", call.point, describe(call), path));
  };
  const auto node_of_inode = [&] {
    const auto found = by_inode_.find(call.inode);
    if (found == by_inode_.end()) missing(call.path);
    return found->second;
  };
  std::string name, other;
  switch (call.call) {
    case Call::open: {
      int node = find(call.path);
      if (node < 0) {
        if ((call.flags & O_CREAT) == 0) missing(call.path);
        node = static_cast<int>(nodes_.size());
        nodes_.push_back({});
        set(parent(call.path, name), name, node);
      }
      by_inode_[call.inode] = node;
      if ((call.flags & O_TRUNC) != 0)
        nodes_[static_cast<std::size_t>(node)].writes.push_back({0, {}, true});
      break;
    }
    case Call::write:
      nodes_[static_cast<std::size_t>(node_of_inode())].writes.push_back(
          {call.offset, call.data, false});
      break;
    case Call::truncate:
      nodes_[static_cast<std::size_t>(node_of_inode())].writes.push_back({call.offset, {}, true});
      break;
    case Call::sync: {
      const int node = node_of_inode();
      Node& n = nodes_[static_cast<std::size_t>(node)];
      if (!n.writes.empty()) {
        n.durable = n.content();
        n.durable_hash.clear();
        n.writes.clear();
      }
      if (n.folder) make_names_durable(node, next_change_);
      break;
    }
    case Call::mkdir: {
      const int node = static_cast<int>(nodes_.size());
      nodes_.push_back({.folder = true});
      by_inode_[call.inode] = node;
      set(parent(call.path, name), name, node);
      break;
    }
    case Call::unlink:
    case Call::rmdir:
      if (find(call.path) < 0) missing(call.path);
      set(parent(call.path, name), name, -1);
      break;
    case Call::link: {
      const int node = find(call.path);
      if (node < 0) missing(call.path);
      set(parent(call.other, name), name, node);
      break;
    }
    case Call::rename: {
      const int node = find(call.path), there = find(call.other);
      if (node < 0) missing(call.path);
      if (node == there) break;  // two names of one file: rename does nothing
      const int from = parent(call.path, name), to = parent(call.other, other);
      const bool exchange = (call.flags & RENAME_EXCHANGE) != 0;
      set(from, name, exchange ? there : -1, from == to ? -1 : to);
      set(to, other, node, from == to ? -1 : from);
      break;
    }
    case Call::symlink:
      throw std::runtime_error("a symbolic link was made: the model knows none");
  }
  ++next_change_;
}

void Disk::take_back(const LoggedCall& write) {
  nodes_[static_cast<std::size_t>(by_inode_.at(write.inode))].writes.pop_back();
}

// How many of each folder's pending changes survive: a random number, raised until every rename
// between two folders happens in both.
namespace {
std::uint64_t mixed(std::uint64_t seed, std::uint64_t node) {
  return std::mt19937_64(seed * 1000003 + node)();
}
}  // namespace

Tree Disk::tree(Survivors survivors, std::uint64_t seed) const {
  Tree result;
  walk(survivors, seed, [&](const std::string& path, int node) {
    result[path] = path.ends_with('/') ? "" : content(node, survivors, seed);
  });
  return result;
}

std::string Disk::hash(Survivors survivors, std::uint64_t seed) const {
  std::string all;
  walk(survivors, seed, [&](const std::string& path, int node) {
    all += fmt::format("{} {}", path.size(), path);
    if (path.ends_with('/')) return;
    const Node& n = nodes_[static_cast<std::size_t>(node)];
    if (!n.writes.empty()) {
      all += hash_of(content(node, survivors, seed));
    } else {
      if (n.durable_hash.empty()) n.durable_hash = hash_of(n.durable);
      all += n.durable_hash;
    }
  });
  return hash_of(all);
}

void Disk::walk(Survivors survivors, std::uint64_t seed, const Visit& visit) const {
  std::map<int, std::size_t> kept;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const std::vector<Change>& changes = nodes_[i].changes;
    if (changes.empty()) continue;
    std::size_t count = changes.size();
    if (survivors == Survivors::none) count = 0;
    if (survivors == Survivors::prefixes) count = mixed(seed, i) % (count + 1);
    // The two halves of a rename within a folder are one change.
    while (count > 0 && count < changes.size() &&
           changes[count].number == changes[count - 1].number)
      ++count;
    kept[static_cast<int>(i)] = count;
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (auto& [folder, count] : kept)
      for (std::size_t c = 0; c < count; ++c) {
        const Change& change = nodes_[static_cast<std::size_t>(folder)].changes[c];
        if (change.elsewhere < 0) continue;
        const std::vector<Change>& theirs =
            nodes_[static_cast<std::size_t>(change.elsewhere)].changes;
        std::size_t& wanted = kept[change.elsewhere];
        while (wanted < theirs.size() && theirs[wanted].number <= change.number) {
          ++wanted;
          changed = true;
        }
      }
  }
  walk(0, "", kept, visit);
}

void Disk::walk(int node, const std::string& path, const std::map<int, std::size_t>& kept,
                const Visit& visit) const {
  const Node& n = nodes_[static_cast<std::size_t>(node)];
  if (n.folder) {
    if (!path.empty()) visit(path + "/", node);
    std::map<std::string, int> names = n.names;
    const auto found = kept.find(node);
    for (std::size_t c = 0; found != kept.end() && c < found->second; ++c) {
      const Change& change = n.changes[c];
      if (change.node < 0)
        names.erase(change.name);
      else
        names[change.name] = change.node;
    }
    for (const auto& [name, child] : names)
      walk(child, path.empty() ? name : path + "/" + name, kept, visit);
    return;
  }
  visit(path, node);
}

std::string Disk::content(int node, Survivors survivors, std::uint64_t seed) const {
  const Node& n = nodes_[static_cast<std::size_t>(node)];
  std::string content = n.durable;
  switch (survivors) {
    case Survivors::all:
      content = n.content();
      break;
    case Survivors::none:
      break;
    case Survivors::names:
      // The new size is there, the data is not.
      for (const Write& write : n.writes)
        write.cut ? content.resize(write.offset, '\0')
                  : put(content, write.offset, std::string(write.data.size(), '\0'));
      break;
    case Survivors::prefixes: {
      const std::size_t count =
          mixed(seed, static_cast<std::uint64_t>(node)) % (n.writes.size() + 1);
      for (std::size_t w = 0; w < count; ++w) {
        const Write& write = n.writes[w];
        if (write.cut) {
          content.resize(write.offset, '\0');
        } else if (w + 1 < count) {
          put(content, write.offset, write.data);
        } else {
          put(content, write.offset, write.data.substr(0, write.data.size() / 2));
        }
      }
      break;
    }
  }
  return content;
}

}  // namespace thorax::reliability
