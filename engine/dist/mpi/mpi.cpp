// The communicator over MPI: a module of its own (libthorax_mpi.so), so that only ranks load it.
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <thread>

#include "engine/dist/communicator.h"

namespace thorax {
namespace {

constexpr std::size_t kLargestMessage = std::size_t{1} << 30;  // MPI counts in int
constexpr int kTag = 1;

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  fail("[dist] {}: {}", what, std::string_view(text.data(), static_cast<std::size_t>(length)));
}

// "Open MPI v4.1.4, package: ..." -> "Open MPI v4.1.4"
std::string library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string all(text.data(), static_cast<std::size_t>(length));
  return all.substr(0, all.find_first_of(",\n"));
}

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator() : timeout_(rank_timeout()) {
    check(MPI_Comm_dup(MPI_COMM_WORLD, &world_), "MPI_Comm_dup");
    MPI_Comm_set_errhandler(world_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(world_, &rank_);
    MPI_Comm_size(world_, &size_);
    MPI_Comm local;
    check(MPI_Comm_split_type(world_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &local),
          "MPI_Comm_split_type");
    MPI_Comm_rank(local, &local_rank_);
    MPI_Comm_size(local, &local_size_);
    MPI_Comm_free(&local);
    std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
    int length = 0;
    MPI_Get_processor_name(name.data(), &length);
    place_ = fmt::format("rank {} of {} on {}", rank_, size_, name.data());
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string place() const override { return place_; }
  std::string library() const override { return library_version(); }
  int local_size() const override { return local_size_; }
  int local_rank() const override { return local_rank_; }

  void exchange(std::span<const Send> sends, std::span<const Receive> receives,
                Wait wait) override {
    std::vector<MPI_Request> requests;
    for (const Receive& message : receives)
      each_part(message.data.size(), [&](std::size_t first, int count) {
        check(MPI_Irecv(message.data.data() + first, count, MPI_BYTE, message.peer, kTag, world_,
                        &requests.emplace_back()),
              "MPI_Irecv");
      });
    for (const Send& message : sends)
      each_part(message.data.size(), [&](std::size_t first, int count) {
        check(MPI_Isend(message.data.data() + first, count, MPI_BYTE, message.peer, kTag, world_,
                        &requests.emplace_back()),
              "MPI_Isend");
      });
    finish_all(requests, wait);
  }

  void broadcast(std::span<std::byte> data, Wait wait) override {
    each_part(data.size(), [&](std::size_t first, int count) {
      std::vector<MPI_Request> request(1);
      check(MPI_Ibcast(data.data() + first, count, MPI_BYTE, 0, world_, request.data()),
            "MPI_Ibcast");
      finish_all(request, wait);
    });
  }

  void abort(int exit_code) override {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }
  void finish() override { MPI_Finalize(); }

 private:
  template <class Body>
  static void each_part(std::size_t size, const Body& body) {
    for (std::size_t first = 0; first < size; first += kLargestMessage)
      body(first, static_cast<int>(std::min(kLargestMessage, size - first)));
  }

  // MPI's own waiting would keep a core busy, which those need that are waited for.
  void finish_all(std::vector<MPI_Request>& requests, Wait wait) const {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    for (int turn = 0;; ++turn) {
      int done = 0;
      check(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done,
                        MPI_STATUSES_IGNORE),
            "MPI_Testall");
      if (done != 0) return;
      if (turn < 200) {
        std::this_thread::yield();
        continue;
      }
      const std::chrono::duration<double> waited = Clock::now() - start;
      if (wait == Wait::limited && waited.count() > timeout_)
        fail(
            "[dist] {}: other ranks have not answered for {:g} s (THORAX_RANK_TIMEOUT); they hang "
            "or cannot be reached; continue with --resume",
            place_, timeout_);
      std::this_thread::sleep_for(std::chrono::microseconds(waited.count() > 0.1 ? 1000 : 50));
    }
  }

  MPI_Comm world_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
  std::string place_;
  double timeout_;
};

}  // namespace
}  // namespace thorax

extern "C" std::unique_ptr<thorax::Communicator> thorax_start_mpi(int launched,
                                                                  std::string* problem) {
  int provided = 0, size = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size == launched) return std::make_unique<thorax::MpiCommunicator>();
  *problem = fmt::format("{} sees {} of them", thorax::library_version(), size);
  MPI_Finalize();
  return nullptr;
}
