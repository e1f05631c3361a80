#include "pool.h"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace proxconnect {
namespace {

// About 50 microseconds: longer than what lies between two layers, shorter than anyone else would notice.
constexpr int spins = 1000;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `done()`, first spinning, then asleep until `changed` is notified.
template <typename Done>
void wait(std::mutex& mutex, std::condition_variable& changed, const Done& done) {
  for (int i = 0; i < spins; ++i) {
    if (done()) return;
    relax();
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, done);
}

class Pool {
 public:
  void run(std::int64_t count, std::int64_t threads, void (*work)(void*, std::int64_t), void* context) {
    {
      const std::lock_guard lock(mutex_);
      grow(threads - 1);
      helpers_.store(threads - 1, std::memory_order_relaxed);
      work_ = work;
      context_ = context;
      unfinished_.store(count, std::memory_order_relaxed);
      job_ = (job_ + 1) & 0xffffffff;
      parts_.store(job_ << 32 | static_cast<std::uint64_t>(count), std::memory_order_release);
    }
    begun_.notify_all();
    take_part();
    wait(mutex_, finished_, [this] { return unfinished_.load(std::memory_order_acquire) == 0; });
  }

  std::mutex in_use;

 private:
  static std::uint64_t job_of(std::uint64_t parts) { return parts >> 32; }
  static std::uint64_t left_of(std::uint64_t parts) { return parts & 0xffffffff; }

  // Workers live as long as the process. Where no more can be had, those there are do the work.
  void grow(std::int64_t workers) {
    try {
      for (; workers_ < workers; ++workers_) std::thread(&Pool::live, this, workers_).detach();
    } catch (const std::system_error&) {
    }
  }

  void live(std::int64_t index) {
    std::uint64_t seen = 0;
    for (;;) {
      wait(mutex_, begun_, [&] { return job_of(parts_.load(std::memory_order_acquire)) != seen; });
      seen = job_of(parts_.load(std::memory_order_acquire));
      // More workers may live than this job is for.
      if (index < helpers_.load(std::memory_order_relaxed)) take_part();
    }
  }

  void take_part() {
    std::uint64_t parts = parts_.load(std::memory_order_acquire);
    while (left_of(parts) > 0) {
      // Whoever takes a part keeps the job from ending, so that what belongs to the job stays as it is.
      if (!parts_.compare_exchange_weak(parts, parts - 1, std::memory_order_acq_rel)) continue;
      work_(context_, static_cast<std::int64_t>(left_of(parts) - 1));
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        // Under the lock, or the caller could miss it between looking and falling asleep.
        const std::lock_guard finished(mutex_);
        finished_.notify_one();
      }
      parts = parts_.load(std::memory_order_acquire);
    }
  }

  std::mutex mutex_;
  std::condition_variable begun_;
  std::condition_variable finished_;
  // The number of the job, and below it how many of its parts nobody has begun. One word, taken from without the lock:
  // threads that wait for each other's lock end up on one processor.
  std::atomic<std::uint64_t> parts_{0};
  std::atomic<std::int64_t> unfinished_{0};
  std::atomic<std::int64_t> helpers_{0};  // workers that the job is for
  void (*work_)(void*, std::int64_t) = nullptr;
  void* context_ = nullptr;
  // Of the caller alone.
  std::uint64_t job_ = 0;
  std::int64_t workers_ = 0;
};

// Never destroyed, as its workers may outlive every static object.
std::atomic<Pool*>& current_pool() {
  static std::atomic<Pool*> current = [] {
    // A forked child has none of the workers, and locks in whatever state they were.
    pthread_atfork(nullptr, nullptr, [] { current_pool().store(new Pool); });
    return new Pool;
  }();
  return current;
}

}  // namespace

void run_parallel(std::int64_t count, std::int64_t threads, void (*work)(void*, std::int64_t), void* context) {
  Pool& pool = *current_pool().load();
  const std::unique_lock mine(pool.in_use, std::try_to_lock);
  if (mine.owns_lock()) {
    pool.run(count, threads, work, context);
  } else {
    for (std::int64_t i = 0; i < count; ++i) work(context, i);
  }
}

}  // namespace proxconnect
