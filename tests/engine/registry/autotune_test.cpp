// Provider choice by measurement, on an operation made for the purpose: y = 2 x by providers that
// take as long as they say (they move the clock), and by some that are wrong.
#include "engine/registry/autotune.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/registry/autotune_clock.h"
#include "engine/registry/registry.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

namespace {

struct Problem {
  std::int64_t count = 0;
  std::string to_string() const { return fmt::format("{} numbers", count); }
};
struct Provider {
  const char* name;
  DeviceKind device;
  int (*priority)(const Problem&);
  void (*run)(const Tensor& x, const Tensor& y);
};

int trials = 0;  // how often something was measured
double now = 0;  // seconds

template <int factor, int microseconds>
void times(const Tensor& x, const Tensor& y) {
  now += 1e-6 * microseconds;
  for (std::int64_t i = 0; i < x.numel(); ++i) y.data<float>()[i] = factor * x.data<float>()[i];
}
int always(const Problem&) {
  return 10;
}

Registry<Provider>& providers() {
  static Registry<Provider> registry("test_double");
  static const bool filled = [] {
    registry.add({"slow", DeviceKind::cpu, [](const Problem&) { return 20; }, times<2, 2000>});
    registry.add({"fast", DeviceKind::cpu, always, times<2, 100>});
    registry.add({"wrong", DeviceKind::cpu, always, times<3, 0>});
    registry.add({"throws", DeviceKind::cpu, always,
                  [](const Tensor&, const Tensor&) { fail("[test_double] cannot"); }});
    registry.add({"narrow", DeviceKind::cpu, [](const Problem& p) { return p.count < 8 ? 5 : -1; },
                  times<2, 0>});
    // A definition that would take far too long where the default is not quick itself.
    registry.add({"definition", DeviceKind::cpu, [](const Problem&) { return 0; },
                  [](const Tensor&, const Tensor&) { FAIL("a last resort was measured"); }});
    return true;
  }();
  (void)filled;
  return registry;
}

std::string chosen(std::int64_t count = 16, std::size_t bytes = 64) {
  return providers()
      .select(Problem{count}, Device{}, "forward", bytes,
              [count] {
                ++trials;
                const Tensor x = Tensor::full({count}, 1), y = Tensor::empty({count});
                return Registry<Provider>::Trial{
                    {y}, {1e-6}, [x, y](const Provider& p) { p.run(x, y); }};
              })
      .name;
}

// Autotuning for a scope, with what it said.
struct Tuning {
  std::vector<std::string> said;
  std::function<double()> clock = [] { return now; };
  explicit Tuning(const std::filesystem::path& cache, std::size_t memory = 1 << 20) {
    trials = 0;
    clock.swap(detail::autotune_clock());
    autotune_enable({cache, memory, [this](const std::string& text) { said.push_back(text); }});
  }
  ~Tuning() {
    autotune_disable();
    clock.swap(detail::autotune_clock());
  }
  ProviderChoice only() const {
    const auto rows = provider_choices();
    REQUIRE(rows.size() == 1);
    return rows[0];
  }
};

void change(const std::filesystem::path& path, const std::function<void(nlohmann::json&)>& fn) {
  nlohmann::json file = load_json(path);
  fn(file);
  save_json(path, file);
}

}  // namespace

TEST_CASE("autotune: off, the default; on, the fastest right provider, measured once") {
  const test::TempFolder t;
  const auto cache = t / "deep/autotune.json";
  CHECK(chosen() == "slow");
  {
    const Tuning on(cache);
    CHECK(chosen() == "fast");
    CHECK(chosen() == "fast");
    CHECK(trials == 1);
    const ProviderChoice c = on.only();
    CHECK(c.reason == "measured");
    CHECK(c.candidates.front() == "slow");
    CHECK(c.seconds == doctest::Approx(100e-6));
    CHECK(c.default_seconds == doctest::Approx(2e-3));
    // Those with a wrong result and those that fail are named, and said at once.
    REQUIRE(c.refused.size() == 2);
    CHECK(c.refused[0].find("throws: [test_double] cannot") == 0);
    CHECK(c.refused[1].find("wrong: element 0 of 16 is 3, the default's is 2") == 0);
    CHECK(on.said.size() == 2);
    const std::string table = describe_choices(provider_choices());
    CHECK(table.find("fast") != std::string::npos);
    CHECK(table.find("16 numbers") != std::string::npos);
    CHECK(table.find("refused: test_double forward 16 numbers: wrong") != std::string::npos);
    // Another problem is measured by itself, with the providers that support it.
    CHECK(chosen(4) == "narrow");
    CHECK(trials == 2);
  }
  CHECK(chosen() == "slow");
  const Tuning again(cache);
  CHECK(chosen() == "fast");
  CHECK(chosen(4) == "narrow");
  CHECK(trials == 0);
  CHECK(provider_choices()[0].reason == "cached");
}

TEST_CASE("autotune: an explicit choice wins, and is never cached") {
  const test::TempFolder t;
  const Tuning on(t / "c.json");
  {
    const ProviderScope slow("test_double", "wrong");
    CHECK(chosen() == "wrong");
    CHECK(trials == 0);
    CHECK(on.only().reason == "explicit");
    CHECK(describe_choices(provider_choices()).find("explicit") != std::string::npos);
    const ProviderScope narrow("test_double", "narrow");
    CHECK_THROWS_WITH_AS(chosen(), doctest::Contains("does not support 16 numbers"), Error);
  }
  CHECK(!std::filesystem::exists(t / "c.json"));
  CHECK(chosen() == "fast");
}

TEST_CASE("autotune: a cached choice holds for its device, build and candidates only") {
  const test::TempFolder t;
  const auto cache = t / "c.json";
  {
    const Tuning on(cache), *p = &on;
    (void)p;
    chosen();
  }
  const auto made_with = [&](const char* key, const nlohmann::json& value) {
    const std::string before = read_file(cache, 1 << 20);
    change(cache, [&](auto& file) {
      file["choices"][0]["provider"] = "wrong";  // whoever uses the entry is seen
      file["choices"][0][key] = value;
    });
    std::string used;
    {
      const Tuning on(cache);
      used = chosen();
    }
    atomic_write(cache, before);
    return used;
  };
  CHECK(made_with("direction", "forward") == "wrong");
  for (const char* key : {"device", "environment", "operation", "direction", "problem"})
    CHECK(made_with(key, "another") == "fast");
  CHECK(made_with("candidates", {"slow", "wrong"}) == "fast");
}

TEST_CASE("autotune: more scratch memory than allowed keeps the default") {
  const test::TempFolder t;
  const Tuning on(t / "c.json", 1000);
  CHECK(chosen(16, 1001) == "slow");
  CHECK(trials == 0);
  CHECK(on.only().reason == "no memory");
  REQUIRE(on.said.size() == 1);
  CHECK(on.said[0].find("wants 1001 bytes, the limit is 1000") != std::string::npos);
  CHECK(!std::filesystem::exists(t / "c.json"));
}

TEST_CASE("autotune: no memory for the scratch tensors keeps the default") {
  const test::TempFolder t;
  const Tuning on(t / "c.json");
  CHECK(providers()
            .select(Problem{16}, Device{}, "forward", 64,
                    []() -> Registry<Provider>::Trial { fail("[allocator] out of memory"); })
            .name == std::string("slow"));
  CHECK(on.only().reason == "no memory");
  REQUIRE(on.said.size() == 1);
  CHECK(on.said[0].find("cannot be measured, default: [allocator] out of memory") !=
        std::string::npos);
  CHECK(!std::filesystem::exists(t / "c.json"));
}

TEST_CASE("autotune: a damaged cache is set aside with a message, another file is left alone") {
  const test::TempFolder t;
  const auto cache = t / "c.json";
  for (const char* text :
       {"{\"format\": \"thorax provider choices\", \"ver",
        R"({"format": "thorax provider choices", "version": 1, "choices": [{"device": 3}]})",
        R"({"format": "thorax provider choices", "version": 1, "choices": 7})"}) {
    atomic_write(cache, std::string_view(text));
    const Tuning on(cache);
    REQUIRE(on.said.size() == 1);
    CHECK(on.said[0].find("c.json: is damaged") != std::string::npos);
    CHECK(on.said[0].find("set aside as") != std::string::npos);
    CHECK(read_file(cache.string() + ".bad", 1000) == text);
    CHECK(chosen() == "fast");
    CHECK(read_choices(cache).size() == 1);
  }
  for (const char* text :
       {R"({"learning_rate": 1})", "[1, 2]", "years of work", "\x89PNG\r\n",
        R"({"format": "thorax provi)", R"({"format": "thorax provider choices", "version": 2})"}) {
    atomic_write(cache, std::string_view(text));
    AutotuneOptions options;
    options.cache = cache;
    CHECK_THROWS_WITH_AS(autotune_enable(options), doctest::Contains("c.json"), Error);
    CHECK(read_file(cache, 1000) == text);
  }
  CHECK(!autotuning());
  std::filesystem::remove(cache);
  std::filesystem::create_directories(cache / "inside");
  AutotuneOptions folder;
  folder.cache = cache;
  CHECK_THROWS_WITH_AS(autotune_enable(folder), doctest::Contains("is not touched"), Error);
  CHECK(std::filesystem::exists(cache / "inside"));
  std::filesystem::remove_all(cache);
  {
    atomic_write(cache, std::string_view(""));  // as mktemp makes it
    const Tuning on(cache);
    CHECK(on.said.empty());
    CHECK(chosen() == "fast");
    CHECK(read_choices(cache).size() == 1);
  }
  atomic_write(cache, std::string_view(R"({"format": "thorax provider choices", "version": 2})"));
  CHECK_THROWS_WITH_AS(read_choices(cache), doctest::Contains("has version 2"), Error);
}

TEST_CASE("autotune: a cache that cannot be written costs a message, not the run") {
  const test::TempFolder t;
  atomic_write(t / "file", std::string_view("x"));
  const Tuning on(t / "file/c.json");
  CHECK(chosen() == "fast");
  CHECK(chosen(4) == "narrow");
  int told = 0;
  for (const std::string& text : on.said)
    told += text.find("choices are not kept for later runs") != std::string::npos ? 1 : 0;
  CHECK(told == 1);
}

TEST_CASE("autotune: a record comes before the cache, keeps every choice, and must be whole") {
  const test::TempFolder t;
  const auto cache = t / "c.json", record = t / "autotune.json";
  {
    const Tuning on(cache);
    autotune_record(record);
    CHECK(std::filesystem::exists(record));
    CHECK(chosen() == "fast");
    CHECK(chosen(64, 2 << 20) == "slow");  // no memory: kept in the record, too
    CHECK(read_choices(record).size() == 2);
    CHECK(read_choices(cache).size() == 1);
  }
  // The cache says something else by now, and there is memory.
  change(cache, [](auto& file) { file["choices"][0]["provider"] = "wrong"; });
  {
    const Tuning on(cache, 4 << 20);
    CHECK(chosen() == "wrong");
    autotune_record(record);
    CHECK(chosen() == "fast");
    CHECK(chosen(64, 2 << 20) == "slow");
    CHECK(trials == 0);
    CHECK(provider_choices()[0].reason == "recorded");
  }
  change(record, [](auto& file) {
    for (auto& choice : file["choices"]) choice["provider"] = choice["candidates"][0] = "gone";
  });
  {
    const Tuning on(cache);
    autotune_record(record);
    CHECK_THROWS_WITH_AS(chosen(), doctest::Contains("was computed by 'gone'"), Error);
  }
  atomic_write(record, std::string_view("{"));
  const Tuning on(cache);
  CHECK_THROWS_WITH_AS(autotune_record(record), doctest::Contains("autotune.json: is damaged"),
                       Error);
}

TEST_CASE("autotune: two processes that measure the same problem end with one choice") {
  const test::TempFolder t;
  const auto record = t / "autotune.json";
  const Tuning on(t / "c.json");
  autotune_record(record);
  // Another process is first, with another choice.
  std::filesystem::copy(record, t / "empty.json");
  CHECK(chosen() == "fast");
  change(record, [](auto& file) { file["choices"][0]["provider"] = "wrong"; });
  std::filesystem::copy(record, t / "theirs.json");
  std::filesystem::rename(t / "empty.json", record);
  autotune_record(record);  // read while it was empty
  std::filesystem::rename(t / "theirs.json", record);
  CHECK(chosen() == "wrong");
}

TEST_CASE("autotune: where the cache lies") {
  struct Variable {
    std::string name, before;
    bool was_set;
    Variable(const char* n, const char* value) : name(n), was_set(std::getenv(n) != nullptr) {
      if (was_set) before = std::getenv(n);
      if (value == nullptr)
        ::unsetenv(n);
      else
        ::setenv(n, value, 1);
    }
    ~Variable() { was_set ? ::setenv(name.c_str(), before.c_str(), 1) : ::unsetenv(name.c_str()); }
  };
  const Variable file("THORAX_CACHE", nullptr), folder("XDG_CACHE_HOME", nullptr),
      home("HOME", "/tmp/someone");
  CHECK(autotune_cache_path() == "/tmp/someone/.cache/thorax/autotune.json");
  const Variable set_folder("XDG_CACHE_HOME", "/tmp/cache");
  CHECK(autotune_cache_path() == "/tmp/cache/thorax/autotune.json");
  const Variable set_file("THORAX_CACHE", "/tmp/mine.json");
  CHECK(autotune_cache_path() == "/tmp/mine.json");
  const Variable no_file("THORAX_CACHE", nullptr), no_folder("XDG_CACHE_HOME", nullptr),
      no_home("HOME", nullptr);
  CHECK_THROWS_WITH_AS(autotune_cache_path(), doctest::Contains("set THORAX_CACHE"), Error);
}
