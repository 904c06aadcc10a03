// What `thorax bench kernels` measures: the passes of an operation on one problem, each by every
// provider that is asked for, with the check of its result.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/registry/registry.h"
#include "engine/tensor/tensor.h"

namespace thorax::app {

// A problem as the command line gives it; 0 and empty texts = not given.
struct ProblemOptions {
  Shape shape, filter;  // of the input and of the filter
  std::string shape_text, filter_text;
  std::int64_t stride = 0, padding = 0, dilation = 1, groups = 1;
  std::int64_t window = 2;      // of pooling
  std::string kind = "max";     // of pooling
  std::string factors = "1,2";  // of fuse_multires: sizes of the branches
};

struct KernelRequest {
  Device device;
  DType dtype = DType::f32;
  std::string provider = "all";  // all: every one but `reference`, which defines results
  std::string pass = "all";
};

// One provider, ready to run any number of times.
struct KernelRun {
  std::string provider, dtype;  // dtype: "tf32" where factors are rounded so
  std::string unsupported;      // why there is nothing to run; else empty
  std::function<void()> work = {};
  // Runs it on outputs full of NaN. The largest error of its results over what is allowed: at most
  // 1 is right.
  std::function<double()> check = {};
};

// One pass of one problem.
struct KernelPass {
  std::string operation, pass, shape, dtype;
  double flops = 0;  // multiply-adds count as two; 0: not counted, the pass is bound by memory
  double bytes = 0;  // that it has to move: every tensor once for each sweep it cannot do without
  std::function<std::vector<KernelRun>()> prepare;  // makes the tensors
};

struct KernelOperation {
  const char* name;
  std::vector<std::string> passes;
  std::vector<std::string> options;  // "--filter" ...: what describes a problem beside --shape
  std::vector<std::string> cases;    // names of lists
  // The passes of a problem from the command line. Throws Error "[problem] ..." where options
  // contradict one another.
  std::vector<KernelPass> (*own)(const ProblemOptions&, const KernelRequest&);
  // Those of a list; size and batch 0 = the list's own.
  std::vector<KernelPass> (*listed)(const std::string& cases, std::int64_t size, std::int64_t batch,
                                    const KernelRequest&);
};
const std::vector<KernelOperation>& kernel_operations();
std::vector<KernelOperation> convolution_operations();
std::vector<KernelOperation> memory_bound_operations();

// "2x28x28x32". Throws Error "[problem] OPTION TEXT: ..." when it is not `rank` positive
// numbers or has too many elements.
Shape parse_shape(const char* option, const std::string& text, int rank);

namespace detail {

inline constexpr std::string_view kTf32 = "cuda/mma_tf32";  // has to be asked for by name

template <class Provider>
struct Chosen {
  Provider provider;
  bool supported = true;
};

// The providers of a request. Throws Error for a name that the device does not have.
template <class Provider, class Problem>
std::vector<Chosen<Provider>> chosen(const Registry<Provider>& registry, const Problem& problem,
                                     const KernelRequest& request) {
  const bool all = request.provider == "all";
  if (!all) (void)registry.named(request.provider, request.device.kind);
  std::vector<Chosen<Provider>> result;
  for (const Provider& p : registry.all()) {
    if (p.device != request.device.kind) continue;
    const std::string_view name = p.name;
    if (all ? name == "reference" : name != request.provider) continue;
    const std::string before = chosen_provider(registry.operation());
    const ProviderScope asked(registry.operation(),
                              name == kTf32 ? name : std::string_view(before));
    const bool supported = p.priority(problem) >= 0;
    if (supported || !all) result.push_back({p, supported});
  }
  return result;
}

// A run of `work`, which writes `outputs`; `error` looks at them.
KernelRun kernel_run(const char* operation, std::string_view provider, DType dtype,
                     std::vector<Tensor> outputs, std::function<void()> work,
                     std::function<double()> error);
KernelRun unsupported_run(std::string_view provider, DType dtype);

// As floats on the CPU.
Tensor host_floats(const Tensor& tensor);

}  // namespace detail
}  // namespace thorax::app
