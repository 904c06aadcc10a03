#include "kernels/morphology/morphology.h"

#include <algorithm>
#include <limits>

#include "engine/runtime/profile.h"

namespace thorax {

Registry<MorphologyProvider>& morphology_providers() {
  static Registry<MorphologyProvider> registry("morphology");
  return registry;
}

std::string MorphologyProblem::to_string() const {
  return fmt::format("mask {}", shape());
}

namespace {

MorphologyProblem morphology_problem(const Tensor& mask) {
  THORAX_CHECK(mask.defined() && mask.rank() == 4 && mask.size(3) == 1,
               "[morphology] mask must be N x H x W x 1, got {}",
               mask.defined() ? mask.shape().to_string() : "nothing");
  THORAX_CHECK(mask.dtype() == DType::u8, "[morphology] mask {} is {}, not u8", mask.shape(),
               name_of(mask.dtype()));
  THORAX_CHECK(mask.size(1) * mask.size(2) < std::numeric_limits<std::int32_t>::max(),
               "[morphology] mask {}: more pixels than labels can count", mask.shape());
  return {.images = mask.size(0), .height = mask.size(1), .width = mask.size(2)};
}

const MorphologyProvider& provider_for(const MorphologyProblem& problem, const Tensor& mask) {
  return morphology_providers().select(problem, mask.device().kind);
}

void check_iterations(int iterations) {
  THORAX_CHECK(iterations >= 0, "[morphology] {} iterations: must not be negative", iterations);
}

Tensor label(const MorphologyProblem& problem, const Tensor& mask, int connectivity) {
  THORAX_CHECK(connectivity == 4 || connectivity == 8, "[morphology] connectivity {} is not 4 or 8",
               connectivity);
  const Tensor labels = Tensor::empty(problem.shape(), DType::i32, mask.device());
  provider_for(problem, mask).label(problem, connectivity, mask.to_contiguous(), labels);
  return labels;
}

std::vector<Component> describe(const MorphologyProblem& problem, const Tensor& labels) {
  std::vector<Component> result;
  const std::int32_t* at = labels.data<std::int32_t>();
  for (std::int64_t n = 0; n < problem.images; ++n) {
    const std::size_t first = result.size();
    for (std::int64_t row = 0; row < problem.height; ++row) {
      for (std::int64_t column = 0; column < problem.width; ++column) {
        const std::int32_t id = *at++;
        if (id == 0) continue;
        const std::size_t index = first + static_cast<std::size_t>(id) - 1;
        if (index >= result.size()) {  // scan order: a new label is the next one
          result.push_back({.image = n, .label = id, .row0 = row, .column0 = column});
        }
        Component& c = result[index];
        ++c.area;
        c.column0 = std::min(c.column0, column);
        c.row1 = row + 1;
        c.column1 = std::max(c.column1, column + 1);
        c.row += static_cast<double>(row);
        c.column += static_cast<double>(column);
      }
    }
  }
  for (Component& c : result) {
    c.row /= static_cast<double>(c.area);
    c.column /= static_cast<double>(c.area);
  }
  return result;
}

}  // namespace

Tensor dilate(const Tensor& mask, int iterations, Structure structure) {
  const MorphologyProblem problem = morphology_problem(mask);
  const ProfileScope scope("morphology", "dilate", [&] { return problem.to_string(); });
  check_iterations(iterations);
  const Tensor out = Tensor::empty(problem.shape(), DType::u8, mask.device());
  provider_for(problem, mask).dilate(problem, iterations, structure, mask.to_contiguous(), out);
  return out;
}

Tensor erode(const Tensor& mask, int iterations, Structure structure) {
  const MorphologyProblem problem = morphology_problem(mask);
  const ProfileScope scope("morphology", "erode", [&] { return problem.to_string(); });
  check_iterations(iterations);
  const Tensor out = Tensor::empty(problem.shape(), DType::u8, mask.device());
  provider_for(problem, mask).erode(problem, iterations, structure, mask.to_contiguous(), out);
  return out;
}

Tensor close(const Tensor& mask, int iterations, Structure structure) {
  return erode(dilate(mask, iterations, structure), iterations, structure);
}

Components connected_components(const Tensor& mask, int connectivity) {
  const MorphologyProblem problem = morphology_problem(mask);
  const ProfileScope scope("morphology", "components", [&] { return problem.to_string(); });
  Components result;
  result.labels = label(problem, mask, connectivity);
  result.components = describe(problem, result.labels.to(Device{}));
  return result;
}

Tensor fill_holes(const Tensor& mask) {
  const MorphologyProblem problem = morphology_problem(mask);
  const ProfileScope scope("morphology", "fill holes", [&] { return problem.to_string(); });
  const Tensor background = Tensor::empty(problem.shape(), DType::u8);
  const Tensor given = mask.to(Device{}).to_contiguous();
  for (std::int64_t i = 0; i < given.numel(); ++i)
    background.data<std::uint8_t>()[i] = given.data<std::uint8_t>()[i] == 0;
  const Tensor labels = label(problem, background.to(mask.device()), 4).to(Device{});
  const Tensor out = Tensor::empty(problem.shape(), DType::u8);
  const std::int64_t height = problem.height, width = problem.width;
  for (std::int64_t n = 0; n < problem.images; ++n) {
    const std::int32_t* at = labels.data<std::int32_t>() + n * height * width;
    std::uint8_t* to = out.data<std::uint8_t>() + n * height * width;
    std::vector<bool> open(static_cast<std::size_t>(height * width) + 1, false);
    for (std::int64_t row = 0; row < height; ++row) {
      const bool edge = row == 0 || row == height - 1;
      for (std::int64_t column = 0; column < width; column += edge || width == 1 ? 1 : width - 1)
        open[static_cast<std::size_t>(at[row * width + column])] = true;
    }
    open[0] = false;  // label 0 of the background is the foreground
    for (std::int64_t i = 0; i < height * width; ++i)
      to[i] = !open[static_cast<std::size_t>(at[i])];
  }
  return out.to(mask.device());
}

Tensor keep_largest(const Tensor& mask, std::int64_t count, int connectivity) {
  THORAX_CHECK(count >= 0, "[morphology] {} components to keep: must not be negative", count);
  Components found = connected_components(mask, connectivity);
  const MorphologyProblem problem = morphology_problem(mask);
  const Tensor out = Tensor::empty(problem.shape(), DType::u8);
  const Tensor labels = found.labels.to(Device{});
  auto first = found.components.begin();
  for (std::int64_t n = 0; n < problem.images; ++n) {
    const auto last = std::find_if(first, found.components.end(),
                                   [&](const Component& c) { return c.image != n; });
    std::vector<bool> kept(static_cast<std::size_t>(last - first) + 1, false);
    std::stable_sort(first, last,
                     [](const Component& a, const Component& b) { return a.area > b.area; });
    for (auto c = first; c != last && c - first < count; ++c)
      kept[static_cast<std::size_t>(c->label)] = true;
    const std::int64_t pixels = problem.height * problem.width;
    const std::int32_t* at = labels.data<std::int32_t>() + n * pixels;
    std::uint8_t* to = out.data<std::uint8_t>() + n * pixels;
    for (std::int64_t i = 0; i < pixels; ++i) to[i] = kept[static_cast<std::size_t>(at[i])];
    first = last;
  }
  return out.to(mask.device());
}

}  // namespace thorax
