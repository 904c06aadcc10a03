// `thorax serve`: runs, their files, and requests that must not get further.
#include <doctest/doctest.h>

#include <sys/file.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "tests/apps/commands.h"
#include "tests/apps/serve_support.h"
#include "tests/support/run_program.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// Would mark the root element of a page that took it for markup.
const std::string kHostile =
    "<img src=x onerror=document.documentElement.setAttribute('data-canary','ran')>&\"'";

// Two segmenters: one with a name that is also a program, both with a picture.
struct Runs {
  TemporaryFolder folder;
  std::string root = folder / "runs";
  Runs() {
    run({"data", "phantoms", "--out", folder / "data", "--patients", "6", "--max-images", "1",
         "--size", "32"});
    run({"train", "segmenter", "--data", "manifest:" + (folder / "data/manifest.csv"), "--out",
         folder / "runs/deep/lungs", "--width", "2", "--size", "32", "--epochs", "2", "--batch",
         "4"});
    fs::create_directories(root + "/deep/lungs/pictures");
    fs::copy(some_image(), root + "/deep/lungs/pictures/a b.png");
    fs::copy(root + "/deep/lungs", fs::path(root) / kHostile, fs::copy_options::recursive);
  }
  fs::path some_image() const { return fs::directory_iterator(folder / "data/CXR_png")->path(); }
};

std::string dom_of(const std::string& url, const fs::path& profile,
                   const std::vector<std::string>& options = {"--virtual-time-budget=5000"}) {
  std::vector<std::string> arguments{"chromium",
                                     "--headless",
                                     "--no-sandbox",
                                     "--disable-gpu",
                                     "--disable-dev-shm-usage",
                                     "--user-data-dir=" + profile.string()};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.insert(arguments.end(), {"--dump-dom", url});
  const ProgramOutcome dom = run_program(arguments);
  REQUIRE(dom.exit_code == 0);
  return dom.out;
}

std::string encoded(const std::string& text) {
  std::string out;
  for (const unsigned char c : text) {
    constexpr const char* kDigits = "0123456789ABCDEF";
    out += '%';
    out += kDigits[c >> 4];
    out += kDigits[c & 15];
  }
  return out;
}

}  // namespace

TEST_CASE("serve: runs, metrics as they grow, and files of runs only") {
  const Runs runs;
  Served served({runs.root});

  SUBCASE("the table is that of thorax runs") {
    const Outcome table = run_thorax({"runs", runs.root, "--json"});
    const nlohmann::json list = served.get("/api/runs").json();
    CHECK(list["table"] == nlohmann::json::parse(table.output));
    CHECK(list["table"]["rows"].size() == 2);
    CHECK(list["unreadable"].empty());
  }

  SUBCASE("epochs that the client has are not sent again") {
    const nlohmann::json all = served.get("/api/metrics?run=deep/lungs").json()["parts"][0];
    CHECK(all["epochs"] == nlohmann::json({1.0, 2.0}));
    const nlohmann::json rest =
        served.get("/api/metrics?run=deep%2Flungs&have=" + encoded(R"({"": 1})"))
            .json()["parts"][0];
    CHECK(rest["from"] == 1);
    CHECK(rest["epochs"] == nlohmann::json({2.0}));
    CHECK(rest["metrics"]["dice"][0] == all["metrics"]["dice"][1]);
    // A log that has become shorter is another one.
    CHECK(served.get("/api/metrics?run=deep/lungs&have=" + encoded(R"({"": 7})"))
              .json()["parts"][0]["from"] == 0);
    std::ofstream(runs.root + "/deep/lungs/metrics.jsonl", std::ios::app)
        << R"({"dice":null,"epoch":3,"kind":"epoch","loss":0.4,"lr":0.1,"step":9,"train_loss":0.4})"
        << "\n";
    nlohmann::json grown;
    for (int i = 0; i < 100 && grown.empty(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      grown = served.get("/api/metrics?run=deep/lungs&have=" + encoded(R"({"": 2})"))
                  .json()["parts"][0]["epochs"];
    }
    CHECK(grown == nlohmann::json({3.0}));
    for (const std::string& have : {std::string("x"), std::string("[1]"), std::string(2000, '['),
                                    std::string(R"({"": -1})"), std::string(R"({"": 1.5})")})
      CHECK(served.get("/api/metrics?run=deep/lungs&have=" + encoded(have)).status == 400);
  }

  SUBCASE("configuration, pictures, report") {
    const nlohmann::json run = served.get("/api/run?run=" + encoded(kHostile)).json();
    CHECK(run["run"] == kHostile);
    CHECK(run["config"]["settings"]["epochs"] == 2);
    CHECK(run["report"] == false);
    REQUIRE(run["pictures"].size() >= 1);
    CHECK(has(run["pictures"].dump(), "pictures/a b.png"));
    const Answer picture = served.get("/picture?run=deep/lungs&file=pictures/a%20b.png");
    CHECK(picture.status == 200);
    CHECK(has(picture.head, "Content-Type: image/png"));
    CHECK(picture.body == file_text(runs.some_image()));
    std::ofstream(runs.root + "/deep/lungs/report.html") << "<p>a report</p>";
    const Answer report = served.get("/report?run=deep/lungs");
    CHECK(report.body == "<p>a report</p>");
    CHECK(has(report.head, "frame-ancestors 'none'; sandbox"));
  }

  SUBCASE("nothing outside of a run's folder is shown") {
    const std::string secret = runs.folder / "secret.png";
    fs::copy(runs.some_image(), secret);
    fs::copy(runs.some_image(), runs.root + "/beside.png");
    const std::string lungs = runs.root + "/deep/lungs";
    fs::create_symlink(secret, lungs + "/link.png");
    fs::create_directory_symlink(runs.folder.path(), lungs + "/up");
    fs::create_hard_link(secret, lungs + "/pictures/same.png");
    REQUIRE(mkfifo((lungs + "/pipe.png").c_str(), 0600) == 0);
    const auto file = [&](const std::string& name) {
      const Answer answer = served.get("/picture?run=deep/lungs&file=" + name);
      CHECK_FALSE(has(answer.body, "PNG"));
      return answer.status;
    };
    CHECK(served.get("/picture?run=deep/lungs&file=pictures/same.png").status == 200);
    for (const std::string& name :
         {std::string("../../../secret.png"), std::string("%2e%2e/%2e%2e/%2e%2e/secret.png"),
          std::string("..%2f..%2fbeside.png"), encoded(secret), std::string("/") + secret,
          std::string("pictures/../../../beside.png"), std::string("./pictures/a%20b.png"),
          std::string("pictures//a%20b.png"), std::string("link.png"), std::string("up/secret.png"),
          std::string("pipe.png"), std::string("pictures/a%20b.png%00.png"), std::string("%00.png"),
          std::string("config.json"), std::string(".png"), std::string("pictures"),
          std::string("%c0%ae%c0%ae/secret.png"), std::string("..%5c..%5csecret.png")}) {
      CAPTURE(name);
      CHECK(file(name) == 404);
    }
    CHECK_FALSE(has(served.get("/api/run?run=deep/lungs").body, "link.png"));
    for (const char* name : {"..", "deep", "deep/lungs/..", "/", "", "deep/lungs%00", "nowhere"})
      CHECK(served.get(std::string("/api/run?run=") + name).status == 404);
    for (const char* path : {"/../secret.png", "/%2e%2e/secret.png", "//etc/passwd",
                             "/picture/../x", "/api", "/page/index.html", "/%00", "/."})
      CHECK(served.get(path).status == 404);
    // A run whose log is a link to elsewhere.
    fs::copy(lungs + "/metrics.jsonl", runs.folder / "log.jsonl");
    fs::remove(lungs + "/metrics.jsonl");
    fs::create_symlink(runs.folder / "log.jsonl", lungs + "/metrics.jsonl");
    Answer gone;
    for (int i = 0; i < 100 && gone.status != 404; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      gone = served.get("/api/metrics?run=deep/lungs");
    }
    CHECK(gone.status == 404);
    CHECK(has(served.get("/api/runs").body, "deep/lungs: has a symbolic link that leaves"));
  }

  SUBCASE("in a browser: runs side by side, nothing of a name is run") {
    if (!have_program("chromium", "the page of runs was not opened in a browser")) return;
    const std::string dom =
        dom_of(served.url() + "?run=deep/lungs&run=" + encoded(kHostile), runs.folder / "profile");
    CHECK(has(dom, "&lt;img src=x onerror="));
    CHECK_FALSE(has(dom, "data-canary=\"ran\""));
    CHECK_FALSE(has(dom, "<img src=\"x\""));
    CHECK(has(dom, "<h3>Dice</h3>"));
    CHECK(has(dom, "class=\"line s0\""));
    CHECK(has(dom, "class=\"line s1\""));
    CHECK(has(dom, "These runs have the same settings."));
    CHECK(has(dom, "file=pictures%2Fa+b.png"));
    CHECK(has(dom, "id=\"problem\" class=\"problem\" role=\"alert\" hidden"));
  }
}

TEST_CASE("serve: curves grow while a run trains") {
  if (!have_program("chromium", "no growing curve was watched in a browser")) return;
  const Runs runs;
  const std::string lungs = runs.root + "/deep/lungs";
  // A process at work: it holds the lock and writes epochs.
  const int lock = open((lungs + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  REQUIRE(flock(lock, LOCK_EX) == 0);
  std::atomic<bool> done{false};
  std::thread trainer([&] {
    std::ofstream log(lungs + "/metrics.jsonl", std::ios::app);
    for (int epoch = 3; !done; ++epoch) {
      log << R"({"dice":0.5,"kind":"epoch","loss":0.4,"lr":0.1,"step":9,"train_loss":0.4,"epoch":)"
          << epoch << "}\n"
          << std::flush;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  Served served({runs.root});
  // An extension of the browser notes what the first curve began with.
  fs::create_directories(runs.folder / "witness");
  std::ofstream(runs.folder / "witness/manifest.json") << R"({"manifest_version": 3,
    "name": "witness", "version": "1",
    "content_scripts": [{"matches": ["http://127.0.0.1/*"], "js": ["witness.js"]}]})";
  std::ofstream(runs.folder / "witness/witness.js") << R"(const see = () => {
    const chart = document.querySelector('.chart svg[aria-label]');
    if (!chart) return setTimeout(see, 20);
    document.documentElement.setAttribute('data-first', chart.getAttribute('aria-label'));
  };
  see();)";
  const std::string dom = dom_of(
      served.url() + "?run=deep/lungs", runs.folder / "profile",
      {"--load-extension=" + (runs.folder / "witness"),
       "--disable-features=DisableLoadExtensionCommandLineSwitch", "--virtual-time-budget=20000"});
  done = true;
  trainer.join();
  close(lock);
  const auto last_epoch = [&](const std::string& attribute) {
    const std::string start = attribute + "=\"Loss by epoch, 1 to ";
    const std::size_t at = dom.find(start);
    REQUIRE(at != std::string::npos);
    return std::stoi(dom.substr(at + start.size()));
  };
  CHECK(last_epoch("data-first") >= 2);
  CHECK(last_epoch("aria-label") > last_epoch("data-first"));
  CHECK(has(dom, "at work"));
}

TEST_CASE("serve: requests that are refused") {
  TemporaryFolder folder;
  Served served({folder.path().string(), "--timeout", "1"});
  const std::string get = "GET / HTTP/1.1\r\n";
  CHECK(served.get("/").status == 200);

  SUBCASE("who asks") {
    const auto host = [&](const std::string& value) {
      return served.raw(get + "Host: " + value + "\r\n\r\n").status;
    };
    for (const char* good : {"localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "192.168.7.7:99"})
      CHECK(host(good) == 200);
    for (const char* bad :
         {"evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.", "[::1",
          "localhost:x", "127.0.0.1@evil.example", ":80", "%6cocalhost.x"})
      CHECK(host(bad) == 403);
    CHECK(served.raw(get + "\r\n").status == 400);
    CHECK(served.raw(get + "Host: localhost\r\nHost: evil.example\r\n\r\n").status == 400);
    CHECK(served.get("/", "Origin: http://evil.example\r\n").status == 403);
    CHECK(served.get("/", "Origin: null\r\n").status == 403);
    CHECK(served.get("/", "Origin: " + served.url().substr(0, served.url().size() - 1) + "\r\n")
              .status == 200);
    const Answer answer = served.get("/api/runs");
    CHECK_FALSE(has(answer.head, "Access-Control"));
    for (const char* header :
         {"X-Content-Type-Options: nosniff", "Cross-Origin-Resource-Policy: same-origin",
          "Cache-Control: no-store", "Content-Security-Policy: default-src 'none'"})
      CHECK_MESSAGE(has(answer.head, header), header);
    CHECK(has(served.get("/nothing").head, "Content-Security-Policy: default-src 'none'"));
    CHECK(has(served.get("/").head, "script-src 'self'; style-src 'self'"));
  }

  SUBCASE("what is asked") {
    CHECK(served.post("/api/runs", "").status == 405);
    CHECK(served.raw("DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 405);
    CHECK(served.raw("OPTIONS /api/runs HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 405);
    const Answer head = served.raw("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(head.status == 200);
    CHECK(head.body.empty());
    for (const std::string& line :
         {std::string("BREW / HTTP/1.1"), std::string("GET /"), std::string("GET / HTTP/9.9"),
          std::string("GET /?a?b HTTP/1.1"), std::string("\x16\x03\x01"),
          std::string("GET /\0x HTTP/1.1", 17)}) {
      const Answer answer = served.raw(line + "\r\nHost: localhost\r\n\r\n");
      CAPTURE(line);
      CHECK(answer.status == 400);
      CHECK(has(answer.error(), "[serve] the request is malformed"));
    }
    for (const char* query : {"?", "?&&&", "?run", "?run=&run=", "?=x", "?run=%", "?run=%zz",
                              "?run=%u0000", "?%00=%ff%fe", "?run=a&run=b"}) {
      CAPTURE(query);
      const int status = served.get(std::string("/api/run") + query).status;
      CHECK((status == 400 || status == 404));
    }
    CHECK(served.get("/" + std::string(9000, 'a')).status == 414);
    CHECK(served.get("/api/metrics?run=a&have=" + std::string(7000, '[')).status == 404);
    const Answer many = served.get("/", "Range: bytes=0-,0-,0-,0-,0-,0-\r\n");
    CHECK(many.status == 200);
    CHECK(many.body.size() < 10000);
    // Headers without end, and one of 40 kB.
    std::string headers;
    for (int i = 0; i < 2000; ++i) headers += "X-" + std::to_string(i) + ": 0123456789\r\n";
    CHECK(served.get("/", headers).status == 431);
    CHECK(served.get("/", "X: " + std::string(40000, 'x') + "\r\n").status == 431);
  }

  SUBCASE("who waits") {
    // Many that say nothing, or half a request: they are dropped, and others are served meanwhile.
    std::vector<int> silent;
    for (int i = 0; i < 12; ++i) {
      silent.push_back(served.connect());
      if (i % 2 == 0) Served::send_all(silent.back(), "GET / HTTP/1.1\r\nHost: local");
    }
    const auto begin = std::chrono::steady_clock::now();
    CHECK(served.get("/").status == 200);
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(900));
    for (std::size_t i = 0; i < silent.size(); ++i) {
      const Answer answer = Served::receive(silent[i]);
      CHECK(answer.status == (i % 2 == 0 ? 408 : 0));
    }
    // A byte now and then keeps no connection: the time is that of the whole request.
    const int slow = served.connect();
    const auto first = std::chrono::steady_clock::now();
    for (int i = 0; i < 30; ++i) {
      Served::send_all(slow, i == 0 ? get + "X: " : "x");
      pollfd one{slow, POLLIN, 0};
      if (::poll(&one, 1, 100) > 0) break;
    }
    CHECK(Served::receive(slow).status == 408);
    CHECK(std::chrono::steady_clock::now() - first < std::chrono::milliseconds(2500));
    // More connections than are kept waiting: those beyond are told so at once.
    std::vector<int> crowd;
    for (int i = 0; i < 120; ++i) crowd.push_back(served.connect());
    int busy = 0;
    for (std::size_t i = 100; i < crowd.size(); ++i)
      busy += Served::receive(crowd[i]).status == 503;
    crowd.resize(100);
    for (const int socket : crowd) ::close(socket);
    CHECK(busy > 0);
    CHECK(served.get("/").status == 200);
  }
  CHECK(served.end(SIGTERM) == 0);
}

TEST_CASE("serve: begins and ends") {
  TemporaryFolder folder;
  const std::string root = folder.path().string();
  CHECK(run_thorax({"serve", folder / "nowhere"}).exit_code == 1);
  CHECK(run_thorax({"serve", root, "--port", "70000"}).exit_code == 2);
  Served served({root});
  const Outcome second = run_thorax({"serve", root, "--port", std::to_string(served.port())});
  CHECK(second.exit_code == 1);
  CHECK(has(second.output, "cannot be listened at"));
  CHECK_FALSE(has(served.said(), "warning"));
  // A client that never says anything does not hold up the end.
  const int silent = served.connect();
  const auto begin = std::chrono::steady_clock::now();
  CHECK(served.end(SIGINT) == 0);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
  ::close(silent);
  Served open({root, "--host", "0.0.0.0"}, "0.0.0.0");
  CHECK(has(open.said(), "[serve] warning: whoever reaches this address sees these runs"));
  CHECK(open.get("/").status == 200);
  CHECK(open.end(SIGHUP) == 0);
}
