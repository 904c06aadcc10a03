// Samples to batches: decode, resize, augment and normalise on worker threads ahead of the
// consumer.
//
// A batch is a function of (samples, configuration, epoch, index) alone: not of the number of
// workers, of what was asked before, or of what the cache holds. That makes resuming at any batch
// exact.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "data/augment.h"
#include "data/dataset.h"
#include "data/decode.h"
#include "data/image.h"
#include "data/view.h"
#include "engine/train/batch_source.h"

namespace thorax {

enum class Fit {
  stretch,    // both sides scaled on their own: nothing is lost, proportions are (the study's way)
  letterbox,  // proportions kept, black bars
  crop,       // proportions kept, centre crop
};
enum class OnBadFile { fail, skip };

Fit parse_fit(const std::string& text);
OnBadFile parse_on_bad_file(const std::string& text);

struct LoaderConfig {
  int height = 512, width = 512;
  int channels = 1;  // 1, or 3 equal ones for models that want RGB
  int batch = 8;
  Fit fit = Fit::stretch;
  bool shuffle = true;  // a new order every epoch, from (seed, epoch)
  // With shuffle, an epoch draws as many images as there are, every class as often: a small class's
  // images several times, each time augmented anew, a large one's some, all in turn. Of several
  // findings an image goes by rarest_findings (data/multilabel.h).
  bool balanced = false;
  bool drop_last = false;  // leave out the last batch of an epoch when it is not full
  bool with_label = true;  // "label": i64 [N]
  bool with_mask = false;  // "mask": f32 [N,H,W,1], 0 or 1
  // "findings": f32 [N,K], 1 where a finding is there, else 0; "finding_weights": f32 [N,K], 1 over
  // the number of known labels of the batch, 0 for those that are not known.
  bool with_findings = false;
  // With masks, several organs (data/organs.h): "mask" is f32 [N,H,W,organs]; where they exclude
  // each other, also "organ": i64 [N,H,W], 0 for background, k + 1 for organ k.
  std::vector<std::string> organs;
  bool exclusive = false;
  // Each finding's share of the loss where it is there, 1 where it is not; empty: all 1.
  std::vector<float> finding_weights;
  // Of two classes, for a loss with weights or smoothed labels: "target": f32 [N,1], the label;
  // "target_weight": f32 [N,1], target_weight over N.
  bool with_target = false;
  float target_weight = 1;
  // Targets and findings become label (1 - s) + s / 2.
  float label_smoothing = 0;
  View view = View::whole;                 // what of the image is shown, before augmentation
  Intensity intensity = Intensity::depth;  // which stored value is 1 (data/decode.h)
  // "image" is (pixel - mean) / deviation with pixels in 0..1, after augmentation.
  float mean = 0.f, deviation = 1.f;
  AugmentConfig augment;
  uint64_t seed = 0;
  int workers = 2;                          // threads; 0 works inside get()
  int prefetch = 2;                         // batches prepared ahead
  int64_t cache_bytes = int64_t{1} << 30;   // RAM for decoded and resized images; 0 turns it off
  OnBadFile on_bad_file = OnBadFile::fail;  // skip: the batch gets smaller, the file is recorded
};

// A decoded image at the loader's size. 16 bits keep more than any display shows at half the
// memory.
struct PreparedSample {
  ImageU16 image;
  ImageU8 mask;  // empty unless one is needed; of several organs a map of `organs_of`
  std::vector<uint64_t> organs_of = {};  // data/organs.h
};

// The sample's lungs, 0 or 255, by the sample's rule: all its masks, or of several organs those
// that are lungs; empty when it has no masks. Throws when a mask's size is not the image's, or none
// of the organs is the lungs.
ImageU8 sample_mask(const Sample& sample, int height, int width);

// Decodes one sample as the loader does: gray, view, size. Throws for an image that shows nothing
// (data/image_check.h). Also for `segment` and `predict`.
PreparedSample prepare_sample(const Sample& sample, const LoaderConfig& config);

class Loader : public BatchSource {
 public:
  // Throws when there is no sample, a size is not positive, a mask or label is wanted that a sample
  // lacks.
  Loader(std::vector<Sample> samples, LoaderConfig config);
  ~Loader() override;
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t batches_per_epoch() const override;
  // Tensors "image" [N,H,W,C] and, as configured, "mask", "label", "findings" and
  // "finding_weights"; names are the image files.
  // Throws when a file cannot be decoded (or, with skip, when no file of the batch can). One
  // consumer thread.
  Batch get(int64_t epoch, int64_t index) override;
  void will_get(std::function<bool(int64_t index)> wanted) override;

  // Positions in samples() of the entries of batch (epoch, index), before any is skipped.
  std::vector<int64_t> batch_samples(int64_t epoch, int64_t index) const;
  const std::vector<Sample>& samples() const { return samples_; }
  const LoaderConfig& config() const { return config_; }

  // Errors of files that were skipped, each once, in the order of samples().
  std::vector<std::string> skipped() const;

  struct Statistics {
    int64_t decoded = 0;  // files decoded (images; masks come with them)
    int64_t cache_hits = 0;
    int64_t cache_bytes = 0;
    double wait_seconds = 0;  // time the consumer waited in get()
  };
  Statistics statistics() const;

 private:
  struct Job;
  struct Task {
    std::shared_ptr<Job> job;
    int64_t slot = 0;
  };

  std::shared_ptr<Job> start(int64_t epoch, int64_t index);
  void fill_slot(Job& job, int64_t slot);
  std::shared_ptr<const PreparedSample> prepared(int64_t sample);
  void work();
  void run_task(std::unique_lock<std::mutex>& lock);
  Batch finish(Job& job);
  void add_findings(Batch& batch, const std::vector<int64_t>& samples,
                    const std::vector<int64_t>& good) const;
  std::vector<int64_t> epoch_order(int64_t epoch) const;
  std::vector<int64_t> balanced_order(int64_t epoch) const;
  std::vector<int64_t> draws_of(int64_t epoch, int64_t index) const;
  void add_target(Batch& batch, const std::vector<int64_t>& samples,
                  const std::vector<int64_t>& good) const;
  bool epochs_differ() const;

  const std::vector<Sample> samples_;
  std::vector<int> groups_;  // of each sample, with `balanced`: what is drawn as often
  const LoaderConfig config_;
  std::function<bool(int64_t)> wanted_;  // see will_get; empty: every batch

  mutable std::mutex mutex_;
  std::condition_variable task_ready_, slot_done_;
  std::deque<Task> tasks_;
  std::deque<std::shared_ptr<Job>> ahead_;
  std::vector<std::shared_ptr<const PreparedSample>> cache_;
  std::map<int64_t, std::string> bad_;
  Statistics statistics_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace thorax
