# cmake -DSOURCE=folder -DVERSION=0.1.0 -DOUTPUT=header -P write_headers_id.cmake: writes THORAX_HEADERS, the version and
# a checksum of the headers that are installed. The header is touched only when that changes.
cmake_minimum_required(VERSION 3.25)
set(all "")
foreach(folder engine kernels models data apps/inference)
  file(GLOB_RECURSE headers RELATIVE ${SOURCE} ${SOURCE}/${folder}/*.h ${SOURCE}/${folder}/*.cuh)
  list(SORT headers)
  foreach(header ${headers})
    file(SHA256 ${SOURCE}/${header} checksum)
    string(APPEND all "${header} ${checksum}\n")
  endforeach()
endforeach()
string(SHA256 id "${all}")
string(SUBSTRING ${id} 0 16 id)
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "// Of the headers beside this file: plugins and programs must agree on them.
#define THORAX_HEADERS \"@VERSION@ (headers @id@)\"
" @ONLY)
