// The page itself: HTML, style and scripts, which are part of the program.
#pragma once

#include <vector>

#include "apps/serve/http.h"

namespace thorax::app {

// GET /, /style.css, /page.js, /charts.js, /runs.js, /images.js. The page loads nothing from
// anywhere else and runs no script but these.
std::vector<HttpRoute> page_routes();

}  // namespace thorax::app
