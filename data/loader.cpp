#include "data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <new>
#include <numeric>

#include "data/decode_mask.h"
#include "data/image_check.h"
#include "data/mask_size.h"
#include "data/multilabel.h"
#include "data/organs.h"
#include "data/resize.h"
#include "engine/runtime/philox.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

// Keeps the shuffle's random streams apart from those of the augmentation.
constexpr uint64_t kShuffleStream = uint64_t{1} << 62;

template <class T>
T choose(const std::string& what, const std::string& text,
         const std::vector<std::pair<std::string, T>>& known) {
  std::vector<std::string> names;
  for (const auto& [name, value] : known) {
    if (name == text) return value;
    names.push_back(name);
  }
  fail("[data] {} '{}': must be one of {}", what, text, fmt::join(names, ", "));
}

}  // namespace

Fit parse_fit(const std::string& text) {
  return choose<Fit>(
      "fit", text, {{"stretch", Fit::stretch}, {"letterbox", Fit::letterbox}, {"crop", Fit::crop}});
}
OnBadFile parse_on_bad_file(const std::string& text) {
  return choose<OnBadFile>("on a bad file", text,
                           {{"fail", OnBadFile::fail}, {"skip", OnBadFile::skip}});
}

PreparedSample prepare_sample(const Sample& sample, const LoaderConfig& config) {
  Image image = load_radiograph(sample.image, config.intensity);
  ImageU8 mask;
  const bool several = config.with_mask && !config.organs.empty();
  if ((config.with_mask && !several) || needs_mask(config.view))
    mask = sample_mask(sample, image.height, image.width);
  if (needs_mask(config.view))
    THORAX_CHECK(!mask.empty(), "[data] {}: has no lung mask", sample.image.string());
  image = apply_view(config.view, std::move(image), mask);
  if (!config.with_mask) mask = {};
  std::vector<uint64_t> organs_of;
  if (several) {
    OrganMap map = sample_organs(sample, config.organs, image.height, image.width);
    if (config.exclusive) require_no_overlap(map, config.organs, sample.image.string());
    mask = std::move(map.map);
    organs_of = std::move(map.organs_of);
  }
  const int h = config.height, w = config.width;
  const bool has_mask = !mask.empty();
  switch (config.fit) {
    case Fit::stretch:
      image = resize(image, h, w);
      if (has_mask) mask = resize_nearest(mask, h, w);
      break;
    case Fit::letterbox:
      image = letterbox(image, h, w);
      if (has_mask) mask = letterbox_nearest(mask, h, w);
      break;
    case Fit::crop:
      image = resize_and_center_crop(image, h, w);
      if (has_mask) mask = resize_nearest_and_center_crop(mask, h, w);
      break;
  }
  return {to_u16(image), std::move(mask), std::move(organs_of)};
}

// One batch on its way. Slots are filled by different threads and never touch each other's memory.
struct Loader::Job {
  int64_t epoch = 0, index = 0;
  std::vector<int64_t> samples;
  std::vector<int64_t> draws;  // what each slot's augmentation is drawn by
  Tensor image, mask, label, organ;
  std::vector<std::string> errors;  // per slot, empty if it went well
  int64_t remaining = 0;
};

Loader::Loader(std::vector<Sample> samples, LoaderConfig config)
    : samples_(std::move(samples)), config_(std::move(config)) {
  THORAX_CHECK(!samples_.empty(), "[loader] there are no samples");
  THORAX_CHECK(
      config_.height > 0 && config_.width > 0 && config_.batch > 0 && config_.workers >= 0 &&
          config_.prefetch >= 0 && (config_.channels == 1 || config_.channels == 3),
      "[loader] image {}x{}x{}, batch {}, {} workers, {} ahead: sizes must be positive and "
      "channels 1 or 3",
      config_.height, config_.width, config_.channels, config_.batch, config_.workers,
      config_.prefetch);
  THORAX_CHECK(config_.deviation > 0, "[loader] deviation {} is not above 0", config_.deviation);
  for (const Sample& s : samples_) {
    THORAX_CHECK(!config_.with_label || s.label >= 0, "[loader] {}: has no class",
                 s.image.string());
    THORAX_CHECK(!config_.with_findings ||
                     (!s.labels.empty() && s.labels.size() == samples_.front().labels.size()),
                 "[loader] {}: has labels of {} findings, {} of {}", s.image.string(),
                 s.labels.size(), samples_.front().image.string(), samples_.front().labels.size());
    THORAX_CHECK((!config_.with_mask && !needs_mask(config_.view)) || !s.masks.empty(),
                 "[loader] {}: has no lung mask", s.image.string());
  }
  THORAX_CHECK(batches_per_epoch() > 0, "[loader] {} samples make no full batch of {}",
               samples_.size(), config_.batch);
  if (config_.balanced && config_.with_findings)
    groups_ = rarest_findings(samples_);
  else if (config_.balanced)
    for (const Sample& s : samples_) groups_.push_back(s.label);
  cache_.resize(samples_.size());
  for (int i = 0; i < config_.workers; ++i) threads_.emplace_back([this] { work(); });
}

Loader::~Loader() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  task_ready_.notify_all();
  for (std::thread& t : threads_) t.join();
}

int64_t Loader::batches_per_epoch() const {
  const int64_t n = static_cast<int64_t>(samples_.size()), b = config_.batch;
  return config_.drop_last ? n / b : (n + b - 1) / b;
}

bool Loader::epochs_differ() const {
  return config_.shuffle || config_.augment.any();
}

std::vector<int64_t> Loader::epoch_order(int64_t epoch) const {
  std::vector<int64_t> order(samples_.size());
  std::iota(order.begin(), order.end(), 0);
  if (!config_.shuffle) return order;
  if (config_.balanced) return balanced_order(epoch);
  Philox random(config_.seed, kShuffleStream | static_cast<uint64_t>(epoch));
  for (size_t i = order.size() - 1; i > 0; --i)
    std::swap(order[i], order[static_cast<size_t>(random.below(i + 1))]);
  return order;
}

// Each class's images in a random order, begun anew in another one when it is through. Of several
// findings an image stands for its rarest one, the first of equals.
std::vector<int64_t> Loader::balanced_order(int64_t epoch) const {
  std::map<int, std::vector<int64_t>> by_class;
  for (size_t i = 0; i < samples_.size(); ++i)
    by_class[groups_[i]].push_back(static_cast<int64_t>(i));
  Philox random(config_.seed, kShuffleStream | static_cast<uint64_t>(epoch));
  const auto shuffle = [&](std::vector<int64_t>& order) {
    for (size_t i = order.size() - 1; i > 0; --i)
      std::swap(order[i], order[static_cast<size_t>(random.below(i + 1))]);
  };
  // What does not divide goes to other classes every epoch.
  const size_t classes = by_class.size(), share = samples_.size() / classes,
               rest = samples_.size() % classes;
  size_t turn = static_cast<size_t>(random.below(classes));
  std::vector<int64_t> order;
  for (auto& [label, images] : by_class) {
    const size_t count = share + (turn++ % classes < rest ? 1 : 0);
    for (size_t drawn = 0; drawn < count; ++drawn) {
      if (drawn % images.size() == 0) shuffle(images);
      order.push_back(images[drawn % images.size()]);
    }
  }
  shuffle(order);
  return order;
}

// A number for each entry of a batch that tells its augmentation: the sample's, and another one for
// every further time that an epoch draws it.
std::vector<int64_t> Loader::draws_of(int64_t epoch, int64_t index) const {
  if (!config_.balanced) return batch_samples(epoch, index);
  const std::vector<int64_t> order = epoch_order(epoch);
  std::vector<int64_t> times(samples_.size()), draws;
  const size_t first = static_cast<size_t>(index * config_.batch);
  const size_t last = std::min(order.size(), first + static_cast<size_t>(config_.batch));
  for (size_t i = 0; i < last; ++i) {
    const int64_t time = times[static_cast<size_t>(order[i])]++;
    if (i >= first) draws.push_back(order[i] + time * static_cast<int64_t>(samples_.size()));
  }
  return draws;
}

std::vector<int64_t> Loader::batch_samples(int64_t epoch, int64_t index) const {
  THORAX_CHECK(epoch >= 0 && index >= 0 && index < batches_per_epoch(),
               "[loader] no batch {} in epoch {}: there are {} an epoch", index, epoch,
               batches_per_epoch());
  const std::vector<int64_t> order = epoch_order(epoch);
  const size_t first = static_cast<size_t>(index * config_.batch);
  const size_t last = std::min(order.size(), first + static_cast<size_t>(config_.batch));
  return {order.begin() + static_cast<ptrdiff_t>(first),
          order.begin() + static_cast<ptrdiff_t>(last)};
}

// Called with the lock held, by the consumer: tensors are allocated on its thread.
std::shared_ptr<Loader::Job> Loader::start(int64_t epoch, int64_t index) {
  auto job = std::make_shared<Job>();
  job->epoch = epoch;
  job->index = index;
  job->samples = batch_samples(epoch, index);
  job->draws = draws_of(epoch, index);
  const int64_t n = static_cast<int64_t>(job->samples.size());
  job->image = Tensor::empty({n, config_.height, config_.width, config_.channels});
  const auto planes = std::max<int64_t>(1, static_cast<int64_t>(config_.organs.size()));
  if (config_.with_mask) job->mask = Tensor::empty({n, config_.height, config_.width, planes});
  if (config_.with_mask && !config_.organs.empty() && config_.exclusive)
    job->organ = Tensor::empty({n, config_.height, config_.width}, DType::i64);
  if (config_.with_label) job->label = Tensor::empty({n}, DType::i64);
  job->errors.resize(static_cast<size_t>(n));
  job->remaining = n;
  for (int64_t slot = 0; slot < n; ++slot) tasks_.push_back({job, slot});
  task_ready_.notify_all();
  return job;
}

std::shared_ptr<const PreparedSample> Loader::prepared(int64_t sample) {
  const size_t at = static_cast<size_t>(sample);
  {
    std::lock_guard lock(mutex_);
    if (cache_[at]) {
      ++statistics_.cache_hits;
      return cache_[at];
    }
  }
  auto made = std::make_shared<const PreparedSample>(prepare_sample(samples_[at], config_));
  const int64_t bytes =
      static_cast<int64_t>(made->image.pixels.size() * 2 + made->mask.pixels.size());
  std::lock_guard lock(mutex_);
  ++statistics_.decoded;
  // What is in stays in: an epoch visits every sample once, so evicting would only churn.
  if (!cache_[at] && statistics_.cache_bytes + bytes <= config_.cache_bytes) {
    cache_[at] = made;
    statistics_.cache_bytes += bytes;
  }
  return made;
}

void Loader::fill_slot(Job& job, int64_t slot) {
  const int64_t sample = job.samples[static_cast<size_t>(slot)];
  const auto source = prepared(sample);
  Image image = to_float(source->image);
  ImageU8 mask = source->mask;
  augment(config_.augment, config_.seed, job.epoch, job.draws[static_cast<size_t>(slot)], image,
          config_.with_mask ? &mask : nullptr);
  const int64_t pixels = int64_t{config_.height} * config_.width;
  const float scale = 1.f / config_.deviation;
  float* to = job.image.data<float>() + slot * pixels * config_.channels;
  for (int64_t i = 0; i < pixels; ++i) {
    const float v = (image.pixels[static_cast<size_t>(i)] - config_.mean) * scale;
    for (int c = 0; c < config_.channels; ++c) *to++ = v;
  }
  if (config_.with_mask) {
    const auto organs = static_cast<int64_t>(config_.organs.size());
    float* m = job.mask.data<float>() + slot * pixels * std::max<int64_t>(1, organs);
    for (int64_t i = 0; i < pixels; ++i) {
      const uint8_t value = mask.pixels[static_cast<size_t>(i)];
      if (organs == 0) *m++ = value ? 1.f : 0.f;
      for (int64_t k = 0; k < organs; ++k) *m++ = source->organs_of[value] >> k & 1 ? 1.f : 0.f;
    }
  }
  if (job.organ.defined()) {
    int64_t* to_organ = job.organ.data<int64_t>() + slot * pixels;
    // Organs do not overlap: every set holds one at most.
    for (int64_t i = 0; i < pixels; ++i)
      to_organ[i] = std::bit_width(source->organs_of[mask.pixels[static_cast<size_t>(i)]]);
  }
  if (config_.with_label)
    job.label.data<int64_t>()[slot] = samples_[static_cast<size_t>(sample)].label;
}

// Takes the first task; the lock is released while it runs.
void Loader::run_task(std::unique_lock<std::mutex>& lock) {
  const Task task = std::move(tasks_.front());
  tasks_.pop_front();
  lock.unlock();
  std::string error;
  try {
    fill_slot(*task.job, task.slot);
  } catch (const std::bad_alloc&) {
    error = "[loader] out of memory: a smaller --batch, --size or --cache-mb needs less of it";
  } catch (const std::exception& e) {
    error = e.what();
    if (error.empty()) error = "[loader] unknown error";
  }
  lock.lock();
  task.job->errors[static_cast<size_t>(task.slot)] = std::move(error);
  if (--task.job->remaining == 0) slot_done_.notify_all();
}

void Loader::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    task_ready_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
    if (stop_) return;
    run_task(lock);
  }
}

void Loader::will_get(std::function<bool(int64_t)> wanted) {
  wanted_ = std::move(wanted);
}

Batch Loader::get(int64_t epoch, int64_t index) {
  const auto begin = std::chrono::steady_clock::now();
  // Without shuffling and augmentation all epochs are one, so what was prepared ahead still serves.
  if (!epochs_differ()) epoch = 0;
  std::unique_lock lock(mutex_);
  if (!ahead_.empty() && (ahead_.front()->epoch != epoch || ahead_.front()->index != index)) {
    ahead_.clear();
    tasks_.clear();
  }
  const auto next_wanted = [&](int64_t after) {
    do ++after;
    while (after < batches_per_epoch() && wanted_ && !wanted_(after));
    return after;
  };
  if (ahead_.empty()) ahead_.push_back(start(epoch, index));
  while (config_.workers > 0 && static_cast<int>(ahead_.size()) < config_.prefetch + 1) {
    int64_t e = ahead_.back()->epoch, i = next_wanted(ahead_.back()->index);
    if (i >= batches_per_epoch()) {
      i = next_wanted(-1);
      if (epochs_differ()) ++e;
    }
    if (i >= batches_per_epoch()) break;  // none is wanted
    ahead_.push_back(start(e, i));
  }
  const std::shared_ptr<Job> job = ahead_.front();
  ahead_.pop_front();
  if (config_.workers == 0)
    while (job->remaining > 0) run_task(lock);
  slot_done_.wait(lock, [&] { return job->remaining == 0; });
  statistics_.wait_seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return finish(*job);
}

namespace {

float smoothed(const LoaderConfig& config, int label) {
  const float s = config.label_smoothing;
  return static_cast<float>(label) * (1 - s) + s / 2;
}

}  // namespace

// Of two classes, for the batch's `good` slots.
void Loader::add_target(Batch& batch, const std::vector<int64_t>& samples,
                        const std::vector<int64_t>& good) const {
  const int64_t count = static_cast<int64_t>(good.size());
  const Tensor target = Tensor::empty({count, 1});
  for (int64_t n = 0; n < count; ++n) {
    const size_t slot = static_cast<size_t>(good[static_cast<size_t>(n)]);
    target.data<float>()[n] = smoothed(config_, samples_[static_cast<size_t>(samples[slot])].label);
  }
  batch.tensors["target"] = target;
  batch.tensors["target_weight"] =
      Tensor::full({count, 1}, config_.target_weight / static_cast<float>(count), DType::f32);
}

// The labels of the batch's `good` slots.
void Loader::add_findings(Batch& batch, const std::vector<int64_t>& samples,
                          const std::vector<int64_t>& good) const {
  const int64_t count = static_cast<int64_t>(good.size()),
                findings = static_cast<int64_t>(samples_.front().labels.size());
  const Tensor target = Tensor::zeros({count, findings}), weight = Tensor::zeros({count, findings});
  int64_t known = 0;
  for (int64_t n = 0; n < count; ++n) {
    const auto& labels =
        samples_[static_cast<size_t>(samples[static_cast<size_t>(good[static_cast<size_t>(n)])])]
            .labels;
    for (int64_t f = 0; f < findings; ++f) {
      const int8_t label = labels[static_cast<size_t>(f)];
      if (label < 0) continue;
      ++known;
      target.data<float>()[n * findings + f] = smoothed(config_, label);
      const bool weighs = label > 0 && !config_.finding_weights.empty();
      weight.data<float>()[n * findings + f] =
          weighs ? config_.finding_weights[static_cast<size_t>(f)] : 1;
    }
  }
  for (int64_t i = 0; i < weight.numel() && known > 0; ++i)
    weight.data<float>()[i] /= static_cast<float>(known);
  batch.tensors["findings"] = target;
  batch.tensors["finding_weights"] = weight;
}

// Called with the lock held. Leaves out slots that failed, or throws.
Batch Loader::finish(Job& job) {
  Batch batch;
  std::vector<int64_t> good;
  for (size_t slot = 0; slot < job.samples.size(); ++slot) {
    const Sample& sample = samples_[static_cast<size_t>(job.samples[slot])];
    if (job.errors[slot].empty()) {
      good.push_back(static_cast<int64_t>(slot));
      batch.names.push_back(sample.image.string());
      continue;
    }
    THORAX_CHECK(config_.on_bad_file == OnBadFile::skip, "{}", job.errors[slot]);
    bad_.emplace(job.samples[slot], job.errors[slot]);
  }
  THORAX_CHECK(!good.empty(), "[loader] no file of batch {} in epoch {} can be read; first: {}",
               job.index, job.epoch, job.errors[0]);
  const auto compact = [&](const Tensor& tensor) {
    if (good.size() == job.samples.size()) return tensor;
    const auto all = tensor.shape().extents();
    std::vector<int64_t> extents(all.begin(), all.end());
    extents[0] = static_cast<int64_t>(good.size());
    const Tensor out = Tensor::empty(Shape(extents), tensor.dtype());
    for (size_t k = 0; k < good.size(); ++k)
      out.batch_slice(static_cast<int64_t>(k), 1).copy_from(tensor.batch_slice(good[k], 1));
    return out;
  };
  batch.tensors["image"] = compact(job.image);
  if (config_.with_mask) batch.tensors["mask"] = compact(job.mask);
  if (config_.with_label) batch.tensors["label"] = compact(job.label);
  if (config_.with_findings) add_findings(batch, job.samples, good);
  if (job.organ.defined()) batch.tensors["organ"] = compact(job.organ);
  if (config_.with_target) add_target(batch, job.samples, good);
  return batch;
}

std::vector<std::string> Loader::skipped() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [sample, error] : bad_) out.push_back(error);
  return out;
}

Loader::Statistics Loader::statistics() const {
  std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace thorax
