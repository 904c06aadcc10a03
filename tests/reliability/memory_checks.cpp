#include "tests/reliability/memory_checks.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <fstream>
#include <map>

namespace thorax::reliability {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

// Measured peaks with a quarter added, rounded up to 100 kB. More than that is a leak, or a change
// that somebody should know of.
const std::map<std::string, std::int64_t> kBounds{{"train segmenter", 2'300'000},
                                                  {"train --overwrite", 2'300'000},
                                                  {"train classifier", 9'100'000},
                                                  {"kfold", 9'100'000},
                                                  {"kfold segmenter", 11'900'000},
                                                  {"compare", 9'200'000},
                                                  {"compare --merge", 2'100'000},
                                                  {"audit", 9'300'000},
                                                  {"segment", 9'000'000},
                                                  {"predict", 5'300'000},
                                                  {"explain", 5'300'000},
                                                  {"export", 1'300'000},
                                                  {"weights convert", 1'100'000},
                                                  {"op", 900'000},
                                                  {"runs --metrics", 940'000},
                                                  {"runs --tensorboard", 2'200'000},
                                                  {"train on a simulated GPU", 3'300'000},
                                                  {"data phantoms", 1'700'000},
                                                  {"data describe", 3'500'000},
                                                  {"data figures", 21'800'000},
                                                  {"data duplicates", 4'900'000}};

struct Measured {
  ProcessOutcome outcome;
  MemoryUse use;
};
Measured measure(const Campaign& any, const Arguments& arguments, const fs::path& folder) {
  const fs::path report = folder.string() + ".memory";
  fs::remove(report);
  Measured result{any.run(arguments, folder, {{"THORAX_MEMORY_REPORT", report}}), {}};
  if (result.outcome.exit_code >= 0) result.use = read_memory_use(report);
  return result;
}

using Bytes = std::string;

void put32(Bytes& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 255);
}

std::uint32_t crc32(const Bytes& bytes) {
  std::uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
  }
  return ~crc;
}

Bytes chunk(const Bytes& type, const Bytes& body) {
  Bytes out;
  put32(out, static_cast<std::uint32_t>(body.size()));
  out += type + body;
  put32(out, crc32(type + body));
  return out;
}

// zlib data of `bytes` zeros: a zero, then copies of 258 bytes from the byte before, in 13 bits
// each.
Bytes zeros(std::int64_t bytes) {
  Bytes out = "\x78\x01";
  std::uint32_t bits = 0;
  int count = 0;
  const auto put = [&](std::uint32_t value, int width) {
    bits |= value << count;
    for (count += width; count >= 8; count -= 8, bits >>= 8) out += static_cast<char>(bits & 255);
  };
  put(1, 1);           // the last block
  put(1, 2);           // with the fixed codes
  put(0b00001100, 8);  // 0x30, first bit first: the byte 0
  for (std::int64_t done = 1; done < bytes; done += 258) {
    put(0b10100011, 8);  // 0xc5: 258 bytes
    put(0, 5);           // from one byte back
  }
  put(0, 7);  // the end
  put(0, 7);
  return out + Bytes(4, '\0');
}

Bytes png(std::uint32_t width, std::uint32_t height, const Bytes& data) {
  Bytes header;
  put32(header, width);
  put32(header, height);
  header += Bytes("\x08\0\0\0\0", 5);  // 8 bits, gray
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + chunk("IDAT", data) + chunk("IEND", "");
}

// One component, the smallest tables, and nearly no data.
Bytes jpeg(unsigned width, unsigned height) {
  Bytes out("\xff\xd8\xff\xdb\0\x43\0", 7);
  out += Bytes(64, '\x01');
  out += Bytes("\xff\xc0\0\x0b\x08", 5);
  for (const unsigned side : {height, width}) {
    out += static_cast<char>(side >> 8);
    out += static_cast<char>(side & 255);
  }
  out += Bytes("\x01\x01\x11\0", 4);
  for (const char which : {'\0', '\x10'}) {
    out += Bytes("\xff\xc4\0\x14", 4) + which + '\x01' + Bytes(15, '\0') + '\0';
  }
  out += Bytes("\xff\xda\0\x08\x01\x01\0\0\x3f\0", 10) + Bytes(64, '\0');
  return out + Bytes("\xff\xd9", 2);
}

template <class T>
void put(Bytes& out, std::size_t at, T value) {
  std::memcpy(out.data() + at, &value, sizeof value);
}

// Gray, 8 bits, in one strip, of which nothing is there.
Bytes tiff(std::uint32_t side) {
  const std::vector<std::array<std::uint32_t, 2>> entries{
      {256, side}, {257, side}, {258, 8},    {259, 1},          {262, 1},
      {273, 8},    {277, 1},    {278, side}, {279, side * side}};
  Bytes out(8 + 2 + 12 * entries.size() + 4, '\0');
  std::memcpy(out.data(), "II*", 3);
  put<std::uint32_t>(out, 4, 8);
  put(out, 8, static_cast<std::uint16_t>(entries.size()));
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::size_t at = 10 + 12 * i;
    put(out, at, static_cast<std::uint16_t>(entries[i][0]));
    put<std::uint16_t>(out, at + 2, 4);  // LONG
    put<std::uint32_t>(out, at + 4, 1);
    put(out, at + 8, entries[i][1]);
  }
  return out;
}

// Bytes, two axes, no data.
Bytes nifti(std::int16_t side) {
  Bytes out(352, '\0');
  put<std::int32_t>(out, 0, 348);
  for (const int axis : {0, 1, 2}) put<std::int16_t>(out, 40 + 2 * axis, axis == 0 ? 2 : side);
  for (int axis = 3; axis < 8; ++axis) put<std::int16_t>(out, 40 + 2 * axis, 1);
  put<std::int16_t>(out, 70, 2);
  put<std::int16_t>(out, 72, 8);
  for (int axis = 0; axis < 8; ++axis) put<float>(out, 76 + 4 * axis, 1);
  put<float>(out, 108, 352);
  put<float>(out, 112, 1);
  std::memcpy(out.data() + 344, "n+1", 3);
  return out;
}

Bytes numpy(std::int64_t side) {
  Bytes header =
      fmt::format("{{'descr': '|u1', 'fortran_order': False, 'shape': ({0}, {0}), }}", side);
  header.resize(117, ' ');
  header += '\n';
  Bytes out("\x93NUMPY\x01\0", 8);
  out += static_cast<char>(header.size());
  return out + '\0' + header;
}

}  // namespace

std::vector<std::string> check_peaks(const std::vector<const Campaign*>& campaigns) {
  std::vector<std::string> wrong;
  for (const Campaign* campaign : campaigns) {
    const std::string& name = campaign->scenario().name;
    const std::int64_t peak = campaign->memory().peak_bytes;
    const auto bound = kBounds.find(name);
    const std::int64_t most = bound == kBounds.end() ? 0 : bound->second;
    fmt::print("{:<20} peak of the heap {:>10} bytes, bound {:>10}, {} allocations\n", name, peak,
               most, campaign->memory().allocations);
    if (peak > most)
      wrong.push_back(
          fmt::format("{}: {} bytes of heap, at most {} are expected", name, peak, most));
    if (2 * peak < most)
      wrong.push_back(
          fmt::format("{}: {} bytes of heap are under half of the bound {}", name, peak, most));
  }
  return wrong;
}

std::vector<std::string> check_limit(const Campaign& any, const fs::path& inputs,
                                     const fs::path& folder) {
  std::vector<std::string> wrong;
  // Blocks of megabytes, which get pages of their own, and small ones.
  for (const char* size : {"16", "384"}) {
    const auto run = [&](std::int64_t limit) {
      write_tree({}, folder);
      return measure(
          any,
          {"train", "segmenter", "--config", inputs / "unet.json", "--data",
           "shenzhen:" + (inputs / "phantoms").string(), "--size", size, "--batch", "2", "--epochs",
           "1", "--threads", "1", "--out", "out", "--memory-limit", fmt::format("{}", limit)},
          folder);
    };
    std::int64_t low = 1, high = 64 * kMiB;
    Measured enough = run(high);
    if (enough.outcome.exit_code != 0) {
      wrong.push_back(fmt::format("--memory-limit {}: {}", high, ended(enough.outcome)));
      continue;
    }
    while (high - low > 1) {
      const std::int64_t middle = low + (high - low) / 2;
      Measured now = run(middle);
      if (now.outcome.exit_code == 0) {
        high = middle;
        enough = now;
      } else {
        low = middle;
      }
    }
    fmt::print("size {}: --memory-limit {} is enough, its tensors take {} bytes\n", size, high,
               enough.use.tensor_bytes);
    if (enough.use.tensor_bytes > high)
      wrong.push_back(fmt::format("--memory-limit {} (size {}): tensors took {} bytes", high, size,
                                  enough.use.tensor_bytes));
    const Measured refused = run(low);
    const std::string& said = refused.outcome.output;
    if (refused.outcome.exit_code != 1 ||
        said.find(fmt::format("limit {}", low)) == std::string::npos)
      wrong.push_back(
          fmt::format("--memory-limit {} (size {}): {}", low, size, ended(refused.outcome)));
  }
  return wrong;
}

std::vector<std::string> check_bombs(const Campaign& any, const fs::path& inputs,
                                     const fs::path& folder) {
  std::vector<std::string> wrong;
  write_tree({}, folder);
  const auto peak_of = [&](const fs::path& image) {
    return measure(any,
                   {"segment", image, "--model", inputs / "lungs_1/last.safetensors", "--out",
                    "out", "--threads", "1"},
                   folder);
  };
  const std::map<std::string, Bytes> bombs{{"claims_much.png", png(60000, 60000, zeros(1000))},
                                           {"unpacks_much.png", png(64, 64, zeros(512 * kMiB))},
                                           {"holds_much.png", png(60000, 60000, zeros(512 * kMiB))},
                                           {"claims_much.jpg", jpeg(65500, 65500)},
                                           {"claims_much.jpeg", jpeg(20000, 20000)},
                                           {"claims_much.tif", tiff(60000)},
                                           {"claims_much.nii", nifti(30000)},
                                           {"claims_much.npy", numpy(60000)}};
  const std::int64_t usual =
      peak_of(inputs / "phantoms/CXR_png/PHANTOM_0000_0_0.png").use.peak_bytes;
  for (const auto& [name, bytes] : bombs) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
    const Measured m = peak_of(name);
    // The file itself is read as a whole; twice, while it is checked.
    const std::int64_t most = usual + 2 * static_cast<std::int64_t>(bytes.size()) + 4 * kMiB;
    fmt::print("{:<18} {:>8} bytes: {:>9} bytes of heap, at most {}: {}\n", name, bytes.size(),
               m.use.peak_bytes, most, ended(m.outcome));
    if (m.outcome.exit_code != 1 || m.outcome.output.find(name) == std::string::npos)
      wrong.push_back(fmt::format("{}: {}", name, ended(m.outcome)));
    if (m.use.peak_bytes > most)
      wrong.push_back(fmt::format("{}: {} bytes of heap, at most {} are expected", name,
                                  m.use.peak_bytes, most));
  }
  return wrong;
}

}  // namespace thorax::reliability
