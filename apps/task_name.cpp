// Apart from settings.cpp, so that what reads results needs no command line.
#include "apps/settings.h"

namespace thorax::app {

const char* name_of(Task task) {
  return task == Task::segmenter ? "segmenter" : "classifier";
}

}  // namespace thorax::app
