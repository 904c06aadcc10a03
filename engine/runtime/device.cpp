#include "engine/runtime/device.h"

#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <thread>

#include "engine/runtime/allocator.h"
#include "engine/runtime/missing_device.h"
#include "engine/runtime/ptx_devices.h"

namespace thorax {
namespace {

constexpr std::size_t kKinds = 3;

std::array<DeviceBackend*, kKinds>& backends() {
  static std::array<DeviceBackend*, kKinds> table{};
  return table;
}

std::array<int, kKinds>& current_indices() {
  static thread_local std::array<int, kKinds> indices{};
  return indices;
}

std::size_t slot(DeviceKind kind) {
  return static_cast<std::size_t>(kind);
}

std::array<std::string, kKinds>& missing() {
  static std::array<std::string, kKinds> reasons;
  return reasons;
}

std::string& no_ptx() {
  static std::string reason = "this build has no simulated GPU: cmake --preset cpu builds one";
  return reason;
}

}  // namespace

std::string device_text(Device device) {
  return is_ptx(device) ? fmt::format("ptx:{}", device.index - kFirstPtx) : to_string(device);
}

std::string why_no_ptx() {
  return device_count(DeviceKind::sim) > kFirstPtx ? std::string() : no_ptx();
}

void note_no_ptx(std::string reason) {
  no_ptx() = std::move(reason);
}

void note_missing(DeviceKind kind, std::string reason) {
  missing()[slot(kind)] = std::move(reason);
}

std::string why_missing(DeviceKind kind) {
  if (device_count(kind) > 0) return {};
  if (!missing()[slot(kind)].empty()) return missing()[slot(kind)];
  return kind == DeviceKind::cuda
             ? "this build has no kernels for NVIDIA GPUs: cmake --preset cuda builds them"
             : "this build has no simulated GPU: cmake --preset cpu builds one";
}

void register_backend(DeviceKind kind, DeviceBackend& backend) {
  backends()[slot(kind)] = &backend;
}

DeviceBackend& device_backend(DeviceKind kind) {
  DeviceBackend* backend = backends()[slot(kind)];
  THORAX_CHECK(backend != nullptr, "[device] '{}' is not built in", name_of(kind));
  return *backend;
}

int device_count(DeviceKind kind) {
  if (kind == DeviceKind::cpu) return 1;
  DeviceBackend* backend = backends()[slot(kind)];
  return backend == nullptr ? 0 : backend->count();
}

std::vector<Device> all_devices() {
  std::vector<Device> devices;
  for (const DeviceKind kind : {DeviceKind::cpu, DeviceKind::cuda, DeviceKind::sim})
    for (int i = 0; i < device_count(kind); ++i) devices.push_back({kind, i});
  return devices;
}

Device parse_device(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  int index = 0;
  bool number = true;
  if (colon != std::string_view::npos) {
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + colon + 1, end, index);
    number = error == std::errc() && rest == end && index >= 0;
  }
  std::string known;
  for (const Device device : all_devices()) {
    const std::string name = device_text(device);
    if (number && name.substr(0, name.find(':')) == kind &&
        (device.kind == DeviceKind::cpu ? 0 : std::stoi(name.substr(name.find(':') + 1))) == index)
      return device;
    known += (known.empty() ? "" : ", ") + name;
  }
  std::string why;
  for (const DeviceKind gpu : {DeviceKind::cuda, DeviceKind::sim})
    if (kind == name_of(gpu)) why = why_missing(gpu);
  if (kind == "ptx") why = why_no_ptx();
  fail("[device] there is no device '{}'; there are: {}{}", text, known,
       why.empty() ? "" : fmt::format(" ({}: {})", kind, why));
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string implementer;
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    const std::string value = line.substr(colon + 2);
    if (line.starts_with("model name")) return value;
    // ARM has numbers in place of a name.
    if (line.starts_with("CPU implementer")) implementer = value;
    if (line.starts_with("CPU part")) return "ARM " + implementer + " part " + value;
  }
  return "unknown";
}

const DeviceInfo& device_info(Device device) {
  if (device.kind == DeviceKind::cpu) {
    static const DeviceInfo cpu = [] {
      DeviceInfo info;
      info.name = "CPU";
      info.multiprocessors = static_cast<int>(std::thread::hardware_concurrency());
      return info;
    }();
    return cpu;
  }
  if (device.index < 0 || device.index >= device_count(device.kind)) {
    const std::string why = is_ptx(device) ? why_no_ptx() : why_missing(device.kind);
    fail("[device] there is no {}{}", device_text(device), why.empty() ? "" : ": " + why);
  }
  return device_backend(device.kind).info(device.index);
}

void synchronize(Device device) {
  if (device.kind != DeviceKind::cpu) device_backend(device.kind).synchronize(device.index);
}

Device current_device(DeviceKind kind) {
  return {kind, current_indices()[slot(kind)]};
}

DeviceScope::DeviceScope(Device device) : previous_(current_device(device.kind)) {
  current_indices()[slot(device.kind)] = device.index;
}
DeviceScope::~DeviceScope() {
  current_indices()[slot(previous_.kind)] = previous_.index;
}

void copy_bytes(void* to, Device to_device, const void* from, Device from_device,
                std::size_t bytes) {
  if (bytes == 0) return;
  const bool to_cpu = to_device.kind == DeviceKind::cpu;
  const bool from_cpu = from_device.kind == DeviceKind::cpu;
  if (to_cpu && from_cpu) {
    std::memcpy(to, from, bytes);
  } else if (from_cpu) {
    device_backend(to_device.kind).to_device(to_device.index, to, from, bytes);
  } else if (to_cpu) {
    device_backend(from_device.kind).to_host(from_device.index, to, from, bytes);
  } else {
    if (to_device != from_device) {
      const Workspace<std::byte> host(bytes);
      device_backend(from_device.kind).to_host(from_device.index, host.data(), from, bytes);
      device_backend(to_device.kind).to_device(to_device.index, to, host.data(), bytes);
      return;
    }
    device_backend(to_device.kind).within(to_device.index, to, from, bytes);
  }
}

void fill_bytes(void* memory, Device device, int byte, std::size_t bytes) {
  if (bytes == 0) return;
  if (device.kind == DeviceKind::cpu) {
    std::memset(memory, byte, bytes);
  } else {
    device_backend(device.kind).fill(device.index, memory, byte, bytes);
  }
}

}  // namespace thorax
