# The files of the page as text in the program.
set(pages index.html style.css page.js charts.js runs.js images.js)
set(rows "")
foreach(page ${pages})
  set(file ${CMAKE_CURRENT_SOURCE_DIR}/serve/page/${page})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} text)
  set(path /${page})
  if(page MATCHES "html$")
    set(path /)
    set(type "text/html; charset=utf-8")
  elseif(page MATCHES "css$")
    set(type "text/css; charset=utf-8")
  else()
    set(type "text/javascript; charset=utf-8")
  endif()
  string(APPEND rows "    {\"${path}\", \"${type}\", R\"page(${text})page\"},\n")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/thorax_pages.h @ONLY CONTENT
"// Made from apps/serve/page.
struct EmbeddedPage {
  const char *path, *type, *text;
};
inline constexpr EmbeddedPage kEmbeddedPages[] = {
@rows@};
")
