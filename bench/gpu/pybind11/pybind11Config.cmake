# pybind11 of headers alone, in PYBIND11_HEADERS, for machines that have them without the package (PyTorch ships them).
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(
  COMMAND ${Python_EXECUTABLE} -c "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"
  OUTPUT_VARIABLE extension_suffix OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
if(NOT EXISTS ${PYBIND11_HEADERS}/pybind11/pybind11.h)
  message(FATAL_ERROR "no pybind11/pybind11.h in '${PYBIND11_HEADERS}' (PYBIND11_HEADERS)")
endif()

function(pybind11_add_module name)
  add_library(${name} MODULE ${ARGN})
  target_include_directories(${name} SYSTEM PRIVATE ${PYBIND11_HEADERS})
  target_link_libraries(${name} PRIVATE Python::Module)
  set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX "${extension_suffix}"
    CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden)
endfunction()
