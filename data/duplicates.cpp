#include "data/duplicates.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>
#include <unordered_map>

#include "data/decode.h"
#include "data/duplicate_search.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

using namespace duplicates;

// Below this a candidate is not registered at finer resolution.
constexpr double kCoarseCorrelation = 0.55;

// Runs body(0..count-1) on several threads; the first exception, by index, is thrown at the end.
void for_each(std::size_t count, int threads, const std::function<void(std::size_t)>& body) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::map<std::size_t, std::exception_ptr> errors;
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      try {
        body(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        errors.emplace(i, std::current_exception());
      }
    }
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < threads; ++t) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  if (!errors.empty()) std::rethrow_exception(errors.begin()->second);
}

// A query of image `a` that looks like a window of image `b`.
struct Candidate {
  std::size_t a, b;
  int distance;
  Registration start;
};

Registration start_of(const Window& query, const Window& found, bool mirrored, bool inverted) {
  // The query's edges lie at the window's: a's own edges follow.
  const double x = (found.right - found.left) / (query.right - query.left),
               y = (found.bottom - found.top) / (query.bottom - query.top);
  Registration r;
  r.left = found.left - x * query.left;
  r.right = r.left + x;
  r.top = found.top - y * query.top;
  r.bottom = r.top + y;
  r.mirrored = mirrored;
  r.inverted = inverted;
  return r;
}

// The nearest windows of image b for the queries of image a, plain or mirrored: one start for equal
// gray and one for inverted gray, where they are near enough.
void match(const Hashes& queries_of, std::size_t a, const Hashes& windows_of, std::size_t b,
           bool mirrored, int limit, std::vector<Candidate>& found) {
  constexpr int kBits = 256;
  const std::vector<Hash>& queries = mirrored ? queries_of.mirrored : queries_of.queries;
  int least = limit + 1, most = kBits - limit - 1;
  std::size_t least_query = 0, least_window = 0, most_query = 0, most_window = 0;
  for (std::size_t q = 0; q < queries.size(); ++q) {
    const Hash query = queries[q];
    for (std::size_t w = 0; w < windows_of.windows.size(); ++w) {
      const int bits = distance(query, windows_of.windows[w]);
      if (bits < least) {
        least = bits;
        least_query = q;
        least_window = w;
      }
      if (bits > most) {
        most = bits;
        most_query = q;
        most_window = w;
      }
    }
  }
  if (least <= limit)
    found.push_back(
        {a, b, least,
         start_of(query_windows()[least_query], all_windows()[least_window], mirrored, false)});
  if (most >= kBits - limit)
    found.push_back(
        {a, b, kBits - most,
         start_of(query_windows()[most_query], all_windows()[most_window], mirrored, true)});
}

std::vector<Candidate> find_candidates(const std::vector<Hashes>& hashes,
                                       const DuplicateOptions& options) {
  std::vector<std::vector<Candidate>> found(hashes.size());
  for_each(hashes.size(), options.threads, [&](std::size_t b) {
    if (hashes[b].windows.empty()) return;
    std::vector<Candidate>& mine = found[b];
    for (std::size_t a = 0; a < hashes.size(); ++a) {
      if (a == b || hashes[a].windows.empty()) continue;
      for (const bool mirrored : {false, true})
        match(hashes[a], a, hashes[b], b, mirrored, options.max_distance, mine);
    }
    std::stable_sort(mine.begin(), mine.end(), [](const Candidate& x, const Candidate& y) {
      return x.distance < y.distance;
    });
    if (mine.size() > static_cast<std::size_t>(options.max_candidates))
      mine.resize(static_cast<std::size_t>(options.max_candidates));
  });
  std::vector<Candidate> all;
  for (const auto& some : found) all.insert(all.end(), some.begin(), some.end());
  return all;
}

}  // namespace

Registration Registration::inverse() const {
  const double width = right - left, height = bottom - top;
  const double det = width * height - skew_x * skew_y;
  Registration r = *this;
  r.skew_x = -skew_x / det;
  r.skew_y = -skew_y / det;
  // The centre of b, in a; then half of b's extent on each side of it.
  const double dx = 0.5 - (left + right) / 2, dy = 0.5 - (top + bottom) / 2;
  double x = 0.5 + (height * dx - skew_x * dy) / det;
  const double y = 0.5 + (width * dy - skew_y * dx) / det;
  if (mirrored) {
    x = 1 - x;
    r.skew_x = -r.skew_x;
    r.skew_y = -r.skew_y;
  }
  r.left = x - height / det / 2;
  r.right = x + height / det / 2;
  r.top = y - width / det / 2;
  r.bottom = y + width / det / 2;
  return r;
}

double Registration::overlap() const {
  const auto share = [](double begin, double end) {
    return std::max(0.0, std::min(end, 1.0) - std::max(begin, 0.0)) / (end - begin);
  };
  return share(left, right) * share(top, bottom);
}

Image seen_as(const Image& b, const Registration& r, int height, int width) {
  THORAX_CHECK(b.channels == 1 && !b.empty() && height > 0 && width > 0,
               "[duplicates] image {}x{}x{} seen at {} x {}", b.height, b.width, b.channels, height,
               width);
  Image result(height, width);
  for (int i = 0; i < height; ++i)
    for (int j = 0; j < width; ++j) {
      const double y = (i + 0.5) / height, across = (j + 0.5) / width;
      const double x = r.mirrored ? 1 - across : across;
      const double u = (r.left + (r.right - r.left) * x + r.skew_x * (y - 0.5)) * b.width - 0.5;
      const double v = (r.top + (r.bottom - r.top) * y + r.skew_y * (x - 0.5)) * b.height - 0.5;
      if (!(u >= -0.5 && u <= b.width - 0.5 && v >= -0.5 && v <= b.height - 0.5)) continue;
      const int left = std::clamp(static_cast<int>(u), 0, b.width - 1),
                top = std::clamp(static_cast<int>(v), 0, b.height - 1);
      const int right = std::min(left + 1, b.width - 1), below = std::min(top + 1, b.height - 1);
      const auto s = static_cast<float>(std::clamp(u - left, 0.0, 1.0)),
                 t = static_cast<float>(std::clamp(v - top, 0.0, 1.0));
      const float value = (1 - t) * ((1 - s) * b.at(top, left) + s * b.at(top, right)) +
                          t * ((1 - s) * b.at(below, left) + s * b.at(below, right));
      result.at(i, j) = r.inverted ? 1 - value : value;
    }
  return result;
}

double registered_correlation(const Image& a, const Image& b, const Registration& registration) {
  return common_correlation(looks_of(a), looks_of(b), registration);
}

DuplicateReport find_duplicates(std::size_t count, const std::function<Image(std::size_t)>& load,
                                const DuplicateOptions& options) {
  THORAX_CHECK(
      options.min_correlation > 0 && options.min_correlation <= 1 && options.max_distance >= 0 &&
          options.max_distance < 128 && options.max_candidates > 0 && options.threads > 0,
      "[duplicates] correlation {} (0..1), distance {} (0..127), candidates {}, threads {}",
      options.min_correlation, options.max_distance, options.max_candidates, options.threads);
  DuplicateReport report;
  std::vector<Looks> looks(count);
  std::vector<Hashes> hashes(count);
  std::vector<std::string> errors(count);
  for_each(count, options.threads, [&](std::size_t i) {
    try {
      looks[i] = looks_of(load(i));
      hashes[i] = hashes_of(looks[i]);
    } catch (const Error& error) {
      if (!options.skip_unreadable) throw;
      errors[i] = error.what();
    }
  });
  for (const std::string& error : errors) {
    if (error.empty())
      ++report.images;
    else
      report.unreadable.push_back(error);
  }
  const std::vector<Candidate> candidates = find_candidates(hashes, options);
  report.candidates = static_cast<std::int64_t>(candidates.size());
  std::vector<Registered> registered(candidates.size());
  for_each(candidates.size(), options.threads, [&](std::size_t i) {
    const Candidate& c = candidates[i];
    Registered& result = registered[i];
    result = register_coarse(looks[c.a], looks[c.b], c.start);
    if (result.correlation < kCoarseCorrelation) {
      result.correlation = 0;
      return;
    }
    result = register_fine(looks[c.a], looks[c.b], result.registration);
  });
  // The best of a pair's candidates, seen from the earlier image.
  std::map<std::pair<std::size_t, std::size_t>, Registered> best;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (registered[i].correlation < options.min_correlation) continue;
    const Candidate& c = candidates[i];
    Registered result = registered[i];
    if (c.a > c.b) result.registration = result.registration.inverse();
    Registered& place = best[std::minmax(c.a, c.b)];
    if (result.correlation > place.correlation) place = result;
  }
  for (const auto& [pair, result] : best)
    report.pairs.push_back(
        {pair.first, pair.second, result.correlation, result.registration, false, false});
  std::stable_sort(
      report.pairs.begin(), report.pairs.end(),
      [](const DuplicatePair& x, const DuplicatePair& y) { return x.correlation > y.correlation; });
  return report;
}

DuplicateReport find_duplicates(const Dataset& dataset, const DuplicateOptions& options) {
  const std::vector<Sample>& samples = dataset.samples;
  DuplicateReport report = find_duplicates(
      samples.size(),
      [&](std::size_t i) { return load_gray(samples[i].image, {.intensity = options.intensity}); },
      options);
  for (DuplicatePair& pair : report.pairs) {
    pair.same_patient = samples[pair.a].patient == samples[pair.b].patient;
    pair.same_class = samples[pair.a].class_name == samples[pair.b].class_name &&
                      samples[pair.a].labels == samples[pair.b].labels;
  }
  return report;
}

std::vector<std::vector<std::string>> patients_sharing_images(
    const Dataset& dataset, const std::vector<DuplicatePair>& pairs) {
  std::map<std::string, std::string> parent;
  const auto root = [&](std::string id) {
    while (parent.emplace(id, id).first->second != id) id = parent.at(id);
    return id;
  };
  for (const DuplicatePair& pair : pairs) {
    const std::string a = root(dataset.samples.at(pair.a).patient),
                      b = root(dataset.samples.at(pair.b).patient);
    if (a != b) parent[std::max(a, b)] = std::min(a, b);
  }
  std::map<std::string, std::vector<std::string>> groups;
  for (const auto& [id, next] : parent) groups[root(id)].push_back(id);
  std::vector<std::vector<std::string>> result;
  for (auto& [first, ids] : groups)
    if (ids.size() > 1) result.push_back(std::move(ids));
  return result;
}

std::int64_t join_patients(Dataset& dataset, const std::vector<std::vector<std::string>>& groups) {
  std::unordered_map<std::string, std::string> name;
  for (const auto& group : groups)
    for (const std::string& id : group)
      THORAX_CHECK(name.emplace(id, group.front()).second,
                   "[duplicates] patient '{}' is in two groups", id);
  std::int64_t changed = 0;
  for (Sample& sample : dataset.samples) {
    const auto found = name.find(sample.patient);
    if (found == name.end() || found->second == sample.patient) continue;
    sample.patient = found->second;
    ++changed;
  }
  if (changed > 0)
    dataset.report.notes.push_back(
        fmt::format("{} groups of patient ids that share a radiograph count as one patient each",
                    groups.size()));
  return changed;
}

std::vector<int> held_out_folds(const Dataset& dataset, const Splits& splits) {
  std::unordered_map<std::string, int> fold;
  for (std::size_t k = 0; k < splits.folds.size(); ++k)
    for (const std::string& id : splits.folds[k].validation) fold.emplace(id, static_cast<int>(k));
  std::vector<int> result;
  for (const Sample& sample : dataset.samples) {
    const auto found = fold.find(sample.id);
    result.push_back(found == fold.end() ? -1 : found->second);
  }
  return result;
}

}  // namespace thorax
