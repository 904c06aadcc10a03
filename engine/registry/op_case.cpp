#include "engine/registry/op_case.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "engine/registry/plugins.h"

namespace thorax {

OpCase::OpCase(std::map<std::string, Tensor> tensors, std::map<std::string, std::string> options,
               bool gradients, Device device)
    : tensors_(std::move(tensors)),
      options_(std::move(options)),
      gradients_(gradients),
      device_(device) {
  for (auto& [name, tensor] : tensors_) tensor = tensor.to(device);
  gradients_ = flag("grad", gradients);
}

Tensor OpCase::optional_tensor(const std::string& name) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return {};
  used_tensors_.insert(name);
  return found->second;
}

Tensor OpCase::tensor(const std::string& name) {
  const Tensor value = optional_tensor(name);
  THORAX_CHECK(value.defined(), "[op] tensor '{}' is missing", name);
  return value;
}

Variable OpCase::optional_argument(const std::string& name) {
  const Tensor value = optional_tensor(name);
  if (!value.defined()) return {};
  const DType type = value.dtype();
  THORAX_CHECK(
      type == DType::f32 || type == DType::f64 || type == DType::f16 || type == DType::bf16,
      "[op] tensor '{}' {} is {}: f32, f64, f16 or bf16 is wanted", name, value.shape(),
      name_of(type));
  const Variable variable(value, gradients_);
  arguments_.emplace_back(name, variable);
  return variable;
}

Variable OpCase::argument(const std::string& name) {
  const Variable variable = optional_argument(name);
  THORAX_CHECK(variable.defined(), "[op] tensor '{}' is missing", name);
  return variable;
}

std::vector<Variable> OpCase::numbered_arguments(const std::string& name) {
  std::vector<Variable> result;
  for (;;) {
    const Variable next = optional_argument(name + std::to_string(result.size()));
    if (!next.defined()) break;
    result.push_back(next);
  }
  THORAX_CHECK(!result.empty(), "[op] tensor '{}0' is missing", name);
  return result;
}

const std::string* OpCase::option(const std::string& name) {
  const auto found = options_.find(name);
  if (found == options_.end()) return nullptr;
  used_options_.insert(name);
  return &found->second;
}

namespace {

template <class T>
T parse(const std::string& name, const std::string& text, const char* wanted) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  THORAX_CHECK(error == std::errc() && end == text.data() + text.size(),
               "[op] option '{}' is '{}': {} is wanted", name, text, wanted);
  return value;
}

}  // namespace

std::int64_t OpCase::integer(const std::string& name, std::int64_t fallback) {
  const std::string* text = option(name);
  return text ? parse<std::int64_t>(name, *text, "a whole number") : fallback;
}

std::int64_t OpCase::integer(const std::string& name) {
  THORAX_CHECK(options_.contains(name), "[op] option '{}' is missing", name);
  return integer(name, 0);
}

double OpCase::number(const std::string& name, double fallback) {
  const std::string* text = option(name);
  return text ? parse<double>(name, *text, "a number") : fallback;
}

double OpCase::number(const std::string& name) {
  THORAX_CHECK(options_.contains(name), "[op] option '{}' is missing", name);
  return number(name, 0.0);
}

bool OpCase::flag(const std::string& name, bool fallback) {
  const std::string* text = option(name);
  if (text == nullptr) return fallback;
  THORAX_CHECK(*text == "true" || *text == "false",
               "[op] option '{}' is '{}': true or false is wanted", name, *text);
  return *text == "true";
}

std::string OpCase::text(const std::string& name, const std::string& fallback) {
  const std::string* text = option(name);
  return text ? *text : fallback;
}

void OpCase::output(const std::string& name, const Tensor& value) {
  results_[name] = value.to(Device{}).to_contiguous();
}

void OpCase::result(const Variable& value) {
  output("output", value.value());
  if (gradients_) differentiate(value, tensor("grad_output"));
}

void OpCase::loss(const Variable& value) {
  output("output", value.value());
  if (gradients_) differentiate(value, Tensor::full({1}, 1.0, value.value().dtype(), device_));
}

void OpCase::differentiate(const Variable& value, const Tensor& seed) {
  THORAX_CHECK(seed.shape() == value.shape() && seed.dtype() == value.value().dtype(),
               "[op] grad_output {} {} for output {} {}", seed.shape(), name_of(seed.dtype()),
               value.shape(), name_of(value.value().dtype()));
  backward(value, seed);
  for (const auto& [name, variable] : arguments_) {
    THORAX_CHECK(variable.grad().defined(), "[op] '{}' got no gradient", name);
    output("grad." + name, variable.grad());
  }
}

std::map<std::string, Tensor> OpCase::finish() {
  const auto unused = [](const auto& given, const std::set<std::string>& used) {
    std::string names;
    for (const auto& [name, value] : given)
      if (!used.contains(name)) names += names.empty() ? name : ", " + name;
    return names;
  };
  const std::string tensors = unused(tensors_, used_tensors_);
  THORAX_CHECK(tensors.empty(), "[op] unknown tensor: {}", tensors);
  const std::string options = unused(options_, used_options_);
  THORAX_CHECK(options.empty(), "[op] unknown option: {}", options);
  return std::move(results_);
}

namespace {

struct NamedOp {
  OpRow row;
  std::string plugin;
};
// A function-local static: the program's rows are added by a static constructor of another file.
std::vector<NamedOp>& ops() {
  static std::vector<NamedOp> rows;
  return rows;
}

const NamedOp* known_op(std::string_view name) {
  for (const NamedOp& op : ops())
    if (op.row.name == name) return &op;
  return nullptr;
}

}  // namespace

void add_op(const OpRow& row) {
  THORAX_CHECK(
      row.name != nullptr && *row.name != 0 && row.registry != nullptr && row.run != nullptr,
      "[op] an operation without name, registry or function");
  THORAX_CHECK(known_op(row.name) == nullptr, "[op] there is an operation '{}' already", row.name);
  ops().push_back({row, detail::adding_plugin()});
  if (!detail::adding_plugin().empty()) detail::on_plugin_failure([] { ops().pop_back(); });
}

std::vector<OpRow> op_rows() {
  std::vector<OpRow> rows;
  for (const NamedOp& op : ops()) rows.push_back(op.row);
  return rows;
}

OpRow find_op(const std::string& name) {
  if (const NamedOp* op = known_op(name); op != nullptr) return op->row;
  std::string known;
  for (const OpRow& row : op_rows())
    known += known.empty() ? row.name : std::string(", ") + row.name;
  fail("[op] no operation named '{}'; there are: {}{}", name, known,
       loaded_plugins().empty() ? "; --plugin FILE.so adds those of a plugin" : "");
}

std::string plugin_of_op(const std::string& name) {
  const NamedOp* op = known_op(name);
  return op == nullptr ? std::string() : op->plugin;
}

}  // namespace thorax
