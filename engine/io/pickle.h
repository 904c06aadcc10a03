// Python's pickle format read as data: https://docs.python.org/3/library/pickletools.html.
//
// A pickle is a program for a stack machine that may call anything which Python can import. Here
// nothing is called: a call becomes a record of what was to be called with what. Names that may
// occur at all are the caller's choice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace thorax {

struct PickleValue {
  enum class Kind {
    none,
    boolean,     // integer: 0 or 1
    integer,     // of 64 bits; larger ones are `bytes`, little-endian
    real,        //
    text,        // UTF-8, or a Python 2 string of any bytes
    bytes,       //
    tuple,       // items
    list,        //
    set,         //
    dict,        // items: key, value, key, value ...; collections.OrderedDict, too
    global,      // text: "module.name"
    object,      // text: what is called; items: its arguments; state: what it is then given
    persistent,  // items: the identifier of something outside the pickle
  };
  Kind kind = Kind::none;
  std::int64_t integer = 0;
  double real = 0;
  std::string text;
  // In the arena of the Pickle. Values may be shared and may contain themselves.
  std::vector<const PickleValue*> items;
  const PickleValue* state = nullptr;

  bool is(Kind k) const { return kind == k; }
  // The arguments of an object, as one tuple may be those of many; else the items.
  const std::vector<const PickleValue*>& arguments() const;
};

struct Pickle {
  std::deque<PickleValue> values;
  const PickleValue* root = nullptr;
  std::size_t bytes = 0;  // that the pickle took of those given
};

// Whether "module", "name" may occur.
using PickleNames = std::function<bool(std::string_view module, std::string_view name)>;

// Reads the pickle (protocols 2 to 5) at the start of `bytes`. Takes memory in proportion to its
// length. Throws Error "[pickle] WHAT: ..." naming the first name that may not occur, or what is
// broken; opcodes that torch.save does not write are refused, too.
Pickle read_pickle(std::span<const std::byte> bytes, std::string_view what,
                   const PickleNames& allowed);

}  // namespace thorax
