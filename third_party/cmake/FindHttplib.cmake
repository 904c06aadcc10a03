# cpp-httplib as Debian ships it (libcpp-httplib-dev): compiled, with these three options, which change its classes.
# Target: Httplib::Httplib
find_path(HTTPLIB_INCLUDE_DIR httplib.h)
find_library(HTTPLIB_LIBRARY cpp-httplib)
if(HTTPLIB_INCLUDE_DIR)
  file(STRINGS ${HTTPLIB_INCLUDE_DIR}/httplib.h HTTPLIB_VERSION REGEX "define CPPHTTPLIB_VERSION")
  string(REGEX REPLACE ".*\"(.*)\".*" "\\1" HTTPLIB_VERSION "${HTTPLIB_VERSION}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Httplib REQUIRED_VARS HTTPLIB_LIBRARY HTTPLIB_INCLUDE_DIR VERSION_VAR HTTPLIB_VERSION)
if(Httplib_FOUND AND NOT TARGET Httplib::Httplib)
  add_library(Httplib::Httplib INTERFACE IMPORTED)
  set_target_properties(Httplib::Httplib PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${HTTPLIB_INCLUDE_DIR})
  target_compile_definitions(Httplib::Httplib INTERFACE CPPHTTPLIB_OPENSSL_SUPPORT CPPHTTPLIB_ZLIB_SUPPORT
    CPPHTTPLIB_BROTLI_SUPPORT)
  target_link_libraries(Httplib::Httplib INTERFACE ${HTTPLIB_LIBRARY})
endif()
