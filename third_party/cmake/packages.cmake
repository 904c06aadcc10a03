# Debian packages by CPack: `thorax` (command, library, manual page, completions) and `libthorax-dev` (headers, CMake package,
# pkg-config), of any build: `cd build && cpack`. The preset `deb` builds nothing else.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME thorax)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/package_rpath.cmake)
set(CPACK_COMPONENTS_ALL runtime development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "thorax authors <noreply@thorax.invalid>")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
  WORLD_EXECUTE)

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME thorax)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION science)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_RECOMMENDS gnuplot-nox)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SUGGESTS bash-completion)
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "train and use networks for chest radiographs
Segments lungs and other organs, classifies radiographs, cross-validates and
audits the result, on a deep-learning engine of its own. Needs a processor
with AVX2. Figures are drawn by gnuplot. Not for diagnostic use.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libthorax-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
  "thorax (= ${PROJECT_VERSION}), libfmt-dev, nlohmann-json3-dev, libxxhash-dev, libdnnl-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "headers of thorax, a deep-learning engine for chest radiographs
Headers, the CMake package thorax and a file for pkg-config.")
include(CPack)
