#include "engine/io/pytorch_pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

using Kind = PickleValue::Kind;

struct StorageClass {
  std::string_view name;
  std::optional<DType> dtype;
  std::uint64_t width;
};
constexpr StorageClass kStorages[] = {
    {"torch.FloatStorage", DType::f32, 4},
    {"torch.DoubleStorage", DType::f64, 8},
    {"torch.HalfStorage", DType::f16, 2},
    {"torch.BFloat16Storage", DType::bf16, 2},
    {"torch.IntStorage", DType::i32, 4},
    {"torch.LongStorage", DType::i64, 8},
    {"torch.ByteStorage", DType::u8, 1},
    {"torch.BoolStorage", DType::u8, 1},
    {"torch.CharStorage", {}, 1},
    {"torch.ShortStorage", {}, 2},
    {"torch.ComplexFloatStorage", {}, 8},
    {"torch.ComplexDoubleStorage", {}, 16},
    {"torch.storage.UntypedStorage", {}, 1},
};
const StorageClass* storage_class(std::string_view name) {
  const auto* found = std::find_if(std::begin(kStorages), std::end(kStorages),
                                   [&](const StorageClass& c) { return c.name == name; });
  return found == std::end(kStorages) ? nullptr : found;
}

// Entries that are taken for the network where a checkpoint has several dicts of tensors.
constexpr std::string_view kUsual[] = {"state_dict", "model_state_dict", "model",  "net",
                                       "network",    "module",           "weights"};

// A module within a module within ...; values may contain themselves.
constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxTensors = 200'000;

bool is_parameter(const PickleValue& v) {
  return v.is(Kind::object) &&
         (v.text == "torch.nn.parameter.Parameter" ||
          v.text.starts_with("torch._utils._rebuild_parameter")) &&
         !v.arguments().empty();
}
// Whatever is rebuilt as a tensor, also of a kind that is refused later, by its name.
bool is_tensor(const PickleValue& v) {
  return is_parameter(v) || (v.is(Kind::object) && v.text.starts_with("torch._utils._rebuild_"));
}
// torch.save(model): an object whose state is the module's __dict__.
bool is_module(const PickleValue& v) {
  return v.is(Kind::object) && v.state != nullptr && find_entry(*v.state, "_parameters") &&
         find_entry(*v.state, "_modules");
}

class Finder {
 public:
  explicit Finder(std::string_view what) : what_(what) {}

  StateDictEntries run(const PickleValue& root) {
    if (is_module(root)) {
      take(root);
      return std::move(found_);
    }
    THORAX_CHECK(root.is(Kind::dict),
                 "[pytorch] {}: holds no dict of tensors but {}; wanted is what "
                 "torch.save(model.state_dict(), FILE) writes",
                 what_, is_tensor(root) ? "one tensor" : "something else");
    std::set<std::string> keys;
    for (std::size_t i = 0; i + 1 < root.items.size(); i += 2)
      THORAX_CHECK(!root.items[i]->is(Kind::text) || keys.insert(root.items[i]->text).second,
                   "[pytorch] {}: has two entries '{}'", what_, root.items[i]->text);
    const PickleValue* chosen = &root;
    if (const std::vector<std::string> candidates = networks(root); !candidates.empty()) {
      const bool plain = has_tensors(root);
      const auto* usual = std::find_if(std::begin(kUsual), std::end(kUsual), [&](auto name) {
        return std::find(candidates.begin(), candidates.end(), name) != candidates.end();
      });
      if (usual != std::end(kUsual)) {
        found_.entry = *usual;
      } else if (!plain) {
        THORAX_CHECK(candidates.size() == 1,
                     "[pytorch] {}: has {} dicts of tensors, {}; which one the network is, is not "
                     "said: save that one alone",
                     what_, candidates.size(), fmt::join(candidates, ", "));
        found_.entry = candidates.front();
      }
      if (!found_.entry.empty()) {
        chosen = find_entry(root, found_.entry);
        for (std::size_t i = 0; i + 1 < root.items.size(); i += 2)
          if (root.items[i]->text != found_.entry)
            found_.others.push_back(key_text(*root.items[i]));
      }
    }
    take(*chosen);
    THORAX_CHECK(!found_.tensors.empty(),
                 "[pytorch] {}: has no dict of tensors; its entries are: {}. Wanted is what "
                 "torch.save(model.state_dict(), FILE) writes",
                 what_, entries_of(*chosen));
    return std::move(found_);
  }

 private:
  static std::string key_text(const PickleValue& key) {
    return key.is(Kind::text)      ? key.text
           : key.is(Kind::integer) ? std::to_string(key.integer)
                                   : std::string("?");
  }
  static std::string entries_of(const PickleValue& dict) {
    std::string text;
    for (std::size_t i = 0; i + 1 < std::min<std::size_t>(dict.items.size(), 16); i += 2)
      text += (i ? ", " : "") + key_text(*dict.items[i]);
    return text.empty() ? "none" : dict.items.size() > 16 ? text + ", ..." : text;
  }
  static bool has_tensors(const PickleValue& dict) {
    for (std::size_t i = 0; dict.is(Kind::dict) && i + 1 < dict.items.size(); i += 2)
      if (dict.items[i]->is(Kind::text) && is_tensor(*dict.items[i + 1])) return true;
    return false;
  }
  // Names of the entries that are networks.
  static std::vector<std::string> networks(const PickleValue& dict) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2)
      if (dict.items[i]->is(Kind::text) &&
          (has_tensors(*dict.items[i + 1]) || is_module(*dict.items[i + 1])))
        names.push_back(dict.items[i]->text);
    return names;
  }

  void take(const PickleValue& network) {
    if (is_module(network)) {
      found_.module_class = class_of(network);
      take_module(network, "", 0);
      return;
    }
    for (std::size_t i = 0; i + 1 < network.items.size(); i += 2) {
      const PickleValue &key = *network.items[i], &value = *network.items[i + 1];
      if (key.is(Kind::text) && is_tensor(value)) {
        add(key.text, value);
      } else {
        found_.ignored.push_back(key_text(key));
      }
    }
  }

  // NEWOBJ names the class itself, copyreg._reconstructor has it as its first argument.
  static std::string class_of(const PickleValue& module) {
    const auto& arguments = module.arguments();
    return module.text.ends_with("._reconstructor") && !arguments.empty() &&
                   arguments.front()->is(Kind::global)
               ? arguments.front()->text
               : module.text;
  }

  void take_module(const PickleValue& module, const std::string& prefix, int depth) {
    THORAX_CHECK(depth <= kMaxDepth, "[pytorch] {}: modules within modules, {} deep", what_, depth);
    for (const char* part : {"_parameters", "_buffers"}) {
      const PickleValue* dict = find_entry(*module.state, part);
      for (std::size_t i = 0; dict != nullptr && i + 1 < dict->items.size(); i += 2) {
        const PickleValue& value = *dict->items[i + 1];
        if (value.is(Kind::none)) continue;  // a layer without bias
        THORAX_CHECK(dict->items[i]->is(Kind::text) && is_tensor(value),
                     "[pytorch] {}: '{}{}' of the network is no tensor", what_, prefix,
                     key_text(*dict->items[i]));
        add(prefix + dict->items[i]->text, value);
      }
    }
    const PickleValue& children = *find_entry(*module.state, "_modules");
    for (std::size_t i = 0; i + 1 < children.items.size(); i += 2) {
      const PickleValue& child = *children.items[i + 1];
      if (child.is(Kind::none)) continue;
      THORAX_CHECK(children.items[i]->is(Kind::text) && is_module(child),
                   "[pytorch] {}: '{}{}' of the network is no module", what_, prefix,
                   key_text(*children.items[i]));
      // A child that is shared again and again would be walked for ever without a single tensor.
      THORAX_CHECK(++modules_ <= kMaxTensors, "[pytorch] {}: has more than {} modules", what_,
                   kMaxTensors);
      take_module(child, prefix + children.items[i]->text + ".", depth + 1);
    }
  }

  [[noreturn]] void broken(const std::string& name, const std::string& why) const {
    fail("[pytorch] {}: tensor '{}': {}", what_, name, why);
  }
  std::int64_t integer(const std::string& name, const PickleValue& v) const {
    if (!v.is(Kind::integer)) broken(name, "its sizes are no whole numbers");
    return v.integer;
  }
  // Of a tuple or a torch.Size.
  std::vector<std::int64_t> integers(const std::string& name, const PickleValue& v) const {
    const PickleValue& tuple =
        v.is(Kind::object) && v.text == "torch.Size" && v.arguments().size() == 1
            ? *v.arguments().front()
            : v;
    if (!tuple.is(Kind::tuple) || tuple.items.size() > 64) broken(name, "its shape is no tuple");
    std::vector<std::int64_t> result;
    for (const PickleValue* item : tuple.items) result.push_back(integer(name, *item));
    return result;
  }

  void add(const std::string& name, const PickleValue& value) {
    const PickleValue* v = &value;
    for (int depth = 0; is_parameter(*v); ++depth) {
      if (depth > 2) broken(name, "a parameter of a parameter of ...");
      v = v->arguments().front();
    }
    const bool second = v->is(Kind::object) && v->text == "torch._utils._rebuild_tensor_v2";
    if (!second && !(v->is(Kind::object) && v->text == "torch._utils._rebuild_tensor"))
      broken(name, fmt::format("is rebuilt by {}, this program reads dense tensors only",
                               v->is(Kind::object) ? v->text : std::string("nothing")));
    const auto& arguments = v->arguments();
    if (arguments.size() < 4 || !arguments[0]->is(Kind::persistent))
      broken(name, "is not made of a storage, an offset, a shape and strides");
    // ('storage', class, key, device, count[, view])
    const PickleValue& id = *arguments[0]->items.front();
    if (!id.is(Kind::tuple) || id.items.size() < 5 || id.items[0]->text != "storage" ||
        !id.items[1]->is(Kind::global) || !id.items[2]->is(Kind::text))
      broken(name, "its storage has no type, key and size");
    if (id.items.size() > 5 && !id.items[5]->is(Kind::none))
      broken(name,
             "its storage is a view of another one, as PyTorch wrote before 0.4: save it "
             "again with a newer version");
    StoredTensor tensor;
    tensor.name = name;
    tensor.type = id.items[1]->text;
    if (const StorageClass* known = storage_class(tensor.type)) tensor.dtype = known->dtype;
    tensor.storage = id.items[2]->text;
    tensor.storage_count = integer(name, *id.items[4]);
    if (tensor.storage_count < 0) broken(name, "its storage has a negative size");
    tensor.offset = integer(name, *arguments[1]);
    tensor.shape = integers(name, *arguments[2]);
    tensor.strides = integers(name, *arguments[3]);
    THORAX_CHECK(names_.insert(name).second, "[pytorch] {}: has two tensors '{}'", what_, name);
    THORAX_CHECK(names_.size() <= kMaxTensors, "[pytorch] {}: has more than {} tensors", what_,
                 kMaxTensors);
    found_.tensors.push_back(std::move(tensor));
  }

  std::string_view what_;
  StateDictEntries found_;
  std::set<std::string> names_;
  std::size_t modules_ = 0;
};

}  // namespace

bool may_occur_in_weights(std::string_view module, std::string_view name) {
  const std::string full = fmt::format("{}.{}", module, name);
  static const std::set<std::string, std::less<>> names = {
      "collections.OrderedDict",
      "torch.nn.parameter.Parameter",
      "torch.Size",
      "torch.device",
      "torch.serialization._get_layout",
      // What training scripts put beside the weights.
      "argparse.Namespace",
      "numpy.core.multiarray.scalar",
      "numpy._core.multiarray.scalar",
      "numpy.core.multiarray._reconstruct",
      "numpy._core.multiarray._reconstruct",
      "numpy.dtype",
      "numpy.ndarray",
      "_codecs.encode",
      "builtins.set",
      "__builtin__.set",
      // The classes of whole networks and of what stands in them.
      "copyreg._reconstructor",
      "copy_reg._reconstructor",
      "builtins.object",
      "__builtin__.object",
  };
  if (names.contains(full) || storage_class(full) != nullptr) return true;
  if (module == "torch._utils") return name.starts_with("_rebuild_");
  if (module == "torch")
    for (const std::string_view dtype : {"float16", "float32", "float64", "bfloat16", "uint8",
                                         "int8", "int16", "int32", "int64", "bool"})
      if (name == dtype) return true;
  return module.starts_with("torch.nn.modules.") || module.starts_with("torchvision.models.") ||
         module.starts_with("torchxrayvision.models") || module.starts_with("timm.layers.") ||
         module.starts_with("timm.models.");
}

StateDictEntries find_state_dict(const PickleValue& root, std::string_view what) {
  return Finder(what).run(root);
}

const PickleValue* find_entry(const PickleValue& dict, std::string_view key) {
  for (std::size_t i = 0; dict.is(Kind::dict) && i + 1 < dict.items.size(); i += 2)
    if (dict.items[i]->is(Kind::text) && dict.items[i]->text == key) return dict.items[i + 1];
  return nullptr;
}

std::map<std::string, std::uint64_t> storage_widths(const Pickle& pickle, std::string_view what) {
  std::map<std::string, std::uint64_t> widths;
  for (const PickleValue& value : pickle.values) {
    if (!value.is(Kind::persistent) || !value.items.front()->is(Kind::tuple)) continue;
    const auto& id = value.items.front()->items;
    if (id.size() < 5 || id[0]->text != "storage") continue;
    const StorageClass* known = id[1]->is(Kind::global) ? storage_class(id[1]->text) : nullptr;
    THORAX_CHECK(known != nullptr && id[2]->is(Kind::text),
                 "[pytorch] {}: a storage of a type that is not known", what);
    const auto [entry, added] = widths.emplace(id[2]->text, known->width);
    THORAX_CHECK(added || entry->second == known->width, "[pytorch] {}: storage '{}' has two types",
                 what, id[2]->text);
  }
  return widths;
}

}  // namespace thorax
