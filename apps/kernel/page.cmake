# The files of the page as text in the program.
set(declarations "")
foreach(part Html:html Style:css Script:js)
  string(REGEX MATCH "^([^:]*):(.*)$" matched ${part})
  set(name ${CMAKE_MATCH_1})
  set(file ${CMAKE_CURRENT_SOURCE_DIR}/kernel/page/kernel.${CMAKE_MATCH_2})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} text)
  string(APPEND declarations "inline constexpr const char* kKernel${name} = R\"page(${text})page\";\n")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/thorax_kernel_page.h @ONLY CONTENT
"// Made from apps/kernel/page.
@declarations@")
