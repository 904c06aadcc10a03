#include "engine/autograd/variable.h"

#include <algorithm>
#include <atomic>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "engine/autograd/recompute.h"
#include "engine/runtime/profile.h"

namespace thorax {

namespace detail {

struct Node {
  std::string name;
  std::uint64_t sequence = 0;  // order of creation = a topological order
  std::vector<Variable> inputs;
  BackwardFn backward;
  Shape output_shape;
  std::weak_ptr<VariableState> output;  // weak: the node must not keep its own result alive
  bool freed = false;

  // A deep network is a long chain of shared pointers; releasing it recursively could overflow the
  // stack, so the chain is taken apart in a loop.
  ~Node() {
    std::vector<Variable> pending = std::move(inputs);
    while (!pending.empty()) {
      Variable variable = std::move(pending.back());
      pending.pop_back();
      if (!variable.defined() || variable.state().use_count() > 1) continue;
      std::shared_ptr<Node> producer = std::move(variable.state()->producer);
      if (producer && producer.use_count() == 1) {
        for (Variable& input : producer->inputs) pending.push_back(std::move(input));
        producer->inputs.clear();
      }
    }
  }
};

}  // namespace detail

using detail::Node;
using detail::VariableState;

namespace {

thread_local bool grad_mode = true;
thread_local bool recompute_mode = false;
std::atomic<std::uint64_t> next_sequence{1};
std::atomic<std::uint64_t> version{1};

}  // namespace

Variable::Variable(Tensor value, bool requires_grad) : state_(std::make_shared<VariableState>()) {
  THORAX_CHECK(value.defined(), "[variable] undefined tensor");
  state_->value = std::move(value);
  state_->requires_grad = requires_grad;
}

const Tensor& Variable::value() const {
  THORAX_CHECK(state_ != nullptr, "[variable] undefined variable has no value");
  return state_->value;
}

const Tensor& Variable::grad() const {
  THORAX_CHECK(state_ != nullptr, "[variable] undefined variable has no gradient");
  return state_->grad;
}

void Variable::set_grad(Tensor grad) const {
  THORAX_CHECK(state_ != nullptr, "[variable] undefined variable has no gradient");
  THORAX_CHECK(!grad.defined() || grad.shape() == shape(), "[variable] gradient {} for value {}",
               grad.shape(), shape());
  state_->grad = std::move(grad);
}

void Variable::zero_grad() const {
  if (state_) state_->grad = {};
}

void Variable::set_value(Tensor value) const {
  THORAX_CHECK(is_leaf(), "[variable] only a leaf's value can be replaced");
  THORAX_CHECK(value.shape() == shape(), "[variable] value {} for {}", value.shape(), shape());
  state_->value = std::move(value);
  parameters_changed();
}

std::uint64_t parameter_version() {
  return version.load(std::memory_order_acquire);
}
void parameters_changed() {
  version.fetch_add(1, std::memory_order_acq_rel);
}

Variable Variable::detach() const {
  return Variable(value());
}

bool grad_enabled() {
  return grad_mode;
}
GradMode::GradMode(bool enabled) : previous_(grad_mode) {
  grad_mode = enabled;
}
GradMode::~GradMode() {
  grad_mode = previous_;
}

bool recomputing() {
  return recompute_mode;
}
RecomputeScope::RecomputeScope() : previous_(recompute_mode) {
  recompute_mode = true;
}
RecomputeScope::~RecomputeScope() {
  recompute_mode = previous_;
}

bool needs_grad(const std::vector<Variable>& inputs) {
  if (!grad_mode) return false;
  for (const Variable& input : inputs)
    if (input.requires_grad()) return true;
  return false;
}

Variable record(std::string name, Tensor value, std::vector<Variable> inputs, BackwardFn backward) {
  const bool tracked = needs_grad(inputs);
  Variable result(std::move(value), tracked);
  if (!tracked) return result;
  auto node = std::make_shared<Node>();
  node->name = std::move(name);
  node->sequence = next_sequence.fetch_add(1, std::memory_order_relaxed);
  node->inputs = std::move(inputs);
  node->backward = std::move(backward);
  node->output_shape = result.shape();
  node->output = result.state();
  result.state()->producer = std::move(node);
  return result;
}

namespace {

// Adds `grad` to what has been collected for a variable. In place only where nobody else can see
// the memory; a gradient that is still shared (a slice of a concat's gradient) is added out of
// place.
void accumulate(Tensor& sum, Tensor grad) {
  if (!sum.defined()) {
    sum = std::move(grad);
  } else if (sum.unique()) {
    add_(sum, grad);
  } else if (grad.unique()) {
    add_(grad, sum);
    sum = std::move(grad);
  } else {
    sum = add(sum, grad);
  }
}

// A leaf's gradient is the user's: it must own its memory and be contiguous.
void accumulate_leaf(const Variable& leaf, Tensor grad) {
  const auto& state = leaf.state();
  if (state->grad.defined()) {
    add_(state->grad, grad);
  } else {
    state->grad = grad.contiguous() && grad.unique() ? std::move(grad) : grad.clone();
  }
}

struct Newest {
  bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
    return a->sequence < b->sequence;
  }
};

}  // namespace

void backward(const Variable& root, const Tensor& seed, BackwardOptions options) {
  THORAX_CHECK(root.defined() && root.requires_grad(),
               "[backward] the root requires no gradient: was it computed with gradients off?");
  Tensor start = seed;
  if (!start.defined()) {
    THORAX_CHECK(root.value().numel() == 1,
                 "[backward] root {} is not a single element: give a seed gradient of its shape",
                 root.shape());
    start = Tensor::full(root.shape(), 1.0, root.value().dtype(), root.value().device());
  }
  THORAX_CHECK(start.shape() == root.shape(), "[backward] seed {} for root {}", start.shape(),
               root.shape());
  start = start.to(root.value().device());
  parameters_changed();  // what follows a backward pass is an optimizer step
  if (root.is_leaf()) {
    accumulate_leaf(root, start.clone());
    return;
  }
  std::unordered_map<Node*, Tensor> gradients;
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, Newest> queue;
  gradients[root.state()->producer.get()] = start;
  start = {};
  queue.push(root.state()->producer);
  while (!queue.empty()) {
    const std::shared_ptr<Node> node = queue.top();
    queue.pop();
    THORAX_CHECK(
        !node->freed,
        "[backward] second backward through '{}' (output {}): its saved tensors were freed by "
        "the first; pass retain = true there to keep them",
        node->name, node->output_shape);
    Tensor grad = std::move(gradients[node.get()]);
    gradients.erase(node.get());
    std::vector<bool> needs(node->inputs.size());
    for (std::size_t i = 0; i < needs.size(); ++i) needs[i] = node->inputs[i].requires_grad();
    std::vector<Tensor> input_grads;
    {
      const ProfileScope scope(node->name, "backward",
                               [&] { return node->output_shape.to_string(); });
      input_grads = node->backward(grad, needs);
    }
    grad = {};
    THORAX_CHECK(input_grads.size() == node->inputs.size(),
                 "[backward] '{}' returned {} gradients for {} inputs", node->name,
                 input_grads.size(), node->inputs.size());
    if (!options.retain) {
      node->backward = nullptr;  // frees what the closure saved
      node->freed = true;
    }
    for (std::size_t i = 0; i < needs.size(); ++i) {
      if (!needs[i]) continue;
      const Variable& input = node->inputs[i];
      Tensor contribution = std::move(input_grads[i]);
      THORAX_CHECK(contribution.defined() && contribution.shape() == input.shape(),
                   "[backward] '{}' gave gradient {} for input {} of shape {}", node->name,
                   contribution.defined() ? contribution.shape().to_string() : "nothing", i,
                   input.shape());
      if (input.is_leaf()) {
        accumulate_leaf(input, std::move(contribution));
        continue;
      }
      const auto& producer = input.state()->producer;
      auto [found, inserted] = gradients.try_emplace(producer.get());
      if (inserted) queue.push(producer);
      accumulate(found->second, std::move(contribution));
    }
    // The values this node read are not needed again unless the caller holds them.
    if (!options.retain) node->inputs.clear();
  }
}

std::string first_non_finite(const Variable& root) {
  if (!root.defined()) return {};
  std::vector<std::pair<std::uint64_t, std::string>> bad;
  std::unordered_set<const VariableState*> seen;
  std::vector<Variable> stack{root};
  while (!stack.empty()) {
    const Variable variable = std::move(stack.back());
    stack.pop_back();
    if (!variable.defined() || !seen.insert(variable.state().get()).second) continue;
    const auto& node = variable.state()->producer;
    if (!all_finite(variable.value())) {
      bad.emplace_back(node ? node->sequence : 0,
                       node ? fmt::format("output {} of '{}'", variable.shape(), node->name)
                            : fmt::format("an input or parameter of shape {}", variable.shape()));
    }
    if (node)
      for (const Variable& input : node->inputs) stack.push_back(input);
  }
  if (bad.empty()) return {};
  return std::min_element(bad.begin(), bad.end())->second;
}

}  // namespace thorax
