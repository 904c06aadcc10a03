# DICOM by DCMTK and, for JPEG 2000, GDCM: a build can do without either; `thorax info` says which it has. To build
# without one: -DCMAKE_DISABLE_FIND_PACKAGE_Dcmtk=ON. Included by codecs.cmake.
find_package(Dcmtk)
find_package(Gdcm)
if(Dcmtk_FOUND)
  target_link_libraries(thorax_codecs INTERFACE Dcmtk::Dcmtk)
  set(definitions THORAX_DCMTK)
  if(Gdcm_FOUND)
    target_link_libraries(thorax_codecs INTERFACE Gdcm::Gdcm)
    list(APPEND definitions THORAX_GDCM)
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/data/formats/dicom/*.cpp)
  set_source_files_properties(${sources} PROPERTIES COMPILE_DEFINITIONS "${definitions}")
endif()
