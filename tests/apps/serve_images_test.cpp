// `thorax serve`: images that are looked at. What it answers is what predict, segment and explain
// write of the same file; what is no image gets no further than its error.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "apps/report/text.h"
#include "engine/io/crc32.h"
#include "tests/apps/commands.h"
#include "tests/apps/serve_support.h"
#include "tests/apps/tiny_models.h"
#include "tests/support/run_program.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// Phantoms of 64 x 64 and untrained networks.
struct Networks {
  TemporaryFolder folder;
  std::vector<fs::path> images;
  explicit Networks(const std::string& patients = "3") {
    run({"data", "phantoms", "--out", folder / "data", "--patients", patients, "--max-images", "1",
         "--size", "64"});
    for (const auto& entry : fs::directory_iterator(folder / "data/CXR_png"))
      images.push_back(entry.path());
    std::sort(images.begin(), images.end());
    fs::create_directories(folder / "runs");
    save_tiny_segmenter(folder / "lungs.safetensors");
    save_tiny_classifier(folder / "covid.safetensors");
  }
  Arguments serve(const Arguments& networks) const { return Arguments{folder / "runs"} + networks; }
};

// The picture of an answer as a file holds it.
std::string in_base64(const fs::path& png) {
  const std::string bytes = file_text(png);
  REQUIRE(!bytes.empty());
  return thorax::app::base64(bytes);
}

std::int64_t resident_kilobytes(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6));
  return 0;
}

std::string form_of(const std::string& content, const std::string& name) {
  return "--limit\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\na text\r\n"
         "--limit\r\nContent-Disposition: form-data; name=\"image\"; filename=\"" +
         name + "\"\r\nContent-Type: image/png\r\n\r\n" + content + "\r\n--limit--\r\n";
}
const std::string kForm = "Content-Type: multipart/form-data; boundary=limit\r\n";

}  // namespace

TEST_CASE("serve: an ensemble says what predict and explain write") {
  const Networks n;
  thorax::save_model(*tiny_classifier(8), n.folder / "other.safetensors", classifier_metadata());
  const Arguments networks{"--classifier", n.folder / "covid.safetensors",
                           "--classifier", n.folder / "other.safetensors",
                           "--segmenter",  n.folder / "lungs.safetensors",
                           "--min-area",   "0",
                           "--tta",        "flip"};
  const Arguments threshold{"--threshold", "0.4"};
  const std::string images = n.folder / "data/CXR_png";
  run(Arguments{"predict", images, "--out", n.folder / "seen"} + networks + threshold);
  run(Arguments{"explain", images, "--raw", "--out", n.folder / "why"} + networks);
  const nlohmann::json rows = nlohmann::json::parse(file_text(n.folder / "seen/predictions.json"));
  REQUIRE(rows.size() == n.images.size());

  Served served(n.serve(networks + threshold));
  const nlohmann::json models = served.get("/api/info").json()["models"];
  CHECK(models["classes"] == nlohmann::json({"normal", "covid"}));
  for (std::size_t i = 0; i < n.images.size(); ++i) {
    const std::string stem = "000" + std::to_string(i) + "_" + n.images[i].stem().string();
    const std::string name = n.images[i].filename().string();
    CAPTURE(name);
    nlohmann::json expected = rows[i];
    expected["image"] = name;
    expected.erase("overlay");
    const Answer answer = served.post(
        "/api/predict?pictures=overlay,map,mask,heatmap,probability,radiograph&name=" + name,
        file_text(n.images[i]));
    INFO(answer.body.substr(0, 300));
    REQUIRE(answer.status == 200);
    const nlohmann::json json = answer.json();
    CHECK(json["prediction"] == expected);
    CHECK(json["pictures"].size() == 6);
    CHECK(json["pictures"]["overlay"] == in_base64(n.folder / ("seen/" + stem + ".png")));
    CHECK(json["pictures"]["map"] == in_base64(n.folder / ("why/maps/" + stem + ".png")));
  }

  SUBCASE("as a form, in chunks, and by several at once") {
    const std::string content = file_text(n.images[0]);
    const nlohmann::json plain = served.post("/api/predict?name=a.png", content).json();
    CHECK(plain["prediction"]["image"] == "a.png");
    CHECK(plain["pictures"].empty());
    const Answer form = served.post("/api/predict", form_of(content, "C:\\x\\a.png"), kForm);
    REQUIRE(form.status == 200);
    CHECK(form.json()["prediction"] == plain["prediction"]);
    std::string chunks;
    for (std::size_t from = 0; from < content.size(); from += 1000) {
      const std::string part = content.substr(from, 1000);
      char size[16];
      std::snprintf(size, sizeof size, "%zx\r\n", part.size());
      chunks += size + part + "\r\n";
    }
    const Answer chunked = served.raw(
        "POST /api/predict?name=a.png HTTP/1.1\r\nHost: localhost\r\n"
        "Transfer-Encoding: chunked\r\n\r\n" +
        chunks + "0\r\n\r\n");
    REQUIRE(chunked.status == 200);
    CHECK(chunked.json()["prediction"] == plain["prediction"]);
    // Of more at once than are taken, the others are told to come again.
    std::vector<Answer> answers(12);
    std::vector<std::thread> clients;
    for (Answer& answer : answers)
      clients.emplace_back([&] { answer = served.post("/api/predict?name=a.png", content); });
    for (std::thread& client : clients) client.join();
    int done = 0;
    for (const Answer& answer : answers) {
      if (answer.status == 503) {
        CHECK(has(answer.head, "Retry-After: 1"));
        continue;
      }
      ++done;
      CHECK(answer.json()["prediction"] == plain["prediction"]);
    }
    CHECK(done >= 4);
    const nlohmann::json small =
        served.post("/api/predict?pictures=mask&side=16", content).json()["pictures"];
    CHECK(small["mask"].get<std::string>().size() < 400);
  }
  CHECK(served.end(SIGTERM) == 0);
}

TEST_CASE("serve: a segmenter alone finds what segment writes") {
  const Networks n("1");
  save_tiny_organs(n.folder / "softmax.safetensors", true);
  save_tiny_organs(n.folder / "sigmoid.safetensors", false);
  const std::string stem = n.images[0].stem().string();
  struct Case {
    std::string model, picture, file;
    Arguments more;
  };
  for (const Case& c : {Case{"lungs", "mask", "masks/" + stem, {"--min-area", "0"}},
                        Case{"softmax", "mask", "labels/" + stem, {}},
                        Case{"sigmoid", "mask/heart", "masks/heart/" + stem, {}}}) {
    CAPTURE(c.model);
    const std::string model = n.folder / (c.model + ".safetensors");
    const std::string out = n.folder / ("cut_" + c.model);
    run(Arguments{"segment", n.images[0].string(), "--model", model, "--out", out} + c.more);
    Served served(n.serve(Arguments{"--segmenter", model} + c.more));
    const Answer answer =
        served.post("/api/predict?pictures=overlay," + c.picture, file_text(n.images[0]));
    INFO(answer.body.substr(0, 300));
    REQUIRE(answer.status == 200);
    const nlohmann::json json = answer.json();
    CHECK(json["pictures"][c.picture] == in_base64(out + "/" + c.file + ".png"));
    CHECK(json["pictures"]["overlay"] == in_base64(out + "/overlays/" + stem + ".png"));
    CHECK(json["segmentation"]["kept"] == true);
    if (c.model == "lungs") continue;
    const nlohmann::json row =
        nlohmann::json::parse(file_text(out + "/segmentation.json"))["images"][0];
    CHECK(json["segmentation"]["organs"] == row["organs"]);
  }
  CHECK(run_thorax({"serve", n.folder / "runs", "--threshold", "0.5"}).exit_code == 1);
  CHECK(run_thorax({"serve", n.folder / "runs", "--segmenter", n.folder / "softmax.safetensors",
                    "--min-area", "5"})
            .exit_code == 1);
  CHECK(run_thorax({"serve", n.folder / "runs", "--classifier", n.folder / "lungs.safetensors"})
            .exit_code == 1);
}

TEST_CASE("serve: what is sent in the place of an image") {
  const Networks n("1");
  Served served(n.serve({"--classifier", n.folder / "covid.safetensors", "--timeout", "2"}));
  const std::string png = file_text(n.images[0]);
  const auto refused = [&](const Answer& answer, int status, const std::string& why) {
    INFO(answer.head << answer.body.substr(0, 300));
    CHECK(answer.status == status);
    CHECK(has(answer.error(), why));
  };
  const std::string start = "POST /api/predict HTTP/1.1\r\nHost: localhost\r\n";

  // No images.
  refused(served.post("/api/predict", ""), 400, "there is no image in the request");
  refused(served.post("/api/predict?name=x.png", "no image"), 422, "[decode] x.png: ");
  refused(served.post("/api/predict", png.substr(0, png.size() / 2)), 422, "[decode] image: ");
  refused(served.post("/api/predict?name=%3Cscript%3E", "<script>"), 422, "[decode] <script>: ");
  refused(served.post("/api/predict?name=..%2f..%2fetc%2fpasswd", "x"), 422, "[decode] passwd: ");
  // A header that says 9000 x 9000: 81 megapixels, said before any of them is made.
  std::string bomb = png;
  bomb[18] = bomb[22] = '\x23';
  bomb[19] = bomb[23] = '\x28';
  const std::uint32_t crc = thorax::crc32(std::as_bytes(std::span(bomb).subspan(12, 17)));
  for (std::size_t i = 0; i < 4; ++i) bomb[29 + i] = static_cast<char>(crc >> (24 - 8 * i) & 255);
  refused(served.post("/api/predict", bomb), 422, "9000");
  refused(served.post("/api/predict", png, "Content-Encoding: gzip\r\n"), 415, "not compressed");

  // Lengths.
  refused(served.raw(start + "Content-Length: 99999999999\r\n\r\n"), 413, "64 MiB");
  refused(served.raw(start + "Content-Length: 99999999999999999999999\r\n\r\n"), 413, "64 MiB");
  refused(served.raw(start + "Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n"), 413,
          "64 MiB");
  refused(served.raw(start + "Content-Length: -1\r\n\r\n"), 400, "is no number");
  refused(served.raw(start + "Content-Length: 0x10\r\n\r\n"), 400, "is no number");
  refused(served.raw(start + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"), 411, "one");
  refused(served.raw(start + "\r\n"), 411, "Content-Length");
  refused(served.raw(start + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"), 400,
          "without Content-Length");
  refused(served.raw(start + "Transfer-Encoding: gzip, chunked\r\n\r\n"), 400, "chunked");
  refused(served.raw(start + "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"), 400, "incomplete");
  // More than 64 MiB in chunks, none of which says so.
  std::string chunk = "100000\r\n" + std::string(1 << 20, 'x') + "\r\n", chunks;
  for (int i = 0; i < 66; ++i) chunks += chunk;
  refused(served.raw(start + "Transfer-Encoding: chunked\r\n\r\n" + chunks + "0\r\n\r\n"), 413,
          "64 MiB");
  // A body that never comes.
  const int slow = served.connect();
  Served::send_all(slow, start + "Content-Length: 100\r\n\r\nabc");
  refused(Served::receive(slow), 408, "too long to arrive");

  // Forms.
  refused(served.post("/api/predict", "nonsense", kForm), 400, "form is malformed");
  refused(served.post("/api/predict", png, "Content-Type: multipart/form-data\r\n"), 400,
          "form is malformed");
  const std::string form = form_of(png, "a.png");
  refused(served.post("/api/predict", form.substr(0, form.size() - 12), kForm), 400, "malformed");
  refused(served.post("/api/predict", form_of(png, ""), kForm), 400, "has no file");
  refused(
      served.post("/api/predict",
                  form.substr(0, form.size() - 11) + form.substr(form.find("--limit", 3)), kForm),
      400, "several files");
  std::string many;
  for (int i = 0; i < 50; ++i)
    many += "--limit\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\nx\r\n";
  refused(served.post("/api/predict", many + form, kForm), 400, "malformed");

  // Queries.
  refused(served.post("/api/predict?pictures=all", png), 400, "there is no such picture");
  refused(served.post("/api/predict?pictures=mask", png), 400, "there are: radiograph, heatmap");
  refused(served.post("/api/predict?side=-5", png), 400, "side=-5");
  refused(served.post("/api/predict?side=99999999999999", png), 400, "side=");
  refused(served.post("/api/predict?file=x", png), 400, "no 'file'");
  refused(served.get("/api/predict"), 405, "the method is POST");
  refused(served.post("/api/predict", png, "Origin: http://evil.example\r\n"), 403, "Origin");

  // After all of it an image is an image, and nothing is kept of one.
  for (int i = 0; i < 20; ++i)
    CHECK(served.post("/api/predict?pictures=heatmap", png).status == 200);
  const std::int64_t before = resident_kilobytes(served.process());
  for (int i = 0; i < 100; ++i) {
    served.post("/api/predict?pictures=heatmap", png);
    served.post("/api/predict", "no image");
    served.get("/api/runs");
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which keep what is freed
  CHECK(resident_kilobytes(served.process()) < before + 8000);
#else
  CHECK(before > 0);
#endif
  CHECK(served.end(SIGTERM) == 0);
}

TEST_CASE("serve: an image that is dropped on the page") {
  if (!have_program("chromium", "no image was dropped on the page")) return;
  const Networks n("1");
  Served served(n.serve({"--classifier", n.folder / "covid.safetensors", "--segmenter",
                         n.folder / "lungs.safetensors", "--min-area", "0"}));
  // An extension of the browser does what a hand does. The file's name is also a program.
  fs::create_directories(n.folder / "hand");
  std::ofstream(n.folder / "hand/manifest.json") << R"({"manifest_version": 3, "name": "hand",
    "version": "1", "content_scripts": [{"matches": ["http://127.0.0.1/*"], "js": ["hand.js"]}]})";
  std::ofstream(n.folder / "hand/hand.js")
      << "const bytes = Uint8Array.from(atob('" << in_base64(n.images[0])
      << R"('), c => c.charCodeAt(0));
    const name = "<img src=x onerror=document.documentElement.setAttribute('data-canary','ran')>.png";
    const drop = () => {
      if (document.getElementById('to-image').hidden) return setTimeout(drop, 50);
      const data = new DataTransfer();
      data.items.add(new File([bytes], name));
      document.getElementById('drop').dispatchEvent(
        new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
    };
    drop();)";
  const ProgramOutcome dom = run_program(
      {"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
       "--user-data-dir=" + (n.folder / "profile"), "--load-extension=" + (n.folder / "hand"),
       "--disable-features=DisableLoadExtensionCommandLineSwitch", "--virtual-time-budget=8000",
       "--dump-dom", served.url() + "#image"});
  REQUIRE(dom.exit_code == 0);
  const nlohmann::json answer =
      served.post("/api/predict?pictures=heatmap&side=1024", file_text(n.images[0])).json();
  const std::string verdict = answer["prediction"]["verdict"];
  CHECK(has(dom.out, "<h2 class=\"verdict\">" + verdict + "</h2>"));
  CHECK(has(dom.out, "data:image/png;base64," + answer["pictures"]["heatmap"].get<std::string>()));
  for (const char* text : {"Probability of lung", "Outline found", "What speaks for",
                           "&lt;img src=x onerror=", "Not for diagnostic use."})
    CHECK_MESSAGE(has(dom.out, text), text);
  CHECK_FALSE(has(dom.out, "data-canary=\"ran\""));
}
