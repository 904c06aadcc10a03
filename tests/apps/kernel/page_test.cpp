// The page of `thorax kernel`: its data and its refusals.
#include "apps/kernel/page.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/apps/commands.h"
#include "tests/engine/runtime/ptx/rig.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"

using namespace thorax;
using test::operator+;
using test::PtxMemory;

namespace {

nlohmann::json data_of(const std::string& page) {
  const std::string begin = "id=\"recording\">", end = "</script>";
  const std::size_t from = page.find(begin) + begin.size();
  REQUIRE(from > begin.size());
  return nlohmann::json::parse(page.substr(from, page.find(end, from) - from));
}

}  // namespace

TEST_CASE("kernel page: events, runs of addresses, findings' counts, sources of the tree") {
  const test::TempFolder folder;
  std::filesystem::create_directories(folder / "kernels");
  // What would end the script element, were it not escaped.
  std::ofstream(folder / "kernels/test.cu") << "1\n2\n3\n4\n5\n6\nload(); // </script><!-- \n";
  PtxMemory<float> a(std::vector<float>(1024, 1.0f)), b(std::vector<float>(64, 0.0f));
  // A load with a stride of 8 floats and a store into one bank.
  const ptx::Module module(
      "test.ptx",
      test::ptx_text(".shared .align 16 .b8 tile[4096];\nld.param.u64 %l4, [a];\n"
                     "mul.wide.u32 %l5, %r2, 32;\nadd.s64 %l6, %l4, %l5;\n"
                     "ld.global.f32 %f1, [%l6];\nmov.u32 %r5, tile;\nmad.lo.s32 %r6, %r2, 128, "
                     "%r5;\nst.shared.f32 [%r6], %f1;\nbar.sync 0;"));
  const auto program = ptx::make_program(module, module.entries().at(0));
  const ptx::Recorder recorder({}, 100);
  float *pa = a.data(), *pb = b.data();
  const std::uint32_t n = 0;
  const ptx::Argument arguments[] = {{&pa, 8}, {&pb, 8}, {&n, 4}};
  ptx::execute(*program, {80, 48 * 1024, 163 * 1024}, {{1, 1, 1}, {32, 1, 1}, 0}, arguments);
  const std::string page =
      app::kernel_page(*recorder.recordings().at(0), {.command = "thorax kernel <x>",
                                                      .problem = "a problem",
                                                      .provider = "cuda/x",
                                                      .device = "ptx:1",
                                                      .capability = 80,
                                                      .source = folder.path().string()});
  CHECK(page.find("/*style*/") == page.npos);
  CHECK(page.find("/*script*/") == page.npos);
  const nlohmann::json data = data_of(page);
  CHECK(data["kernel"] == "kernel");
  CHECK(data["command"] == "thorax kernel <x>");
  CHECK(data["shared_bytes"] == 4096);
  CHECK(data["resources"].is_null());
  REQUIRE(data["events"].size() == 3);
  const auto& load = data["events"][0];
  CHECK(load["g"] == nlohmann::json::array({0, 32, 32}));
  CHECK(load["sectors"] == 32);
  CHECK(load["least"] == 4);
  CHECK(data["instructions"][load["i"].get<std::size_t>()]["class"] == "ld.global");
  const auto& store = data["events"][1];
  CHECK(store["s"] == nlohmann::json::array({0, 128, 32}));
  CHECK(store["waves"] == 32);
  CHECK(store["fewest"] == 1);
  REQUIRE(data["buffers"].size() == 1);
  CHECK(data["buffers"][0]["name"] == "argument 1");
  CHECK(data["buffers"][0]["end"] == 4096);
  REQUIRE(data["files"].size() == 1);
  CHECK(data["files"][0]["name"] == "kernels/test.cu");
  CHECK(data["files"][0]["lines"][6] == "load(); // </script><!-- ");
  CHECK(data["instructions"][load["i"].get<std::size_t>()]["line"] == 7);

  if (!test::have_program("chromium", "the page of a kernel was not opened in a browser")) return;
  const auto file = folder / "page.html";
  std::ofstream(file) << page;
  const test::ProgramOutcome dom = test::run_program(
      {"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
       "--user-data-dir=" + (folder / "profile").string(), "--dump-dom",
       "file://" + file.string() + "#2"});
  CHECK(dom.exit_code == 0);
  for (const char* text :
       {"step 2 of 3, phase 0", "warp 0: st.shared.f32", "32 cycles of the banks, 1 without",
        "Bank conflict.", "scattered: 32 sectors where 4 hold the bytes", "32.0x cycles"})
    CHECK_MESSAGE(test::has(dom.out, text), text);
}

TEST_CASE("kernel: refusals name the option, the rule and the remedy") {
  const test::TempFolder folder;
  const test::Arguments base = {"kernel",   "conv2d",  "--shape", "1x6x6x4",
                                "--filter", "4x3x3x4", "--html",  (folder / "x.html").string()};
  const auto refused = [&](const test::Arguments& more, const std::string& text) {
    const std::string said = test::refuse(base + more);
    CHECK_MESSAGE(test::has(said, text), said);
    CHECK(std::filesystem::is_empty(folder.path()));
  };
  refused({"--device", "sim"}, "[kernel] --device sim: a kernel is watched where its PTX is");
  refused({"--device", "cpu", "--block", "1,"}, "[kernel] --block 1,: one to three whole numbers");
  refused({"--device", "cpu", "--window", "3"}, "[problem] --window is nothing of conv2d");
  refused({"--device", "cpu", "--pass", "up"}, "[problem] --pass up: conv2d has the passes");
}
