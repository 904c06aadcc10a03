#include "apps/inference/compute.h"

namespace thorax {

DType parse_precision(const std::string& name, Device device) {
  if (name == "float32") return DType::f32;
  THORAX_CHECK(name == "float16" || name == "bfloat16",
               "[precision] '{}' is none of float32, float16, bfloat16", name);
  THORAX_CHECK(device.kind != DeviceKind::cpu,
               "[precision] {} computes on cuda and sim devices, not on the CPU", name);
  return name == "float16" ? DType::f16 : DType::bf16;
}

}  // namespace thorax
