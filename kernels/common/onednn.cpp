#include "kernels/common/onednn.h"

#include "engine/registry/autotune.h"

namespace thorax::onednn {

namespace {
[[maybe_unused]] const bool announced = [] {
  const dnnl_version_t* v = dnnl_version();
  announce_library(fmt::format("oneDNN {}.{}.{}", v->major, v->minor, v->patch));
  return true;
}();
}  // namespace

const dnnl::engine& engine() {
  static const dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

dnnl::stream& stream() {
  static thread_local dnnl::stream instance(engine());
  return instance;
}

dnnl::memory::desc activation_desc(const Tensor& t) {
  const std::int64_t n = t.size(0), h = t.size(1), w = t.size(2), c = t.size(3);
  const std::int64_t pixel = t.pixel_stride();
  return {{n, c, h, w},
          dnnl::memory::data_type::f32,
          dnnl::memory::dims{h * w * pixel, 1, w * pixel, pixel}};
}

dnnl::memory wrap(const dnnl::memory::desc& desc, const Tensor& t) {
  return {desc, engine(), t.data<float>()};
}

dnnl::memory reordered(const dnnl::memory& from, const dnnl::memory::desc& to) {
  if (from.get_desc() == to) return from;
  dnnl::memory result(to, engine());
  dnnl::memory source = from;
  dnnl::reorder(source, result).execute(stream(), source, result);
  return result;
}

}  // namespace thorax::onednn
