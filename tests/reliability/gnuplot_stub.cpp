#include "tests/reliability/gnuplot_stub.h"

#include <cstdio>
#include <iostream>
#include <iterator>
#include <string>

namespace thorax::reliability {

namespace fs = std::filesystem;

void make_gnuplot_stub(const fs::path& folder) {
  fs::create_directories(folder);
  fs::remove(folder / "gnuplot");
  fs::create_symlink(fs::canonical("/proc/self/exe"), folder / "gnuplot");
}

bool is_gnuplot_stub(const char* program_name) {
  return fs::path(program_name).filename() == "gnuplot";
}

int run_gnuplot_stub() {
  const std::string script{std::istreambuf_iterator<char>(std::cin), {}};
  if (script.find("terminal svg") != std::string::npos ||
      script.find("term svg") != std::string::npos) {
    std::fputs("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1\" height=\"1\"></svg>\n",
               stdout);
    return 0;
  }
  // One grey pixel.
  constexpr unsigned char kPng[] = {0x89, 'P', 'N',  'G',  '\r', '\n', 0x1a, '\n', 0,    0, 0, 13,
                                    'I',  'H', 'D',  'R',  0,    0,    0,    1,    0,    0, 0, 1,
                                    8,    0,   0,    0,    0,    0x3a, 0x7e, 0x9b, 0x55, 0, 0, 0,
                                    10,   'I', 'D',  'A',  'T',  0x78, 0x9c, 0x63, 0x68, 0, 0, 0,
                                    0x82, 0,   0x81, 0x77, 0xcd, 0x72, 0xb6, 0,    0,    0, 0, 'I',
                                    'E',  'N', 'D',  0xae, 0x42, 0x60, 0x82};
  std::fwrite(kPng, 1, sizeof kPng, stdout);
  return 0;
}

}  // namespace thorax::reliability
