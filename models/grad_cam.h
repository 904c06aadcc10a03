// Class activation maps: which places of a layer speak for a class.
//
// With A the layer's output of one image (H x W x C), s the score that is explained and
// g = ds/dA:
//   grad-cam    ReLU( sum_c w_c A_c ),  w_c = mean over places of g_c
//               Selvaraju et al., "Grad-CAM", ICCV 2017
//   grad-cam++  the same with w_c = sum over places of a_c ReLU(g_c),
//               a_c = g_c^2 / (2 g_c^2 + g_c^3 sum over places of A_c)
//               Chattopadhay et al., "Grad-CAM++", WACV 2018, for the score exp(s), whose factor
//               exp(s) scales the whole map and is left out
//   layer-cam   ReLU( sum_c ReLU(g_c) A_c ): weights of their own for every place
//               Jiang et al., "LayerCAM", TIP 2021
//   eigen-cam   ReLU( A v ), v the first right singular vector of A as a (H W) x C matrix: what the
//               layer shows most of, whatever the class
//               Muhammad and Yeasin, "Eigen-CAM", IJCNN 2020
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model.h"

namespace thorax {

enum class CamMethod : std::uint8_t { grad_cam, grad_cam_plus_plus, layer_cam, eigen_cam };
const char* name_of(CamMethod method);
std::vector<std::string> cam_method_names();
// Throws Error "[grad_cam] ..." listing the names.
CamMethod parse_cam_method(const std::string& name);

inline constexpr std::int64_t kPredictedClass = -1;

struct CamOptions {
  std::string layer;  // a name of offered_layers(); empty: the last with rows and columns
  CamMethod method = CamMethod::grad_cam;
  // The class whose score is explained. A single logit z has the classes 1 (score z) and 0 (score
  // -z), else class k has the score logits[k]. kPredictedClass: for each image its own.
  std::int64_t target = kPredictedClass;
};

struct CamResult {
  std::string layer;
  Tensor logits;                      // N x K, f32, on the CPU
  std::vector<std::int64_t> targets;  // the class explained, of each image
  // N x h x w, f32, on the CPU, at the layer's own resolution; >= 0, not normalised. All zero where
  // nothing speaks for the class.
  Tensor maps;
};

// `input`: N x H x W x C, f32, on any device. One forward pass, and a backward pass from the logits
// to the layer only. The model must be in eval mode (images of a batch would mix otherwise). No
// gradient of a parameter is computed, and existing ones are left alone; the parameters do not
// require gradients meanwhile, so no other thread may train this model at the same time. Throws
// Error "[grad_cam] ..." or "[activations] ..." for training mode, an unknown layer (listing those
// there are), one without rows and columns, logits that are not N x K, or a class that is not
// there.
CamResult class_activation_maps(const Model& model, const Tensor& input, const CamOptions& options);

// Maps at the size of the image: bilinear (align_corners false), then each divided by its maximum:
// N x height x width, f32, 0..1. A map that is zero everywhere stays so.
Tensor upsampled_maps(const Tensor& maps, std::int64_t height, std::int64_t width);

}  // namespace thorax
