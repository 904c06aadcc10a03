#include <dlfcn.h>

#include "apps/serve/http.h"

namespace thorax::app {

#ifdef THORAX_HTTP_MODULE
std::unique_ptr<HttpServer> start_http_server(const HttpOptions& options,
                                              std::vector<HttpRoute> routes) {
  // Never closed: a thread that ends late would return into nothing.
  void* module = ::dlopen(THORAX_HTTP_MODULE, RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr)
    fail(
        "[serve] the web server cannot be loaded: {}; it needs the package libcpp-httplib0.11: "
        "apt install libcpp-httplib0.11",
        ::dlerror());
  const auto start = reinterpret_cast<HttpModuleEntry>(::dlsym(module, kHttpModuleEntry));
  THORAX_CHECK(start != nullptr, "[serve] {}: is of another version of thorax; install it again",
               THORAX_HTTP_MODULE);
  return start(options, std::move(routes));
}
#else
std::unique_ptr<HttpServer> start_http_server(const HttpOptions& /*options*/,
                                              std::vector<HttpRoute> /*routes*/) {
  fail(
      "[serve] this build has no web server, because the package libcpp-httplib-dev was missing: "
      "run third_party/install.sh and build again");
}
#endif

}  // namespace thorax::app
