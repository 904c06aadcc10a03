# Libraries for image formats that a build can do without. Each one that is found is linked to
# thorax_codecs and turns on its file in data/formats; `thorax info` says which. To build without
# one: -DCMAKE_DISABLE_FIND_PACKAGE_TIFF=ON.
# thorax_codec(PACKAGE TARGET FILE): FILE gets the definition THORAX_<PACKAGE>. Called in every
# directory that compiles the file.
if(NOT TARGET thorax_codecs)
  add_library(thorax_codecs INTERFACE)
endif()
function(thorax_codec package target file)
  if(${package}_FOUND)
    target_link_libraries(thorax_codecs INTERFACE ${target})
    set_source_files_properties(${CMAKE_SOURCE_DIR}/data/formats/${file} PROPERTIES
      COMPILE_DEFINITIONS THORAX_${package})
  endif()
endfunction()
find_package(TIFF 4.5)
thorax_codec(TIFF TIFF::TIFF tiff.cpp)
find_package(JPEG)
if(JPEG_FOUND)
  # Only libjpeg-turbo: the library that it replaces is slower than what every build has.
  include(CheckCXXSymbolExists)
  set(CMAKE_REQUIRED_INCLUDES ${JPEG_INCLUDE_DIRS})
  check_cxx_symbol_exists(LIBJPEG_TURBO_VERSION "cstdio;jpeglib.h" THORAX_JPEG_IS_TURBO)
  unset(CMAKE_REQUIRED_INCLUDES)
  if(THORAX_JPEG_IS_TURBO)
    thorax_codec(JPEG JPEG::JPEG turbo.cpp)
  endif()
endif()
find_package(PNG 1.6)
thorax_codec(PNG PNG::PNG libpng.cpp)
include(${CMAKE_CURRENT_LIST_DIR}/dicom.cmake)
