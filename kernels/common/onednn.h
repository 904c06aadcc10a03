// What the oneDNN providers share: the engine, memory descriptors of our tensors, a cache of
// primitives.
#pragma once

#include <dnnl.hpp>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "engine/tensor/tensor.h"

namespace thorax::onednn {

const dnnl::engine& engine();
// One stream per calling thread.
dnnl::stream& stream();

// Our NHWC tensor (possibly a channel slice) as oneDNN sees it: extents N, C, H, W with our
// strides.
dnnl::memory::desc activation_desc(const Tensor& t);
dnnl::memory wrap(const dnnl::memory::desc& desc, const Tensor& t);
// Memory of the library's choice; the same object when the layouts agree already.
dnnl::memory reordered(const dnnl::memory& from, const dnnl::memory::desc& to);

// Primitives by a text that names problem, pass and strides. Creating one compiles code, so they
// are kept; at most kMost of them, then the cache starts afresh.
template <class Entry>
class PrimitiveCache {
 public:
  template <class Make>
  Entry get(const std::string& key, const Make& make) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    if (found != entries_.end()) return found->second;
    if (entries_.size() >= kMost) entries_.clear();
    return entries_.emplace(key, make()).first->second;
  }

 private:
  static constexpr std::size_t kMost = 1024;
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

}  // namespace thorax::onednn
