// A step in pieces, which several ranks may share out.
#include <fmt/format.h>

#include "engine/train/piece_tensors.h"
#include "engine/train/trainer_state.h"

namespace thorax {

using nlohmann::json;

std::int64_t Trainer::batches_a_step() const {
  return std::int64_t{options_.accumulate} * options_.pieces;
}

bool Trainer::in_pieces() const {
  return options_.pieces > 1 || options_.ranks->size() > 1;
}

bool Trainer::first_rank() const {
  return options_.ranks->rank() == 0;
}

// Whether this rank computes that batch of the source.
bool Trainer::mine(std::int64_t index) const {
  const Communicator& ranks = *options_.ranks;
  const std::int64_t first = index / batches_a_step() * batches_a_step();
  const PieceRange part =
      pieces_of(ranks.rank(), ranks.size(), std::min(batches_a_step(), batches_ - first));
  return part.first <= index - first && index - first < part.last;
}

// With several ranks only what all of them have learnt from one another, so that they stop after
// the same step.
bool Trainer::stopping() const {
  return options_.ranks->size() > 1 ? state_->stop : stop_requested();
}

// One optimizer step whose batches are computed by themselves, each by one of the ranks.
void Trainer::piece_step(double lr) {
  State& s = *state_;
  Communicator& ranks = *options_.ranks;
  const std::int64_t count = std::min(batches_a_step(), batches_ - s.batch);
  const PieceTensors tensors(optimizer_.parameters(), model_.buffers());
  json own{{"error", ""}, {"results", json::array()}};
  std::vector<PieceSum> sums;
  const auto piece = [&](std::int64_t i) {
    tensors.begin();
    std::vector<BatchResult::Note> notes;
    s.notes = &notes;
    const BatchResult result = compute_batch(s.batch + i);
    s.notes = nullptr;
    json noted = json::array();
    for (const auto& one : notes) noted.push_back({one.name, one.value, one.weight});
    own["results"].push_back({result.loss, result.weight, result.samples, noted});
    return tensors.take(static_cast<double>(result.samples));
  };
  try {
    sums = own_sums(ranks, count, piece);
  } catch (const std::exception& error) {
    if (ranks.size() == 1) throw;
    own = {{"error", fmt::format("{}: {}", ranks.place(), error.what())},
           {"results", json::array()}};
  }
  own["stop"] = stop_requested();
  // Everybody's losses in the order of the pieces: what is made of them is the same everywhere.
  std::vector<BatchResult> results;
  const std::vector<json> all = gather(ranks, own);
  for (const json& one : all)
    if (const auto& text = one.at("error").get_ref<const std::string&>(); !text.empty())
      throw RankError(text);
  for (const json& one : all) {
    s.stop = s.stop || one.at("stop").get<bool>();
    for (const json& row : one.at("results")) {
      BatchResult& result = results.emplace_back();
      result.loss = row.at(0);
      result.weight = row.at(1);
      result.samples = row.at(2);
      for (const json& noted : row.at(3)) result.notes.push_back({noted[0], noted[1], noted[2]});
    }
  }
  tensors.put(tree_sum(ranks, count, std::move(sums), tensors.sizes()));
  finish_step(count, results, lr);
}

namespace {

void share_tensor(Communicator& ranks, const Tensor& tensor) {
  const Tensor host = tensor.to(Device{}).to_contiguous();
  ranks.broadcast(std::span(static_cast<std::byte*>(host.raw()), host.bytes()),
                  Communicator::Wait::limited);
  if (ranks.rank() != 0 && host.raw() != tensor.raw()) tensor.copy_from(host);
}

}  // namespace

// Rank 0's position, buffers and, with `weights`, everything else that a step changes.
void Trainer::share_state(bool weights, bool* interrupted) {
  State& s = *state_;
  Communicator& ranks = *options_.ranks;
  json own = s.to_json();
  own["log"] = json::array();  // rank 0 writes it
  if (interrupted != nullptr) own["interrupted"] = *interrupted;
  if (loss_scale_) own["loss_scale"] = {loss_scale_->scale(), loss_scale_->good_steps()};
  if (s.average) own["average_updates"] = s.average->updates();
  // Rank 0 may have read a checkpoint or validated.
  const json first = from_first(ranks, own, Communicator::Wait::patient);
  if (interrupted != nullptr) *interrupted = first.at("interrupted");
  for (const Module::NamedBuffer& buffer : model_.buffers()) share_tensor(ranks, buffer.tensor);
  if (ranks.rank() != 0) s.from_json(first);
  if (!weights) return;
  for (const Module::Named& parameter : model_.parameters())
    share_tensor(ranks, parameter.variable.value());
  for (const auto& [name, tensor] : optimizer_.state_dict()) share_tensor(ranks, tensor);
  parameters_changed();
  if (loss_scale_ && ranks.rank() != 0)
    loss_scale_->load_state_dict(
        {{"scale", Tensor::full({1}, first.at("loss_scale").at(0), DType::f64)},
         {"good_steps", Tensor::full({1}, first.at("loss_scale").at(1), DType::i64)}});
  if (!s.average) return;
  const StateDict averages = s.average->averages();
  for (const auto& [name, tensor] : averages) share_tensor(ranks, tensor);
  if (ranks.rank() != 0)
    s.average->restore(averages, s.average->weights(), first.at("average_updates"));
}

}  // namespace thorax
