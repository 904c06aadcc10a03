#include "engine/io/pytorch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <set>

#include "engine/io/byte_source.h"
#include "engine/io/pytorch_pickle.h"
#include "engine/io/zip_archive.h"

namespace thorax {
namespace {

// Of a row of pickles, how many bytes one of them may have.
constexpr std::uint64_t kMaxPickle = 32 << 20;
// Storages that many tensors share are written out for each; more than so many times the file is
// no network.
constexpr std::uint64_t kMostCopies = 8;
constexpr std::string_view kMagic =
    "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";  // the first pickle, after its protocol

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What a storage is, wherever it lies.
struct StoragePlace {
  std::uint64_t begin = 0, count = 0;  // legacy: in the file, elements
  std::string entry;                   // zip: its name
};

class Reader {
 public:
  Reader(ByteSource source, std::string_view what, FileOrder order)
      : source_(std::move(source)), what_(what), order_(order) {}

  PytorchFile run() {
    std::vector<std::byte> head(static_cast<std::size_t>(std::min<std::uint64_t>(source_.size, 4)));
    source_.read(0, head);
    const Pickle pickle = text_of(head) == "PK\x03\x04" ? open_zip() : open_legacy();
    StateDictEntries found = find_state_dict(*pickle.root, what_);
    PytorchFile file;
    file.entry = std::move(found.entry);
    file.others = std::move(found.others);
    file.ignored = std::move(found.ignored);
    file.module_class = std::move(found.module_class);
    // By storage, so that one is in memory at a time.
    std::map<std::string, std::vector<const StoredTensor*>> by_storage;
    std::uint64_t bytes = 0;
    for (const StoredTensor& tensor : found.tensors) {
      check(tensor);
      std::uint64_t size = size_of(*tensor.dtype);
      for (const std::int64_t extent : tensor.shape) size *= static_cast<std::uint64_t>(extent);
      bytes += size;
      THORAX_CHECK(bytes <= kMostCopies * source_.size,
                   "[pytorch] {}: its tensors take more than {} times the file's {} bytes", what_,
                   kMostCopies, source_.size);
      by_storage[tensor.storage].push_back(&tensor);
    }
    for (const auto& [key, tensors] : by_storage) {
      const std::vector<std::byte> storage = read_storage(*tensors.front());
      for (const StoredTensor* tensor : tensors) {
        THORAX_CHECK(tensor->dtype == tensors.front()->dtype &&
                         tensor->storage_count == tensors.front()->storage_count,
                     "[pytorch] {}: storage '{}' has two types or sizes", what_, key);
        file.tensors[tensor->name] = gather(*tensor, storage);
      }
    }
    return file;
  }

 private:
  Pickle open_zip() {
    archive_.emplace(source_, std::string(what_));
    const auto is_folder_of = [](const std::string& name, std::string_view end) {
      return name.ends_with(end) && name.find('/') == name.size() - end.size();
    };
    for (const auto& [name, entry] : archive_->entries()) {
      if (!is_folder_of(name, "/data.pkl")) continue;
      THORAX_CHECK(prefix_.empty(), "[pytorch] {}: has two networks, '{}data.pkl' and '{}'", what_,
                   prefix_, name);
      prefix_ = name.substr(0, name.size() - std::string_view("data.pkl").size());
    }
    THORAX_CHECK(!prefix_.empty(),
                 "[pytorch] {}: is a zip archive without NAME/data.pkl: not written by torch.save; "
                 "if weights lie in it, unpack it first",
                 what_);
    THORAX_CHECK(!archive_->entries().contains(prefix_ + "constants.pkl"),
                 "[pytorch] {}: is a TorchScript program; in Python, save its weights alone: "
                 "torch.save(torch.jit.load(FILE).state_dict(), NEW)",
                 what_);
    if (archive_->entries().contains(prefix_ + "byteorder")) {
      const std::vector<std::byte> order = archive_->read(prefix_ + "byteorder");
      const std::string_view text = text_of(order);
      THORAX_CHECK(text == "little" || text == "big",
                   "[pytorch] {}: byteorder '{}' is neither little nor big", what_,
                   text.substr(0, 32));
      swap_ = text == "big";
    }
    const std::string name = prefix_ + "data.pkl";
    const std::uint64_t length = archive_->entries().at(name).size;
    THORAX_CHECK(length <= kMaxPickle, "[pytorch] {}: '{}' has {} bytes, the limit is {}", what_,
                 name, length, kMaxPickle);
    const std::vector<std::byte> bytes = archive_->read(name);
    Pickle pickle = read_pickle(bytes, what_, may_occur_in_weights);
    THORAX_CHECK(pickle.bytes == bytes.size(), "[pytorch] {}: {} bytes behind the end of '{}'",
                 what_, bytes.size() - pickle.bytes, name);
    return pickle;
  }

  // Magic number, version, machine, the object, the keys of its storages; then the storages.
  Pickle open_legacy() {
    std::uint64_t at = 0;
    const auto next = [&] {
      const std::uint64_t length = std::min(source_.size - at, kMaxPickle);
      std::vector<std::byte> bytes(static_cast<std::size_t>(length));
      source_.read(at, bytes);
      Pickle pickle = read_pickle(bytes, what_, may_occur_in_weights);
      at += pickle.bytes;
      return pickle;
    };
    std::vector<std::byte> head(
        static_cast<std::size_t>(std::min<std::uint64_t>(source_.size, 1024)));
    source_.read(0, head);
    THORAX_CHECK(is_pytorch_file(head),
                 "[pytorch] {}: is no file of torch.save: neither a zip archive nor its older form",
                 what_);
    next();
    const Pickle version = next();
    THORAX_CHECK(version.root->is(PickleValue::Kind::integer) && version.root->integer == 1001,
                 "[pytorch] {}: version {} of the older form, wants 1001", what_,
                 version.root->integer);
    const Pickle machine = next();
    const PickleValue* little = find_entry(*machine.root, "little_endian");
    THORAX_CHECK(little != nullptr && little->is(PickleValue::Kind::boolean),
                 "[pytorch] {}: does not say in which order its bytes are", what_);
    swap_ = little->integer == 0;
    Pickle object = next();
    const Pickle keys = next();
    THORAX_CHECK(keys.root->is(PickleValue::Kind::list),
                 "[pytorch] {}: has no list of its storages", what_);
    const std::map<std::string, std::uint64_t> widths = storage_widths(object, what_);
    for (const PickleValue* key : keys.root->items) {
      THORAX_CHECK(key->is(PickleValue::Kind::text), "[pytorch] {}: a storage without a name",
                   what_);
      const auto width = widths.find(key->text);
      THORAX_CHECK(width != widths.end(), "[pytorch] {}: storage '{}' has no type", what_,
                   key->text);
      THORAX_CHECK(source_.size - at >= 8,
                   "[pytorch] {}: ends before storage '{}': it is cut short", what_, key->text);
      std::uint64_t count = 0;
      source_.read(at, std::as_writable_bytes(std::span(&count, 1)));
      if (swap_) count = __builtin_bswap64(count);
      at += 8;
      THORAX_CHECK(count <= (source_.size - at) / width->second,
                   "[pytorch] {}: storage '{}' of {} values does not fit the file of {} bytes: it "
                   "is cut short; copy or download it again",
                   what_, key->text, count, source_.size);
      THORAX_CHECK(legacy_.emplace(key->text, StoragePlace{at, count, {}}).second,
                   "[pytorch] {}: has two storages '{}'", what_, key->text);
      at += count * width->second;
    }
    THORAX_CHECK(at == source_.size, "[pytorch] {}: {} bytes behind the last storage", what_,
                 source_.size - at);
    return object;
  }

  // Whether every element of the tensor lies in its storage, and that in the file.
  void check(const StoredTensor& t) const {
    const auto refuse = [&](const std::string& why) {
      fail("[pytorch] {}: tensor '{}': {}", what_, t.name, why);
    };
    if (!t.dtype)
      refuse(
          fmt::format("{} is no type that this program computes with (float, double, half, "
                      "bfloat16, int, long, byte, bool): convert it to float",
                      t.type));
    if (t.shape.size() > Shape::kMaxRank)
      refuse(fmt::format("shape [{}] has rank {}, this program computes with ranks up to {}",
                         fmt::join(t.shape, ", "), t.shape.size(), Shape::kMaxRank));
    constexpr std::int64_t kLimit = std::numeric_limits<std::int64_t>::max();
    std::int64_t elements = 1, last = t.offset;
    bool fits = t.offset >= 0 && t.shape.size() == t.strides.size();
    for (std::size_t i = 0; fits && i < t.shape.size(); ++i) {
      const std::int64_t extent = t.shape[i], stride = t.strides[i];
      fits = extent >= 0 && stride >= 0 && (extent == 0 || elements <= kLimit / extent) &&
             (extent <= 1 || stride <= (kLimit - last) / (extent - 1));
      if (!fits) break;
      elements *= extent;
      if (extent > 1) last += stride * (extent - 1);
    }
    if (!fits || (elements > 0 && last >= t.storage_count))
      refuse(fmt::format("shape [{}], strides [{}] from element {} on leave its storage of {}",
                         fmt::join(t.shape, ", "), fmt::join(t.strides, ", "), t.offset,
                         t.storage_count));
    if (elements > t.storage_count)
      refuse(
          fmt::format("shape [{}] has more elements than its storage ({}): an expanded tensor; "
                      "save it after .contiguous()",
                      fmt::join(t.shape, ", "), t.storage_count));
    const auto count = static_cast<std::uint64_t>(t.storage_count);
    if (archive_) {
      const auto entry = archive_->entries().find(prefix_ + "data/" + t.storage);
      if (entry == archive_->entries().end())
        refuse(fmt::format("its storage '{}data/{}' is not in the file", prefix_, t.storage));
      if (count > source_.size || entry->second.size != count * size_of(*t.dtype))
        refuse(fmt::format("storage '{}' has {} bytes, {} of {} are said to be there", t.storage,
                           entry->second.size, count, t.type));
    } else {
      const auto place = legacy_.find(t.storage);
      if (place == legacy_.end() || place->second.count != count)
        refuse(fmt::format("its storage '{}' of {} is not in the file", t.storage, count));
    }
  }

  std::vector<std::byte> read_storage(const StoredTensor& t) const {
    std::vector<std::byte> bytes;
    const std::size_t width = size_of(*t.dtype);
    if (archive_) {
      bytes = archive_->read(prefix_ + "data/" + t.storage);
    } else {
      const StoragePlace& place = legacy_.at(t.storage);
      bytes.resize(static_cast<std::size_t>(place.count) * width);
      source_.read(place.begin, bytes);
    }
    if (swap_)
      for (std::size_t i = 0; i + width <= bytes.size(); i += width)
        std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i),
                     bytes.begin() + static_cast<std::ptrdiff_t>(i + width));
    return bytes;
  }

  // The elements of a view in the order of memory: rank 4 with the channels last where asked for.
  Tensor gather(const StoredTensor& t, const std::vector<std::byte>& storage) const {
    std::vector<std::int64_t> shape = t.shape, strides = t.strides;
    if (order_ == FileOrder::pytorch && shape.size() == 4)
      for (std::vector<std::int64_t>* axes : {&shape, &strides})
        std::rotate(axes->begin() + 1, axes->begin() + 2, axes->end());
    const Tensor result = Tensor::empty(Shape{std::span<const std::int64_t>(shape)}, *t.dtype);
    const std::size_t width = size_of(*t.dtype), rank = shape.size();
    const std::byte* from = storage.data() + static_cast<std::size_t>(t.offset) * width;
    auto* to = static_cast<std::byte*>(result.raw());
    const std::int64_t count = result.numel();
    if (count == 0) return result;
    const std::int64_t inner = rank == 0 ? 1 : shape.back();
    const std::size_t step = rank == 0 ? width : static_cast<std::size_t>(strides.back()) * width;
    std::vector<std::int64_t> index(rank, 0);
    for (std::int64_t done = 0; done < count; done += inner) {
      std::int64_t start = 0;
      for (std::size_t axis = 0; axis + 1 < rank; ++axis) start += index[axis] * strides[axis];
      const std::byte* row = from + static_cast<std::size_t>(start) * width;
      if (step == width) {
        std::memcpy(to, row, static_cast<std::size_t>(inner) * width);
        to += static_cast<std::size_t>(inner) * width;
      } else {
        for (std::int64_t i = 0; i < inner; ++i, to += width)
          std::memcpy(to, row + static_cast<std::size_t>(i) * step, width);
      }
      for (std::size_t axis = rank < 2 ? 0 : rank - 1; axis > 0; --axis) {
        if (++index[axis - 1] < shape[axis - 1]) break;
        index[axis - 1] = 0;
      }
    }
    return result;
  }

  ByteSource source_;
  std::string_view what_;
  FileOrder order_;
  bool swap_ = false;
  std::optional<ZipArchive> archive_;
  std::string prefix_;  // "archive/"
  std::map<std::string, StoragePlace> legacy_;
};

}  // namespace

bool is_pytorch_file(std::span<const std::byte> head) {
  const std::string_view text = text_of(head);
  if (text.starts_with("PK\x03\x04")) return true;
  return text.size() > 2 && text[0] == '\x80' && text.substr(2).starts_with(kMagic);
}

bool is_pytorch_file(const std::filesystem::path& path) {
  const InputFile file(path);
  std::vector<std::byte> head(static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), 64)));
  file.read(0, head);
  return is_pytorch_file(head);
}

PytorchFile read_pytorch(const std::filesystem::path& path, FileOrder order) {
  const std::string what = path.string();
  return Reader(ByteSource::of(path), what, order).run();
}

PytorchFile parse_pytorch(std::span<const std::byte> bytes, std::string_view what,
                          FileOrder order) {
  return Reader(ByteSource::of(bytes), what, order).run();
}

}  // namespace thorax
