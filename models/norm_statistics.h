// Batch norm's running statistics, measured instead of remembered.
#pragma once

#include <cstdint>
#include <functional>

#include "models/model.h"

namespace thorax {

// Replaces the running statistics of every batch norm layer by the mean over `batches` batches of
// what the network, as it is now, gives in training mode; image(i) is batch i, N x H x W x C. The
// moving average that training keeps lags behind the weights, and after a few dozen steps still
// holds a share of its starting values: in a deep network that is enough to make evaluation mode
// useless. Wu & Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3. Parameters do not
// change; nothing happens for batches == 0.
void measure_norm_statistics(Model& model, std::int64_t batches,
                             const std::function<Tensor(std::int64_t)>& image);

}  // namespace thorax
