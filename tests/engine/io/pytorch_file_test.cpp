// Files of torch.save: the same bits as safetensors, nothing executed, and every kind of damage.
#include "engine/io/pytorch_file.h"

#include <doctest/doctest.h>

#include <cstring>

#include "engine/io/zip_archive.h"
#include "tests/support/places.h"
#include "tests/support/temp_folder.h"
#include "tests/support/zip_writer.h"

using namespace thorax;
using test::make_zip;

namespace {

std::filesystem::path golden(const std::string& name) {
  return test::source_folder() / "tests/golden/pytorch" / name;
}

using Tensors = std::map<std::string, Tensor>;

bool same(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

// Names, types, shapes and bits.
void check_same(const Tensors& found, const Tensors& wanted, const std::string& prefix = "") {
  CHECK(found.size() == wanted.size());
  for (const auto& [name, tensor] : wanted) {
    CAPTURE(name);
    REQUIRE(found.contains(prefix + name));
    CHECK_MESSAGE(same(found.at(prefix + name), tensor), name);
  }
}

std::string bytes_of(const std::filesystem::path& path) {
  return read_file(path, 1 << 24);
}
PytorchFile parse(const std::string& text) {
  return parse_pytorch(std::as_bytes(std::span(text)), "x.pth", FileOrder::pytorch);
}
void refused(const std::string& text, const std::string& why) {
  CAPTURE(why);
  CHECK_THROWS_WITH_AS(parse(text), doctest::Contains(why.c_str()), Error);
  CHECK_THROWS_WITH_AS(parse(text), doctest::Contains("x.pth: "), Error);
}

// Pickles by hand ---------------------------------------------------------------------------------
std::string u32(std::uint32_t v) {
  std::string out;
  test::put_number(out, v);
  return out;
}
std::string text(const std::string& s) {
  return "X" + u32(static_cast<std::uint32_t>(s.size())) + s;
}
std::string integer(std::int64_t v) {
  std::string out = "\x8a\x08";
  test::put_number(out, v);
  return out;
}
std::string tuple(std::initializer_list<std::int64_t> values) {
  std::string out = "(";
  for (const std::int64_t v : values) out += integer(v);
  return out + "t";
}
// A float tensor of storage "0" of `count` elements.
std::string tensor(std::int64_t count, std::int64_t offset, const std::string& shape,
                   const std::string& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" +
         text("0") + text("cpu") + integer(count) + "tQ" + integer(offset) + shape + strides +
         "\x89"
         "ccollections\nOrderedDict\n)RtR";
}
std::string pickle_of(const std::string& entries) {
  return std::string("\x80\x02}(") + entries + "u.";
}
std::string archive(const std::string& pickle, const std::string& storage = std::string(16, '\0')) {
  return make_zip({{"x/data.pkl", pickle}, {"x/byteorder", "little"}, {"x/data/0", storage}});
}

}  // namespace

TEST_CASE("every type and every way to lie in a storage, as safetensors has it") {
  for (const FileOrder order : {FileOrder::as_is, FileOrder::pytorch}) {
    const Tensors wanted = read_safetensors(golden("kinds.safetensors"), order).tensors;
    REQUIRE(wanted.size() == 21);
    for (const char* name :
         {"kinds.pth", "kinds_legacy.pth", "kinds_protocol4.pth", "kinds_big_endian.pth"}) {
      CAPTURE(name);
      REQUIRE(is_pytorch_file(golden(name)));
      const PytorchFile file = read_pytorch(golden(name), order);
      CHECK(file.entry.empty());
      CHECK(file.ignored.empty());
      Tensors found = file.tensors;
      // safetensors keeps bool apart; both are read as u8.
      check_same(found, wanted);
    }
  }
  CHECK_FALSE(is_pytorch_file(golden("kinds.safetensors")));
}

TEST_CASE("the network of a checkpoint, and a network that was saved with its class") {
  const PytorchFile checkpoint = read_pytorch(golden("checkpoint.pth"), FileOrder::pytorch);
  CHECK(checkpoint.entry == "state_dict");
  CHECK(checkpoint.others ==
        std::vector<std::string>{"epoch", "arch", "best_acc", "args", "optimizer", "seen"});
  check_same(checkpoint.tensors, load_weights(golden("resnet_basic.safetensors")), "module.");

  const Tensors wanted = load_weights(golden("densenet_module.safetensors"));
  for (const char* name : {"densenet_module.pt", "densenet_module_legacy.pt"}) {
    CAPTURE(name);
    const PytorchFile whole = read_pytorch(golden(name), FileOrder::pytorch);
    CHECK(whole.module_class == "torchvision.models.densenet.DenseNet");
    check_same(whole.tensors, wanted);
  }
}

TEST_CASE("entries that are no tensors are counted, and which dict is meant is not guessed") {
  const std::string good = tensor(4, 0, tuple({4}), tuple({1}));
  const PytorchFile file =
      parse(archive(pickle_of(text("w") + good + text("epoch") + "K\x03" + "K\x05" + good)));
  CHECK(file.tensors.size() == 1);
  CHECK(file.ignored == std::vector<std::string>{"epoch", "5"});
  refused(archive(pickle_of(text("epoch") + "K\x03")),
          "has no dict of tensors; its entries are: epoch");
  refused(archive(pickle_of("")), "its entries are: none");
  refused(archive(pickle_of(text("w") + good + text("w") + good)), "has two entries 'w'");
  refused(bytes_of(golden("two_networks.pth")), "has 2 dicts of tensors, a, b");
  refused(bytes_of(golden("one_tensor.pth")), "holds no dict of tensors but one tensor");
}

TEST_CASE("what would be executed is refused by its name") {
  for (const auto& [name, what] : {std::pair{"hostile_system.pth", "names 'posix.system'"},
                                   {"hostile_eval_legacy.pth", "names '__builtin__.eval'"},
                                   {"hostile_getattr.pth", "names 'builtins.getattr'"}})
    refused(bytes_of(golden(name)), what);
  for (const auto& [module, name] : {std::pair{"os", "system"},
                                     {"subprocess", "Popen"},
                                     {"builtins", "exec"},
                                     {"torch", "load"},
                                     {"torch.hub", "load"},
                                     {"torch._utils", "import_module"},
                                     {"torch.serialization", "load"},
                                     {"collections", "namedtuple"},
                                     {"functools", "partial"}})
    refused(archive(std::string("\x80\x02"
                                "c") +
                    module + "\n" + name + "\n."),
            std::string("names '") + module + "." + name + "'");
  CHECK_FALSE(std::filesystem::exists("executed"));
}

TEST_CASE("types, kinds and archives that are not read") {
  refused(bytes_of(golden("int8.pth")), "tensor 'weight': torch.CharStorage is no type");
  refused(bytes_of(golden("sparse.pth")),
          "tensor 'weight': is rebuilt by "
          "torch._utils._rebuild_sparse_tensor");
  refused(bytes_of(golden("expanded.pth")), "an expanded tensor");
  refused(bytes_of(golden("script.pt")), "is a TorchScript program");
  refused(bytes_of(golden("deflated.pth")), "is compressed (method 8)");
  refused("\x80\x02K\x01.", "neither a zip archive nor its older form");
}

TEST_CASE("tensors that leave their storage, storages that leave the file") {
  const auto of = [](std::int64_t count, std::int64_t offset, const std::string& shape,
                     const std::string& strides) {
    return archive(pickle_of(text("w") + tensor(count, offset, shape, strides)));
  };
  CHECK(parse(of(4, 1, tuple({3}), tuple({1}))).tensors.at("w").numel() == 3);
  CHECK(parse(of(4, 0, tuple({}), tuple({}))).tensors.at("w").numel() == 1);
  CHECK(parse(of(4, 4, tuple({0, 7}), tuple({7, 1}))).tensors.at("w").numel() == 0);
  const std::int64_t huge = std::int64_t{1} << 62;
  for (const std::string& broken :
       {of(4, 2, tuple({3}), tuple({1})), of(4, -1, tuple({3}), tuple({1})),
        of(4, 0, tuple({2, 2}), tuple({3, 2})), of(4, 3, tuple({2}), tuple({-1})),
        of(4, 0, tuple({-2}), tuple({1})), of(4, 0, tuple({2, 2}), tuple({1})),
        of(4, huge, tuple({2}), tuple({huge})), of(4, 0, tuple({huge, 4}), tuple({0, 0})),
        of(4, 0, tuple({huge, huge}), tuple({1, 1}))})
    refused(broken, "leave its storage of 4");
  refused(of(4, 0, tuple({4, 4}), tuple({1, 0})), "has more elements than its storage (4)");
  refused(of(5, 0, tuple({5}), tuple({1})), "storage '0' has 16 bytes, 5 of torch.FloatStorage");
  refused(of(huge, 0, tuple({huge}), tuple({1})), "has 16 bytes");
  refused(of(-4, 0, tuple({1}), tuple({1})), "negative size");
  refused(of(4, 0, tuple({1, 1, 1, 1, 1, 1, 1, 1, 1}), tuple({1, 1, 1, 1, 1, 1, 1, 1, 1})),
          "has rank 9");
  // Views of one storage that take more memory than any file of weights does.
  std::string many;
  for (int i = 0; i < 4000; ++i)
    many += text("w" + std::to_string(i)) + tensor(1 << 20, 0, tuple({1 << 20}), tuple({1}));
  refused(archive(pickle_of(many), std::string(4 << 20, '\0')), "more than 8 times the file's");
  refused(make_zip({{"x/data.pkl", pickle_of(text("w") + tensor(4, 0, tuple({4}), tuple({1})))}}),
          "its storage 'x/data/0' is not in the file");
}

TEST_CASE("pickles that are broken or bombs") {
  const auto refuse = [](const std::string& pickle, const char* why) {
    refused(archive("\x80\x02" + pickle), why);
  };
  refuse(
      "X\xff\xff\xff\x7f"
      "abc",
      "ends in the middle of a value");
  refuse(
      "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
      "abc",
      "ends in the middle of a value");
  refuse("", "ends in the middle");
  refuse(".", "takes a value where there is none");
  refuse("(.", "takes a value where there is none");
  refuse("u.", "goes back to a mark that is not there");
  refuse("}(K\x01u.", "a key without a value");
  refuse(
      "K\x01K\x02"
      "a.",
      "adds to a value that takes nothing");
  refuse("h\x07.", "uses value 7 before it is kept");
  refuse("K\x01)R.", "calls something that is no name");
  refuse("cos\n", "a name without an end");
  refuse("icollections\nOrderedDict\n.", "opcode 0x69");
  refuse(std::string(1'000'001, 'N') + ".", "more than 1000000 values");
  refuse(std::string(1'000'003, '(') + ".", "more than 1000000 values");
  refuse("K\x01..", "bytes behind the end of 'x/data.pkl'");
  refused(archive(std::string("\x80\x09.")), "protocol 9");
  // A list of pairs that is used again and again.
  std::string again = "](";
  for (int i = 0; i < 2000; ++i) again += "K\x01K\x02\x86";
  again +=
      "eq\x01"
      "0";
  refuse(again, "opcode 0x30");
  std::string copies = "}](";
  for (int i = 0; i < 2000; ++i) copies += "K\x01K\x02\x86";
  copies += "eq\x01";
  for (int i = 0; i < 50; ++i) copies += "ccollections\nOrderedDict\nh\x01\x85R";
  refuse(copies + ".", "an OrderedDict that is not made of pairs");
  // Values within themselves and very deep ones end with an answer, not with the stack.
  refuse(
      "]q\x01h\x01"
      "a.",
      "holds no dict of tensors");
  refuse(std::string(100'000, ']') + std::string(99'999, 'a') + ".", "holds no dict of tensors");
  const std::string module = "ctorch.nn.modules.container\nSequential\n)\x81q\x01}(" +
                             text("_parameters") + "}" + text("_buffers") + "}" + text("_modules") +
                             "}(" + text("0") + "h\x01" + text("1") + "h\x01uub.";
  refuse(module, "modules within modules");
}

TEST_CASE("zip archives: 64-bit sizes, and every rule broken once") {
  const std::string good = pickle_of(text("w") + tensor(4, 0, tuple({4}), tuple({1})));
  const std::string storage("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40", 16);
  for (const bool zip64 : {false, true}) {
    const PytorchFile file = parse(make_zip({{"x/data.pkl", good}, {"x/data/0", storage}}, zip64));
    CHECK(file.tensors.at("w").data<float>()[3] == 4.0f);
  }
  refused(make_zip({{"x/data.pkl", good}, {"x/data/0", storage}, {"x/data/0", storage}}),
          "has two entries 'x/data/0'");
  refused(make_zip({{"x/data.pkl", good}, {"y/data.pkl", good}}), "has two networks");
  refused(make_zip({{"x/y/data.pkl", good}}), "a zip archive without NAME/data.pkl");
  refused(make_zip({{"data.pkl", good}}), "a zip archive without NAME/data.pkl");
  refused(make_zip({{"x/data.pkl", good}, {"x/byteorder", "middle"}}), "byteorder 'middle'");
  for (const char* name : {"../x", "x/../../y", "/etc/passwd", "x\\y", "C:/x", "", ".."})
    refused(make_zip({{"x/data.pkl", good}, {name, ""}}), "is no name of a file inside");
  refused(make_zip({{"x/data.pkl", good, 99}}), "compressed (method 99)");

  const std::string whole = make_zip({{"x/data.pkl", good}, {"x/data/0", storage}});
  const std::size_t directory = whole.find("PK\x01\x02"),
                    second = whole.find("PK\x01\x02", directory + 1);
  const auto with = [&](std::size_t at, std::uint32_t value, std::size_t bytes = 4) {
    std::string changed = whole;
    std::memcpy(changed.data() + at, &value, bytes);
    return changed;
  };
  refused(with(directory + 8, 1, 2), "is encrypted");
  refused(with(directory + 20, 5), "is stored in 5 bytes but said to have");
  refused(with(second + 42, 0), "directory and entry say different things");
  refused(with(directory + 42, 1 << 20), "behind the data of the file");
  refused(with(whole.size() - 18, 1, 2), "one part of an archive");
  refused(with(whole.size() - 12, 3, 2), "does not fit the file");
  refused(with(whole.size() - 6, 0x7FFFFFFF), "does not fit the file");
  refused(with(whole.find("x/data/0") + 9, 0x12345678), "another CRC-32");
  // Two entries of the directory for the same bytes, under two names.
  std::string over = make_zip({{"x/data.pkl", good}, {"x/data/0", storage}, {"x/data/1", storage}});
  const std::size_t last = over.rfind("PK\x01\x02");
  std::uint32_t where = 0;
  std::memcpy(&where, over.data() + over.find("PK\x01\x02", over.find("PK\x01\x02") + 1) + 42, 4);
  std::memcpy(over.data() + last + 42, &where, 4);
  over[last + 46 + 7] = '0';
  refused(over, "two entries");
}

TEST_CASE(
    "files that are cut short or damaged are refused, or the damage lies where nothing is read") {
  const Tensors wanted = read_safetensors(golden("kinds.safetensors"), FileOrder::pytorch).tensors;
  const auto unharmed = [&](const std::string& bytes) {
    try {
      const Tensors found = parse(bytes).tensors;
      if (found.size() != wanted.size()) return false;
      for (const auto& [name, tensor] : wanted)
        if (!found.contains(name) || !same(found.at(name), tensor)) return false;
      return true;
    } catch (const Error& error) {
      return std::string(error.what()).find("x.pth: ") != std::string::npos;
    }
  };
  const std::string zip = bytes_of(golden("kinds.pth")), old = bytes_of(golden("kinds_legacy.pth"));
  for (std::size_t length = 0; length < zip.size(); length += 7)
    CHECK_THROWS_AS(parse(zip.substr(0, length)), Error);
  for (std::size_t length = 0; length < old.size(); ++length)
    CHECK_THROWS_AS(parse(old.substr(0, length)), Error);
  CHECK_THROWS_AS(parse(old + "x"), Error);
  std::size_t harmed = 0;
  for (std::size_t i = 0; i < zip.size(); ++i) {
    std::string changed = zip;
    changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 8)));
    harmed += unharmed(changed) ? 0 : 1;
  }
  CHECK(harmed == 0);
}
