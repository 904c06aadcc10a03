# Finds cuDNN 9, defines Cudnn::Cudnn.
find_path(Cudnn_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(Cudnn_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR})
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Cudnn REQUIRED_VARS Cudnn_LIBRARY Cudnn_INCLUDE_DIR)
if(Cudnn_FOUND AND NOT TARGET Cudnn::Cudnn)
  add_library(Cudnn::Cudnn UNKNOWN IMPORTED)
  set_target_properties(Cudnn::Cudnn PROPERTIES IMPORTED_LOCATION "${Cudnn_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${Cudnn_INCLUDE_DIR}")
endif()
