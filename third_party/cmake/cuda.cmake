# The CUDA build of the kernels: an object library of every .cu file of the layers above.
if(NOT CMAKE_CUDA_COMPILER)
  find_program(CMAKE_CUDA_COMPILER nvcc PATHS /usr/local/cuda/bin ENV CUDA_HOME PATH_SUFFIXES bin)
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 75 80 86 89 90)
endif()
enable_language(CUDA)
find_package(CUDAToolkit 12 REQUIRED)
# sm_86 and sm_89 have nothing that a kernel here would ask for beyond sm_80: they are made from its PTX, which
# spares two of five passes of the compiler proper.
set(from_sm_80 "")
if("80" IN_LIST CMAKE_CUDA_ARCHITECTURES)
  set(from_sm_80 ${CMAKE_CUDA_ARCHITECTURES})
  list(FILTER from_sm_80 INCLUDE REGEX "^8[69]$")
  list(FILTER CMAKE_CUDA_ARCHITECTURES EXCLUDE REGEX "^8[69]$")
  list(TRANSFORM from_sm_80 REPLACE "(.+)" "SHELL:-gencode arch=compute_80,code=sm_\\1")
endif()
# CMake 3.25 does not know nvcc's flag for C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_EXTENSIONS OFF)
# The launcher keeps what ptxas says of each kernel beside its object; kernel_resources collects it.
set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_SOURCE_DIR}/third_party/cmake/nvcc_resources.sh ${THORAX_CCACHE})

get_property(cuda_sources GLOBAL PROPERTY thorax_cuda_sources)
list(TRANSFORM cuda_sources PREPEND ${CMAKE_SOURCE_DIR}/)
add_library(thorax_cuda OBJECT ${cuda_sources})
set_target_properties(thorax_cuda PROPERTIES CUDA_RUNTIME_LIBRARY Static)
target_compile_options(thorax_cuda PRIVATE ${from_sm_80})
# Not linked with fmt::fmt: its wish for a language standard would come as a second -std.
target_include_directories(thorax_cuda PRIVATE ${CMAKE_SOURCE_DIR}
  $<TARGET_PROPERTY:fmt::fmt,INTERFACE_INCLUDE_DIRECTORIES>)
# fmt 9 turns its constexpr functions off under nvcc and then does not compile as C++20.
target_compile_definitions(thorax_cuda PRIVATE FMT_USE_CONSTEXPR=1 FMT_CONSTEVAL=)
# FMA contraction is as in the host code. -lineinfo: profilers and the sanitizer name source lines.
target_compile_options(thorax_cuda PRIVATE --extended-lambda --expt-relaxed-constexpr -lineinfo -Xptxas=-v
  -Xcompiler=-Wall,-Wextra,-Wno-unknown-pragmas,-fno-semantic-interposition
  $<$<BOOL:${THORAX_WERROR}>:--Werror=all-warnings>)
target_compile_definitions(thorax_engine PRIVATE THORAX_WITH_CUDA)
target_include_directories(thorax_engine PRIVATE ${CUDAToolkit_INCLUDE_DIRS})

# The vendor's kernels, to compare with and to select: providers "cudnn" and "cublas".
find_package(Cudnn)
if(Cudnn_FOUND)
  target_compile_definitions(thorax_kernels PRIVATE THORAX_WITH_CUDNN)
  target_include_directories(thorax_kernels PRIVATE ${CUDAToolkit_INCLUDE_DIRS} ${Cudnn_INCLUDE_DIR})
  set(THORAX_VENDOR_LIBRARIES Cudnn::Cudnn CUDA::cublas)
endif()

# kernels.csv in the build folder: registers, spills and shared memory of every kernel.
add_custom_target(kernel_resources ALL
  COMMAND ${CMAKE_SOURCE_DIR}/third_party/cmake/collect_resources.sh ${CMAKE_BINARY_DIR}
    ${CMAKE_BINARY_DIR}/kernels.csv
  DEPENDS $<TARGET_OBJECTS:thorax_cuda> VERBATIM)

# The kernels' PTX in the build folder, for the device ptx:N.
add_custom_target(kernel_ptx
  COMMAND ${CMAKE_SOURCE_DIR}/third_party/cmake/collect_ptx.sh ${CMAKE_BINARY_DIR} ${CMAKE_BINARY_DIR}/ptx
  DEPENDS $<TARGET_OBJECTS:thorax_cuda> VERBATIM)
