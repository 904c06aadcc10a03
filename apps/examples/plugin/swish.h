// swish(x) = x / (1 + exp(-x)), Ramachandran, Zoph, Le, "Searching for activation functions", 2017:
// the contract between those who call the operation and those who compute it.
#pragma once

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

// What decides which kernel can run.
struct SwishProblem {
  thorax::Shape shape;
  thorax::DType dtype = thorax::DType::f32;
  std::string to_string() const { return shape.to_string(); }
};

// One way to compute it. Tensors are contiguous and of problem.dtype; outputs are overwritten.
struct SwishProvider {
  const char* name;
  thorax::DeviceKind device;
  int (*priority)(const SwishProblem&);  // the highest one is chosen; below 0: cannot
  void (*forward)(const SwishProblem&, const thorax::Tensor& x, const thorax::Tensor& y);
  void (*backward)(const SwishProblem&, const thorax::Tensor& dy, const thorax::Tensor& x,
                   const thorax::Tensor& dx);
};

thorax::Registry<SwishProvider>& swish_providers();

// Differentiable; float32, any shape.
thorax::Variable swish(const thorax::Variable& x);
