#include "engine/tensor/print.h"

#include <doctest/doctest.h>

#include <limits>
#include <sstream>

#include "engine/autograd/print.h"
#include "tests/support/check.h"

using namespace thorax;

namespace {

template <class T>
std::string shown(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

}  // namespace

TEST_CASE("tensors print as NumPy's arrays do") {
  const Tensor x = Tensor::from(std::vector<float>{1, 2.5f, -3, 10}, {2, 2});
  const std::string expected =
      "[[ 1.   2.5]\n"
      " [-3.  10. ]] f32 2x2 cpu";
  CHECK(shown(x) == expected);
  CHECK(shown(Variable(x)) == expected);
  CHECK(fmt::format("{}", x) == expected);
  CHECK(shown(test::as_slice(x)) == expected);
  CHECK(shown(Tensor::from(std::vector<std::int64_t>{1, 20, -3}, {3})) == "[ 1 20 -3] i64 3 cpu");
  CHECK(shown(Tensor::full({}, 0.125)) == "0.125 f32 scalar cpu");
  CHECK(shown(Tensor::zeros({2, 1, 2}, DType::u8)) == "[[[0 0]]\n\n [[0 0]]] u8 2x1x2 cpu");
  CHECK(shown(Tensor::zeros({0, 3})) == "[] f32 0x3 cpu");
  CHECK(shown(Tensor()) == "undefined");
}

TEST_CASE("numbers that are large, small, not finite or 16 bits long") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(shown(Tensor::from(std::vector<float>{nan, -infinity, 1.5f}, {3})) ==
        "[ nan -inf  1.5] f32 3 cpu");
  CHECK(shown(Tensor::from(std::vector<double>{1e12, 1}, {2})) ==
        "[1.0000e+12 1.0000e+00] f64 2 cpu");
  CHECK(shown(Tensor::from(std::vector<float>{1.0f / 3}, {1})) == "[0.3333] f32 1 cpu");
  CHECK(shown(Tensor::full({2}, 0.5, DType::bf16)) == "[0.5 0.5] bf16 2 cpu");
  CHECK(shown(Tensor::full({1}, 2, DType::f32, {DeviceKind::sim, 0})) == "[2.] f32 1 sim:0");
}

TEST_CASE("large tensors are abridged, long rows wrapped") {
  CHECK(shown(Tensor::zeros({2000}, DType::i32)) == "[0 0 0 ... 0 0 0] i32 2000 cpu");
  CHECK(shown(Tensor::zeros({40, 40}, DType::i32)) ==
        "[[0 0 0 ... 0 0 0]\n [0 0 0 ... 0 0 0]\n [0 0 0 ... 0 0 0]\n ...\n"
        " [0 0 0 ... 0 0 0]\n [0 0 0 ... 0 0 0]\n [0 0 0 ... 0 0 0]] i32 40x40 cpu");
  std::istringstream lines(shown(Tensor::zeros({100}, DType::i32)));
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) {
    CHECK(line.size() <= 79 + std::string(" i32 100 cpu]").size());
    ++count;
  }
  CHECK(count == 3);
}

TEST_CASE("shapes, types and devices print their names") {
  CHECK(shown(Shape{2, 3}) == "2x3");
  CHECK(shown(DType::bf16) == "bf16");
  CHECK(shown(Device{DeviceKind::sim, 1}) == "sim:1");
  CHECK(fmt::format("{} {} {:>6}", DType::f32, Device{}, Device{DeviceKind::cuda, 0}) ==
        "f32 cpu cuda:0");
}
