// Whether the scans of a JPEG hold every block of the image. stb_image takes zeros for bits that
// are not there and makes a gray area of them; here the Huffman codes are followed to the last
// block (ITU-T T.81, annexes F.2 and G.2), without computing a coefficient's value.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace thorax {

struct JpegComponent {
  int id = 0;
  int h = 1, v = 1;  // sampling factors
};

// Fed with a file's segments in their order. Every error is "[decode] NAME: rule".
class JpegScans {
 public:
  explicit JpegScans(std::string name) : name_(std::move(name)) {}

  void frame(int height, int width, std::vector<JpegComponent> components, bool progressive);
  // The content of a DHT segment.
  void huffman_tables(std::span<const uint8_t> segment);
  void restart_interval(int mcus) { restart_ = mcus; }
  // `header`: content of the SOS segment; `data`: the file from behind it to its end. Returns how
  // many bytes of `data` belong to the scan: what follows is a marker, or nothing. Throws for data
  // that end before the last block ("truncated") and for codes that do not exist ("corrupt").
  size_t scan(std::span<const uint8_t> header, std::span<const uint8_t> data);

  // Whether every coefficient of every component was sent to its last bit.
  bool complete() const;
  void require_complete() const;

 private:
  // Symbols by their code. `fast` has, for the next 10 bits, the code's length (0: longer or none)
  // and its symbol. `steps` has, for the next 10 bits, the AC symbols of a sequential file that lie
  // in them with all of their bits: 0x8000 where the last one ends the block, by how many
  // coefficients they go on << 8, how many bits (0: `fast` must look).
  struct Table {
    bool defined = false, has_steps = false;
    std::array<uint16_t, 1024> fast{};  // length << 8 | symbol
    std::array<uint16_t, 1024> steps{};
    std::array<int32_t, 18> limit{};   // by length: first 16-bit value that is no such code
    std::array<int32_t, 17> offset{};  // by length: index of a symbol minus its code
    std::array<uint8_t, 256> symbols{};
  };
  struct Plane {
    JpegComponent component;
    int width = 0, height = 0;     // blocks in a scan of this component alone
    int stride = 0;                // blocks of a row in whole MCUs
    std::vector<uint64_t> known;   // progressive: a bit for each coefficient that is not zero
    std::array<int8_t, 64> low{};  // lowest bit that was sent; -1: nothing yet
  };
  class Bits;
  struct Parameters;

  template <bool kProgressive>
  void decode_symbols(Bits& position, const Parameters& p);
  template <bool kProgressive>
  void block(Bits& bits, Plane& plane, size_t index, const Table& dc, const Table& ac,
             const Parameters& p, int& end_of_band_run);
  static int symbol(Bits& bits, const Table& table);
  static void fill_steps(Table& table);
  void refine(Bits& bits, uint64_t& known, const Table& ac, const Parameters& p,
              int& end_of_band_run);

  std::string name_;
  bool progressive_ = false;
  int restart_ = 0;
  int mcus_x_ = 0, mcus_y_ = 0;
  std::vector<Plane> planes_;
  std::array<Table, 4> dc_, ac_;
};

}  // namespace thorax
