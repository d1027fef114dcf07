#include "bindings/device/bindings.h"
#include "core/cuda/error.h"

#if defined(DLKIT_SIMT)
#define DLKIT_DEVICE_MODULE _simt
#else
#define DLKIT_DEVICE_MODULE _cuda
#endif

PYBIND11_MODULE(DLKIT_DEVICE_MODULE, module) {
  module.doc() = "dlkit's CUDA kernels. Use them through dlkit.kernels.";
  pybind11::register_local_exception<dlkit::DeviceError>(module, "DeviceError", PyExc_RuntimeError);
  dlkit::bind_device_conv(module);
  dlkit::bind_device_crf(module);
  dlkit::bind_device_layers(module);
  dlkit::bind_device_matmul(module);
  dlkit::bind_device_pool(module);
  dlkit::bind_device_recurrent(module);
  dlkit::bind_device_word2vec(module);
  dlkit::bind_device_word2vec_engine(module);
  dlkit::bind_device_platform(module);
}
