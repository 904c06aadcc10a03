#include "engine/tensor/dlpack.h"

#include <doctest/doctest.h>

#include <array>
#include <utility>

#include "tests/support/check.h"
#include "tests/support/on_device.h"

using namespace thorax;

namespace {

// An array of somebody else, 2 x 3 floats unless told otherwise.
struct Foreign {
  std::array<float, 64> memory{};
  std::array<std::int64_t, 6> shape{2, 3}, strides{3, 1};
  int freed = 0;
  dlpack::ManagedVersioned managed{};

  Foreign() {
    for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(i);
    managed.version = {1, 1};
    managed.manager = this;
    managed.deleter = [](dlpack::ManagedVersioned* self) {
      ++static_cast<Foreign*>(self->manager)->freed;
    };
    managed.array = {memory.data(), {dlpack::kCpu, 0}, 2, {dlpack::kFloat, 32, 1},
                     shape.data(),  nullptr,           0};
  }
  Foreign(const Foreign&) = delete;
  Foreign& operator=(const Foreign&) = delete;
};

}  // namespace

TEST_CASE("dlpack: a tensor on foreign memory, which is freed once, with the last tensor") {
  Foreign foreign;
  foreign.managed.flags = dlpack::kReadOnly;
  {
    bool read_only = false;
    Tensor t = from_dlpack(&foreign.managed, &read_only);
    CHECK(read_only);
    CHECK(t.shape() == Shape{2, 3});
    CHECK(t.raw() == foreign.memory.data());
    const Tensor view = t.reshape({6});
    t = {};
    CHECK(foreign.freed == 0);
    CHECK(view.data<float>()[5] == 5);
    CHECK(test::same_values(view.clone(), Tensor::from(std::vector<float>{0, 1, 2, 3, 4, 5}, {6})));
  }
  CHECK(foreign.freed == 1);
}

TEST_CASE("dlpack: the unversioned structure, and one without a deleter") {
  Foreign foreign;
  static int freed = 0;
  dlpack::Managed old{foreign.managed.array, &foreign, [](dlpack::Managed*) { ++freed; }};
  CHECK(from_dlpack(&old).data<float>()[4] == 4);
  CHECK(freed == 1);
  old.deleter = nullptr;
  CHECK(from_dlpack(&old).numel() == 6);
  foreign.managed.deleter = nullptr;
  CHECK(from_dlpack(&foreign.managed).numel() == 6);
}

TEST_CASE("dlpack: what layouts and types are taken") {
  Foreign foreign;
  dlpack::Array& array = foreign.managed.array;
  array.strides = foreign.strides.data();
  SUBCASE("pixels further apart than their channels, from an offset") {
    foreign.shape = {2, 2, 2, 3};
    foreign.strides = {20, 10, 5, 1};
    array.ndim = 4;
    array.byte_offset = 8;
    const Tensor t = from_dlpack(&foreign.managed);
    CHECK(t.pixel_stride() == 5);
    const Tensor dense = t.to_contiguous();
    CHECK(dense.data<float>()[0] == 2);
    CHECK(dense.data<float>()[dense.numel() - 1] == 2 + 20 + 10 + 5 + 2);
  }
  SUBCASE("axes of one element may have any stride") {
    foreign.shape = {1, 6, 1};
    foreign.strides = {-7, 1, 99};
    array.ndim = 3;
    CHECK(from_dlpack(&foreign.managed).to_contiguous().data<float>()[5] == 5);
  }
  SUBCASE("nothing at all, without memory") {
    foreign.shape = {0, 3};
    array.data = nullptr;
    array.byte_offset = 8;
    CHECK(from_dlpack(&foreign.managed).numel() == 0);
  }
  SUBCASE("a scalar") {
    array.ndim = 0;
    array.shape = array.strides = nullptr;
    CHECK(from_dlpack(&foreign.managed).numel() == 1);
  }
  SUBCASE("bytes and truth values") {
    for (const std::uint8_t code : {dlpack::kUint, dlpack::kBool}) {
      array.dtype = {code, 8, 1};
      CHECK(from_dlpack(&foreign.managed).dtype() == DType::u8);
    }
  }
  SUBCASE("16-bit floats and whole numbers") {
    const std::pair<dlpack::DataType, DType> types[] = {{{dlpack::kBfloat, 16, 1}, DType::bf16},
                                                        {{dlpack::kFloat, 16, 1}, DType::f16},
                                                        {{dlpack::kInt, 32, 1}, DType::i32},
                                                        {{dlpack::kInt, 64, 1}, DType::i64}};
    for (const auto& [type, dtype] : types) {
      array.dtype = type;
      CHECK(from_dlpack(&foreign.managed).dtype() == dtype);
    }
  }
}

TEST_CASE("dlpack: what a tensor cannot hold is refused by name and stays the caller's") {
  Foreign foreign;
  dlpack::Array& array = foreign.managed.array;
  const auto refused = [&](const char* why) {
    CHECK_THROWS_WITH_AS(from_dlpack(&foreign.managed), doctest::Contains(why), Error);
  };
  array.strides = foreign.strides.data();
  foreign.strides = {1, 2};  // transposed
  refused("[dlpack] 2x3 with strides 1, 2 (elements): the elements of a pixel");
  foreign.strides = {-3, 1};
  refused("strides -3, 1 (elements): pixels must not overlap or run backwards");
  foreign.strides = {0, 1};
  refused("pixels must not overlap");
  foreign.strides = {std::int64_t{1} << 60, 1};
  refused("pixels lie further apart than memory reaches");
  foreign.managed.flags = dlpack::kReadOnly;
  refused("[dlpack] the memory is read-only and a tensor may be written to; copy it, or ask");
  foreign.managed.flags = 0;
  foreign.shape = {2, 2, 3};
  foreign.strides = {7, 3, 1};
  array.ndim = 3;
  refused("rows and images must follow one another without gaps");
  array.ndim = 6;
  refused("an array of rank 6: up to 5 axes");
  array.ndim = -1;
  refused("rank -1");
  array.ndim = 2;
  array.strides = nullptr;
  foreign.shape = {2, -3};
  CHECK_THROWS_AS(from_dlpack(&foreign.managed), Error);
  foreign.shape = {std::int64_t{1} << 62, 4};
  CHECK_THROWS_AS(from_dlpack(&foreign.managed), Error);
  foreign.shape = {2, 3};
  array.dtype = {dlpack::kFloat, 32, 4};
  refused("elements of float32x4");
  array.dtype = {5, 64, 1};
  refused("elements of complex64");
  array.dtype = {77, 64, 1};
  refused("elements of type 77:64");
  array.dtype = {dlpack::kFloat, 32, 1};
  array.byte_offset = 2;
  refused("at an address that is no multiple of 4");
  array.byte_offset = 0;
  array.device = {10, 0};  // ROCm
  refused("memory of a device of type 10");
  array.device = {dlpack::kCuda, 99};
  refused("the CUDA device 99, of which there are");
  array.device = {dlpack::kCpu, 0};
  array.data = nullptr;
  refused("2x3 f32 without memory");
  array.data = foreign.memory.data();
  foreign.managed.version = {2, 0};
  refused("DLPack's version 2.0");
  CHECK_THROWS_WITH_AS(from_dlpack(static_cast<dlpack::Managed*>(nullptr)),
                       doctest::Contains("[dlpack] no array"), Error);
  CHECK(foreign.freed == 0);
}

TEST_CASE("dlpack: what is lent keeps its memory, and comes back as it was") {
  const Tensor wide = test::normals({2, 3, 4, 8}, 1);
  for (const bool old : {false, true}) {
    Tensor slice = wide.channel_slice(2, 3);
    const Tensor want = slice.to_contiguous();
    void* const memory = slice.raw();
    Tensor back;
    if (old) {
      back = from_dlpack(to_dlpack_unversioned(slice));
    } else {
      dlpack::ManagedVersioned* lent = to_dlpack(slice);
      CHECK(lent->version.major == 1);
      CHECK(lent->flags == 0);
      CHECK(lent->array.strides[0] == 96);
      CHECK(lent->array.strides[2] == 8);
      CHECK(lent->array.strides[3] == 1);
      back = from_dlpack(lent);
    }
    slice = {};
    CHECK(back.raw() == memory);
    CHECK(back.pixel_stride() == 8);
    CHECK(test::same_values(back, want));
  }
  Tensor t = Tensor::full({3}, 2);
  dlpack::Managed* lent = to_dlpack_unversioned(t);
  t = {};
  CHECK(static_cast<float*>(lent->array.data)[2] == 2);
  lent->deleter(lent);
  CHECK_THROWS_WITH_AS(to_dlpack(Tensor{}), doctest::Contains("[dlpack] an undefined tensor"),
                       Error);
  for (const Device device : test::one_device_a_kind())
    if (device.kind == DeviceKind::sim)
      CHECK_THROWS_WITH_AS(
          to_dlpack(Tensor::full({3}, 2, DType::f32, device)),
          doctest::Contains("[dlpack] 3 on sim:0: other programs know no simulated"), Error);
}

TEST_CASE("dlpack: foreign memory that moves to a GPU is let go") {
  for (const Device device : test::one_device_a_kind()) {
    if (device.kind == DeviceKind::cpu) continue;
    Foreign foreign;
    const Tensor t = from_dlpack(&foreign.managed);
    t.storage()->move_to(device);
    CHECK(foreign.freed == 1);
    CHECK(t.device() == device);
    CHECK(t.to(Device{}).data<float>()[5] == 5);
  }
}
