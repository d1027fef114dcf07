# The module _cuda: the CUDA sources, compiled by nvcc.
if(NOT DLKIT_CUDA MATCHES "^(AUTO|ON|OFF|1|0|TRUE|FALSE|YES|NO)$")
  message(FATAL_ERROR "DLKIT_CUDA is '${DLKIT_CUDA}'; expected AUTO, ON or OFF")
endif()

set(build_cuda ${DLKIT_CUDA})
if(DLKIT_CUDA STREQUAL "AUTO")
  find_program(nvcc nvcc PATHS /usr/local/cuda/bin)
  find_library(driver NAMES cuda libcuda.so.1 PATHS /usr/local/nvidia/lib64 /usr/lib/wsl/lib NO_CACHE)
  if(nvcc AND (driver OR EXISTS /proc/driver/nvidia/version))
    set(build_cuda ON)
  else()
    set(build_cuda OFF)
  endif()
endif()
if(NOT build_cuda)
  message(STATUS "dlkit: without the module for NVIDIA GPUs (DLKIT_CUDA=${DLKIT_CUDA})")
  return()
endif()

set(CMAKE_CUDA_ARCHITECTURES ${DLKIT_CUDA_ARCHITECTURES})
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
message(STATUS "dlkit: the module for NVIDIA GPUs, for ${CMAKE_CUDA_ARCHITECTURES}")

list(TRANSFORM DLKIT_DEVICE_SOURCES PREPEND csrc/ OUTPUT_VARIABLE kernels)
list(TRANSFORM DLKIT_DEVICE_HOST_SOURCES PREPEND csrc/ OUTPUT_VARIABLE host_sources)
list(TRANSFORM DLKIT_DEVICE_BINDINGS PREPEND csrc/ OUTPUT_VARIABLE bindings)
add_library(dlkit_cuda_kernels OBJECT ${kernels})
target_include_directories(dlkit_cuda_kernels PRIVATE csrc)
# --expt-relaxed-constexpr: std::min and its like in kernels. No --use_fast_math: kernels ask for approximations by name.
target_compile_options(dlkit_cuda_kernels PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -Xcompiler=-Wall -diag-suppress=177>)

string(REPLACE ";" " " architectures "${CMAKE_CUDA_ARCHITECTURES}")
pybind11_add_module(_cuda csrc/bindings/device/cuda.cpp csrc/core/cpu.cpp csrc/core/thread_pool.cpp ${bindings}
  ${host_sources} $<TARGET_OBJECTS:dlkit_cuda_kernels>)
target_precompile_headers(_cuda PRIVATE ${DLKIT_BINDING_HEADERS})
target_link_libraries(_cuda PRIVATE dlkit_options CUDA::cudart_static)
target_compile_definitions(_cuda PRIVATE DLKIT_CUDA_ARCHITECTURES="${architectures}")
install(TARGETS _cuda DESTINATION dlkit)
