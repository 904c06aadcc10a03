// Everything that a program needs that trains or uses networks: #include <thorax/thorax.h> of the
// installed package. engine/PROGRAMMING.md is the guide. Headers of single operations and of
// kernels for GPUs lie beside it, in the tree's folders.
#pragma once

// Tensors, and their text by << and fmt
#include "engine/tensor/half.h"
#include "engine/tensor/print.h"
#include "engine/tensor/tensor.h"

// Devices, threads and random numbers
#include "engine/runtime/device.h"
#include "engine/runtime/parallel.h"
#include "engine/runtime/philox.h"

// Differentiation and operations
#include "engine/autograd/gradcheck.h"
#include "engine/autograd/print.h"
#include "engine/autograd/recompute.h"
#include "engine/autograd/variable.h"
#include "kernels/activation/unary.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/binary/binary.h"
#include "kernels/cast/cast.h"
#include "kernels/concat/concat.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"
#include "kernels/dropout/dropout.h"
#include "kernels/fuse_multires/fuse_multires.h"
#include "kernels/linear/linear.h"
#include "kernels/matmul/matmul.h"
#include "kernels/permute/permute.h"
#include "kernels/pool/pool.h"
#include "kernels/reduce/reduce.h"
#include "kernels/segmentation_loss/segmentation_loss.h"
#include "kernels/softmax/softmax.h"
#include "kernels/upsample/upsample.h"

// Layers, networks and their files
#include "engine/io/safetensors.h"
#include "engine/nn/init.h"
#include "engine/nn/module.h"
#include "models/factory.h"
#include "models/layers.h"
#include "models/losses.h"
#include "models/model.h"
#include "models/sequential.h"

// Training
#include "data/tensor_dataset.h"
#include "engine/optim/optimizer.h"
#include "engine/optim/schedule.h"
#include "engine/train/trainer.h"

// What `thorax predict` and `thorax segment` do of an image
#include "apps/inference/predictor.h"
#include "apps/inference/segmenter.h"
