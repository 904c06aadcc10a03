#include "apps/serve/pages.h"

#include <thorax_pages.h>

namespace thorax::app {
namespace {

constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

}  // namespace

std::vector<HttpRoute> page_routes() {
  std::vector<HttpRoute> routes;
  for (const EmbeddedPage& page : kEmbeddedPages)
    routes.push_back({"GET", page.path, [&page](const HttpRequest&) {
                        return HttpReply{200, page.type, page.text, kPolicy};
                      }});
  return routes;
}

}  // namespace thorax::app
