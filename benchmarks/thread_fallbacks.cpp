// Times kernels on one thread, on threads made for each call, on a pool of sleeping threads, on one whose threads spin
// for a while, and on OpenMP, all in turns. Prints one line a kernel: its name, microseconds on one thread, and the time
// on each of the others as a multiple of that, all as medians.

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "drivers/gemm.h"
#include "threads/parallel.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Job {
  std::int64_t count;
  void (*work)(void*, std::int64_t);
  void* context;
  std::atomic<std::int64_t> next{0};

  void take_part() {
    for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) work(context, i);
  }
};

// Threads that wait for jobs, spinning for `spin` before they sleep. Calls of run come one after the other.
class Pool {
 public:
  Pool(std::int64_t threads, std::chrono::microseconds spin) : spin_(spin) {
    for (std::int64_t i = 1; i < threads; ++i) workers_.emplace_back([this] { live(); });
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      ++number_;
    }
    begun_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void run(Job& job) {
    {
      const std::lock_guard lock(mutex_);
      job_ = &job;
      busy_ = static_cast<int>(workers_.size());
      ++number_;
    }
    begun_.notify_all();
    job.take_part();
    wait(finished_, [this] { return busy_ == 0; });
    const std::lock_guard lock(mutex_);
    job_ = nullptr;
  }

 private:
  template <typename Done>
  void wait(std::condition_variable& changed, const Done& done) {
    for (const auto end = Clock::now() + spin_; Clock::now() < end;) {
      if (done()) return;
    }
    std::unique_lock lock(mutex_);
    changed.wait(lock, done);
  }

  void live() {
    for (std::uint64_t seen = 0;;) {
      wait(begun_, [&] { return number_ != seen; });
      Job* job;
      {
        const std::lock_guard lock(mutex_);
        seen = number_;
        job = job_;
      }
      if (!job) return;
      job->take_part();
      const std::lock_guard lock(mutex_);
      if (--busy_ == 0) finished_.notify_one();
    }
  }

  std::chrono::microseconds spin_;
  std::mutex mutex_;
  std::condition_variable begun_, finished_;
  std::atomic<std::uint64_t> number_{0};
  std::atomic<int> busy_{0};
  Job* job_ = nullptr;
  std::vector<std::thread> workers_;
};

enum class Way { one_thread, threads_per_call, sleeping_pool, spinning_pool, openmp };
constexpr Way ways[] = {Way::one_thread, Way::threads_per_call, Way::sleeping_pool, Way::spinning_pool, Way::openmp};
Way way = Way::one_thread;
Pool* pool = nullptr;

void on_threads(Job& job, std::int64_t threads) {
  std::vector<std::thread> others;
  for (std::int64_t i = 1; i < threads; ++i) others.emplace_back([&job] { job.take_part(); });
  job.take_part();
  for (std::thread& other : others) other.join();
}

}  // namespace

// In place of the library's own: the linker takes this one.
void proxconnect::run_parallel(std::int64_t count, std::int64_t threads, void (*work)(void*, std::int64_t),
                               void* context) {
  Job job{count, work, context};
  switch (way) {
    case Way::one_thread: return job.take_part();
    case Way::threads_per_call: return on_threads(job, threads);
    case Way::sleeping_pool:
    case Way::spinning_pool: return pool->run(job);
    case Way::openmp:
#pragma omp parallel
      job.take_part();
  }
}

namespace {

struct Product {
  std::int64_t m, n, k;
  std::vector<std::uint8_t> signs;
  std::vector<std::uint32_t> words;
  std::vector<float> x, y, ones;

  Product(std::int64_t rows, std::int64_t outputs, std::int64_t inputs)
      : m(rows), n(outputs), k(inputs), signs(static_cast<std::size_t>(m * k / 8), 0x5a),
        words(static_cast<std::size_t>(n * k / 32), 0x3c5a96e1), x(static_cast<std::size_t>(m * k), 0.25f),
        y(static_cast<std::size_t>(m * n)), ones(static_cast<std::size_t>(n), 1.0f) {}

  proxconnect::Panels panels() const { return {words.data(), n, k}; }
  proxconnect::AffineOutput output() { return {y.data(), ones.data(), ones.data(), nullptr, nullptr}; }

  void w1a1(std::int64_t threads) {
    proxconnect::gemm(proxconnect::W1A1<proxconnect::AffineOutput>{{signs.data(), k / 8, m}, panels(), false, output()},
                      threads);
  }
  void w1a8(std::int64_t threads) {
    proxconnect::gemm(proxconnect::W1A8{{x.data(), k, m}, panels(), (k + 31) / 32 * 32, output(), 127}, threads);
  }
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void measure(const char* name, std::int64_t threads, int rounds, const std::function<void(std::int64_t)>& call) {
  std::vector<double> times[std::size(ways)];
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < std::size(ways); ++i) {
      way = ways[i];
      Pool of_round(way == Way::sleeping_pool || way == Way::spinning_pool ? threads : 1,
                    std::chrono::microseconds(way == Way::spinning_pool ? 50 : 0));
      pool = &of_round;
      call(threads);
      constexpr int calls = 20;
      const auto start = Clock::now();
      for (int repeat = 0; repeat < calls; ++repeat) call(threads);
      times[i].push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count() / calls);
    }
  }
  const double one_thread = median(times[0]);
  std::printf("%s %.0f", name, one_thread);
  for (std::size_t i = 1; i < std::size(ways); ++i) std::printf(" %.2f", median(times[i]) / one_thread);
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  const std::int64_t threads = count > 1 ? std::atoi(arguments[1]) : 2;
  const int rounds = count > 2 ? std::atoi(arguments[2]) : 50;
  omp_set_num_threads(static_cast<int>(threads));
  Product small(16, 1024, 1024), middle(64, 1024, 1024), large(512, 1024, 1024);
  measure("W1A1,16", threads, rounds, [&](std::int64_t t) { small.w1a1(t); });
  measure("W1A1,64", threads, rounds, [&](std::int64_t t) { middle.w1a1(t); });
  measure("W1A1,512", threads, rounds, [&](std::int64_t t) { large.w1a1(t); });
  measure("W1A8,16", threads, rounds, [&](std::int64_t t) { small.w1a8(t); });
  measure("W1A8,64", threads, rounds, [&](std::int64_t t) { middle.w1a8(t); });
  measure("W1A8,512", threads, rounds, [&](std::int64_t t) { large.w1a8(t); });
}
