// The runs below a folder as JSON and pictures, for the page that shows them.
#pragma once

#include <filesystem>
#include <vector>

#include "apps/serve/http.h"

namespace thorax::app {

// GET /api/runs              {"table": run_table as JSON, "unreadable": [TEXT]}
// GET /api/run?run=NAME      {"run", "command", "state", "started", "config", "parts": [{"part",
//                            "finished"}], "pictures": [{"folder", "files"}], "report"}
// GET /api/metrics?run=NAME&have={"PART":EPOCHS}
//                            {"run", "state", "started", "parts": [{"part", "finished", "from",
//                            "epochs": [...], "metrics": {NAME: [...]}}]}: the epochs behind those
//                            that the client has; from the first one on ("from": 0) where the log
//                            is shorter than that
// GET /picture?run=NAME&file=PATH   a PNG of the run's folder
// GET /report?run=NAME              its report.html, as it is, without scripts
// Names are those of `thorax runs`, file names as dump_json writes them. A run that lies elsewhere,
// by a symbolic link, is not shown. What is read is as old as ten times the time that reading
// takes. Throws Error "[runs] ..." when `root` is no folder.
std::vector<HttpRoute> run_routes(const std::filesystem::path& root);

}  // namespace thorax::app
