// A file of its own, because every commit compiles it anew.
#include "engine/train/run_folder.h"
#include "thorax_commit.h"  // written by third_party/cmake/write_commit.cmake

namespace thorax {

std::string build_commit() {
  return THORAX_COMMIT;
}

}  // namespace thorax
