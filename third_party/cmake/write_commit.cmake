# cmake -DSOURCE=folder -DOUTPUT=header -P write_commit.cmake: writes THORAX_COMMIT, the commit that is checked out
# ("-dirty" with local changes), or "unknown" outside a checkout. The header is touched only when that changes.
cmake_minimum_required(VERSION 3.25)
find_package(Git QUIET)
set(commit unknown)
if(Git_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} describe --always --dirty --exclude=* --abbrev=12 WORKING_DIRECTORY ${SOURCE}
    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed AND found)
    set(commit ${found})
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define THORAX_COMMIT \"@commit@\"\n" @ONLY)
