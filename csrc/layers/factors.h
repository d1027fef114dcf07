// The optimizers' settings as their inner loops want them, on a CPU and on a GPU.
#pragma once

#include <cmath>

#include "layers/layers.h"

namespace dlkit {

template <class T>
struct AdamFactors {
  T beta1, beta2, rest1, rest2;  // rest = 1 - beta
  T step_size;                   // lr / (1 - beta1^step)
  T root_scale;                  // 1 / sqrt(1 - beta2^step)
  T eps;
  T l2;    // weight decay that joins the gradient
  T keep;  // what decoupled decay leaves of the value: 1 - lr weight_decay
};

template <class T>
struct SgdFactors {
  T lr, momentum, rest, weight_decay;  // rest = 1 - dampening
  bool nesterov, first_step;
};

template <class T>
struct AdadeltaFactors {
  T lr, rho, rest, eps, weight_decay;  // rest = 1 - rho
};

// In float32, 1 - 0.999f is off by 1e-5 of itself: the differences are formed in float64.
template <class T>
AdamFactors<T> factors_of(const AdamSettings& settings) {
  const double step = static_cast<double>(settings.step);
  AdamFactors<T> factors;
  factors.beta1 = static_cast<T>(settings.beta1);
  factors.beta2 = static_cast<T>(settings.beta2);
  factors.rest1 = static_cast<T>(1 - settings.beta1);
  factors.rest2 = static_cast<T>(1 - settings.beta2);
  factors.step_size = static_cast<T>(settings.lr / (1 - std::pow(settings.beta1, step)));
  factors.root_scale = static_cast<T>(1 / std::sqrt(1 - std::pow(settings.beta2, step)));
  factors.eps = static_cast<T>(settings.eps);
  factors.l2 = settings.decoupled ? T(0) : static_cast<T>(settings.weight_decay);
  factors.keep = settings.decoupled ? static_cast<T>(1 - settings.lr * settings.weight_decay) : T(1);
  return factors;
}

template <class T>
SgdFactors<T> factors_of(const SgdSettings& settings) {
  SgdFactors<T> factors;
  factors.lr = static_cast<T>(settings.lr);
  factors.momentum = static_cast<T>(settings.momentum);
  factors.rest = static_cast<T>(1 - settings.dampening);
  factors.weight_decay = static_cast<T>(settings.weight_decay);
  factors.nesterov = settings.nesterov;
  factors.first_step = settings.first_step;
  return factors;
}

template <class T>
AdadeltaFactors<T> factors_of(const AdadeltaSettings& settings) {
  return {static_cast<T>(settings.lr), static_cast<T>(settings.rho), static_cast<T>(1 - settings.rho),
          static_cast<T>(settings.eps), static_cast<T>(settings.weight_decay)};
}

}  // namespace dlkit
