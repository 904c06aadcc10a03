#include "models/norm_statistics.h"

#include "models/layers.h"

namespace thorax {

void measure_norm_statistics(Model& model, std::int64_t batches,
                             const std::function<Tensor(std::int64_t)>& image) {
  if (batches <= 0 || model.buffers().empty()) return;
  const NoGrad no_grad;
  const bool training = model.training();
  struct Restore {
    Model& model;
    bool training;
    ~Restore() {
      model.train(training);
      parameters_changed();
    }
  } restore{model, training};
  model.train();
  for (std::int64_t i = 0; i < batches; ++i) {
    // Weight 1 / (i + 1): the running statistics are the plain mean of the batches so far.
    const NormMomentum equal_shares(1.0 / static_cast<double>(i + 1));
    model.forward(Variable(image(i)));
  }
}

}  // namespace thorax
