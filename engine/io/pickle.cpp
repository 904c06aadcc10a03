#include "engine/io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

using Kind = PickleValue::Kind;
using Items = std::vector<const PickleValue*>;

// A checkpoint of a large network has some ten thousand. A value takes about 120 bytes.
constexpr std::size_t kMaxValues = 1'000'000;

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, std::string_view what, const PickleNames& allowed)
      : bytes_(bytes), what_(what), allowed_(allowed) {}

  Pickle run() {
    THORAX_CHECK(byte() == 0x80, "[pickle] {}: does not begin as a pickle of protocol 2 to 5",
                 what_);
    const unsigned protocol = byte();
    THORAX_CHECK(protocol >= 2 && protocol <= 5, "[pickle] {}: protocol {}, wants 2 to 5", what_,
                 protocol);
    while (step(byte())) {
    }
    pickle_.root = pop();
    pickle_.bytes = at_;
    return std::move(pickle_);
  }

 private:
  // Reading ------------------------------------------------------------------------------------
  std::span<const std::byte> take(std::uint64_t count) {
    THORAX_CHECK(count <= bytes_.size() - at_,
                 "[pickle] {}: ends in the middle of a value, after {} bytes: it is cut short or "
                 "damaged",
                 what_, bytes_.size());
    const auto result = bytes_.subspan(at_, static_cast<std::size_t>(count));
    at_ += static_cast<std::size_t>(count);
    return result;
  }
  unsigned byte() { return static_cast<unsigned>(take(1)[0]); }
  template <class T>
  T number() {
    T value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string string(std::uint64_t count) {
    const auto span = take(count);
    return {reinterpret_cast<const char*>(span.data()), span.size()};
  }
  std::string line() {
    const auto rest = bytes_.subspan(at_);
    const auto end = std::find(rest.begin(), rest.end(), std::byte{'\n'});
    THORAX_CHECK(end != rest.end(), "[pickle] {}: a name without an end", what_);
    std::string result = string(static_cast<std::uint64_t>(end - rest.begin()));
    ++at_;
    return result;
  }

  // Stack --------------------------------------------------------------------------------------
  PickleValue& make(Kind kind) {
    THORAX_CHECK(pickle_.values.size() < kMaxValues,
                 "[pickle] {}: holds more than {} values: no file of weights does", what_,
                 kMaxValues);
    PickleValue& value = pickle_.values.emplace_back();
    value.kind = kind;
    return value;
  }
  void push(PickleValue* value) { stack_.push_back(value); }
  void push_integer(Kind kind, std::int64_t integer) {
    PickleValue& value = make(kind);
    value.integer = integer;
    push(&value);
  }
  void push_text(Kind kind, std::string text) {
    PickleValue& value = make(kind);
    value.text = std::move(text);
    push(&value);
  }
  void push_items(Kind kind, Items items) {
    PickleValue& value = make(kind);
    value.items = std::move(items);
    push(&value);
  }
  PickleValue* pop() {
    THORAX_CHECK(stack_.size() > (marks_.empty() ? 0 : marks_.back()),
                 "[pickle] {}: takes a value where there is none (byte {})", what_, at_);
    PickleValue* value = stack_.back();
    stack_.pop_back();
    return value;
  }
  // The last `count` values, in their order.
  Items pop_items(std::size_t count) {
    Items items(count);
    for (std::size_t i = count; i > 0; --i) items[i - 1] = pop();
    return items;
  }
  Items pop_to_mark() {
    THORAX_CHECK(!marks_.empty(), "[pickle] {}: goes back to a mark that is not there (byte {})",
                 what_, at_);
    Items items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  PickleValue* top(std::initializer_list<Kind> kinds) {
    PickleValue* value = pop();
    push(value);
    THORAX_CHECK(std::find(kinds.begin(), kinds.end(), value->kind) != kinds.end(),
                 "[pickle] {}: adds to a value that takes nothing (byte {})", what_, at_);
    return value;
  }
  void append(PickleValue* to, const Items& items) {
    to->items.insert(to->items.end(), items.begin(), items.end());
  }
  // Dicts are filled pair by pair.
  void check_pairs(std::size_t count) const {
    THORAX_CHECK(count % 2 == 0, "[pickle] {}: a key without a value (byte {})", what_, at_);
  }
  void keep(std::uint64_t index) {
    PickleValue* value = pop();
    push(value);
    memo_[index] = value;
  }
  void fetch(std::uint64_t index) {
    const auto found = memo_.find(index);
    THORAX_CHECK(found != memo_.end(), "[pickle] {}: uses value {} before it is kept (byte {})",
                 what_, index, at_);
    push(found->second);
  }

  // Names and calls ----------------------------------------------------------------------------
  void push_global(const std::string& module, const std::string& name) {
    THORAX_CHECK(
        allowed_(module, name),
        "[pickle] {}: names '{}.{}', which weights do not need and Python would import and "
        "could call; nothing of it was run here. Take a file of the weights alone "
        "(torch.save(model.state_dict(), FILE)), or safetensors",
        what_, module, name);
    push_text(Kind::global, module + "." + name);
  }
  // The call of `callable` with a tuple of arguments, as data.
  void call() {
    const PickleValue* arguments = pop();
    const PickleValue* callable = pop();
    THORAX_CHECK(callable->is(Kind::global) && arguments->is(Kind::tuple),
                 "[pickle] {}: calls something that is no name, or without a tuple (byte {})",
                 what_, at_);
    if (callable->text != "collections.OrderedDict") {
      PickleValue& value = make(Kind::object);
      value.text = callable->text;
      value.items = {arguments};
      return push(&value);
    }
    PickleValue& dict = make(Kind::dict);
    // Python 2 wrote the pairs as the argument; a list that is used again and again must not
    // become as many copies.
    for (const PickleValue* argument : arguments->items)
      for (const PickleValue* pair : argument->items) {
        THORAX_CHECK(argument->is(Kind::list) && pair->items.size() == 2 &&
                         (pair->is(Kind::list) || pair->is(Kind::tuple)) &&
                         ++copied_ <= bytes_.size(),
                     "[pickle] {}: an OrderedDict that is not made of pairs (byte {})", what_, at_);
        append(&dict, pair->items);
      }
    push(&dict);
  }
  void build() {
    const PickleValue* state = pop();
    PickleValue* object = top({Kind::object, Kind::dict, Kind::set});
    // Attributes of a dict (`_metadata` of a state dict) are versions of its modules.
    if (object->is(Kind::object)) object->state = state;
  }

  bool step(unsigned opcode) {
    THORAX_CHECK(stack_.size() <= kMaxValues && marks_.size() <= kMaxValues,
                 "[pickle] {}: holds more than {} values at once", what_, kMaxValues);
    switch (opcode) {
      case '.':  // STOP
        return false;
      case 0x95:  // FRAME: a hint of how much to read
        take(8);
        break;
      case '(':  // MARK
        marks_.push_back(stack_.size());
        break;
      case 'N':
        push(&make(Kind::none));
        break;
      case 0x88:  // NEWTRUE, NEWFALSE
      case 0x89:
        push_integer(Kind::boolean, opcode == 0x88);
        break;
      case 'J':  // BININT
        push_integer(Kind::integer, number<std::int32_t>());
        break;
      case 'K':  // BININT1
        push_integer(Kind::integer, byte());
        break;
      case 'M':  // BININT2
        push_integer(Kind::integer, number<std::uint16_t>());
        break;
      case 0x8a:  // LONG1, LONG4: two's complement
      case 0x8b: {
        const auto digits = take(opcode == 0x8a ? byte() : number<std::uint32_t>());
        if (digits.size() > 8) {
          push_text(Kind::bytes, {reinterpret_cast<const char*>(digits.data()), digits.size()});
          break;
        }
        std::int64_t value = 0;
        std::memcpy(&value, digits.data(), digits.size());
        const int unused = 64 - 8 * static_cast<int>(digits.size());
        if (!digits.empty() && unused > 0)
          value = static_cast<std::int64_t>(static_cast<std::uint64_t>(value) << unused) >> unused;
        push_integer(Kind::integer, value);
        break;
      }
      case 'G': {  // BINFLOAT, big-endian
        auto bits = number<std::uint64_t>();
        bits = __builtin_bswap64(bits);
        PickleValue& value = make(Kind::real);
        value.real = std::bit_cast<double>(bits);
        push(&value);
        break;
      }
      case 'X':  // BINUNICODE
        push_text(Kind::text, string(number<std::uint32_t>()));
        break;
      case 0x8c:  // SHORT_BINUNICODE
      case 'U':   // SHORT_BINSTRING, of Python 2
        push_text(Kind::text, string(byte()));
        break;
      case 0x8d:  // BINUNICODE8
        push_text(Kind::text, string(number<std::uint64_t>()));
        break;
      case 'T':  // BINSTRING, of Python 2
        push_text(Kind::text, string(number<std::uint32_t>()));
        break;
      case 'B':  // BINBYTES
        push_text(Kind::bytes, string(number<std::uint32_t>()));
        break;
      case 'C':  // SHORT_BINBYTES
        push_text(Kind::bytes, string(byte()));
        break;
      case 0x8e:  // BINBYTES8
        push_text(Kind::bytes, string(number<std::uint64_t>()));
        break;
      case ')':  // EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT, EMPTY_SET
        push(&make(Kind::tuple));
        break;
      case ']':
        push(&make(Kind::list));
        break;
      case '}':
        push(&make(Kind::dict));
        break;
      case 0x8f:
        push(&make(Kind::set));
        break;
      case 0x85:  // TUPLE1, TUPLE2, TUPLE3
      case 0x86:
      case 0x87:
        push_items(Kind::tuple, pop_items(opcode - 0x84));
        break;
      case 't':  // TUPLE, LIST, FROZENSET, DICT
        push_items(Kind::tuple, pop_to_mark());
        break;
      case 'l':
        push_items(Kind::list, pop_to_mark());
        break;
      case 0x91:
        push_items(Kind::set, pop_to_mark());
        break;
      case 'd': {
        Items items = pop_to_mark();
        check_pairs(items.size());
        push_items(Kind::dict, std::move(items));
        break;
      }
      case 'a': {  // APPEND, APPENDS, ADDITEMS
        const Items items = pop_items(1);
        append(top({Kind::list}), items);
        break;
      }
      case 'e':
      case 0x90: {
        const Items items = pop_to_mark();
        append(top({opcode == 'e' ? Kind::list : Kind::set}), items);
        break;
      }
      case 's': {  // SETITEM, SETITEMS
        const Items items = pop_items(2);
        append(top({Kind::dict}), items);
        break;
      }
      case 'u': {
        const Items items = pop_to_mark();
        check_pairs(items.size());
        append(top({Kind::dict}), items);
        break;
      }
      case 'q':  // BINPUT, LONG_BINPUT, MEMOIZE
        keep(byte());
        break;
      case 'r':
        keep(number<std::uint32_t>());
        break;
      case 0x94:
        keep(memo_.size());
        break;
      case 'h':  // BINGET, LONG_BINGET
        fetch(byte());
        break;
      case 'j':
        fetch(number<std::uint32_t>());
        break;
      case 'c': {  // GLOBAL
        const std::string module = line();
        push_global(module, line());
        break;
      }
      case 0x93: {  // STACK_GLOBAL
        const PickleValue* name = pop();
        const PickleValue* module = pop();
        THORAX_CHECK(name->is(Kind::text) && module->is(Kind::text),
                     "[pickle] {}: a name that is no text (byte {})", what_, at_);
        push_global(module->text, name->text);
        break;
      }
      case 'R':   // REDUCE
      case 0x81:  // NEWOBJ
        call();
        break;
      case 'b':
        build();
        break;
      case 'Q': {  // BINPERSID
        Items id = pop_items(1);
        const Items& parts = id.front()->items;
        // Before PyTorch 1.6 the class of a module stood there beside its source code.
        if (parts.size() >= 2 && parts[0]->text == "module" && parts[1]->is(Kind::global))
          push_text(Kind::global, parts[1]->text);
        else
          push_items(Kind::persistent, std::move(id));
        break;
      }
      default:
        fail(
            "[pickle] {}: opcode 0x{:02x} at byte {}, which torch.save does not write: the file "
            "is damaged or made by hand",
            what_, opcode, at_ - 1);
    }
    return true;
  }

  std::span<const std::byte> bytes_;
  std::string_view what_;
  const PickleNames& allowed_;
  Pickle pickle_;
  std::size_t at_ = 0, copied_ = 0;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, PickleValue*> memo_;
};

}  // namespace

const std::vector<const PickleValue*>& PickleValue::arguments() const {
  return is(Kind::object) ? items.front()->items : items;
}

Pickle read_pickle(std::span<const std::byte> bytes, std::string_view what,
                   const PickleNames& allowed) {
  return Machine(bytes, what, allowed).run();
}

}  // namespace thorax
