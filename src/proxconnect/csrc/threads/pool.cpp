#include "threads/pool.h"

#include <pthread.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>

namespace proxconnect {
namespace {

// Longer than what mostly lies between two layers, shorter than anyone else would notice.
constexpr std::chrono::microseconds spinning{50};

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
  const auto end = std::chrono::steady_clock::now() + spinning;
  do {
    if (done()) return;
    relax();
  } while (std::chrono::steady_clock::now() < end);
  std::unique_lock lock(mutex);
  changed.wait(lock, done);
}

// A worker, and the processor that it was last seen on.
struct Worker {
  std::thread::native_handle_type handle;
  std::atomic<int> processor{-1};
};

#ifdef __linux__
int this_processor() { return sched_getcpu(); }

// Woken up on the caller's processor, a worker would wait there for its turn, next to idle ones; the scheduler may
// leave it so for many calls.
void keep_away_from(int processor, const Worker& worker) {
  cpu_set_t others;
  if (sched_getaffinity(0, sizeof others, &others) != 0) return;
  CPU_CLR(processor, &others);
  if (CPU_COUNT(&others) > 0) pthread_setaffinity_np(worker.handle, sizeof others, &others);
}
#else
int this_processor() { return -1; }
void keep_away_from(int, const Worker&) {}
#endif

class Pool {
 public:
  void run(std::int64_t count, std::int64_t threads, void (*work)(void*, std::int64_t), void* context) {
    grow(threads - 1);
    const int here = this_processor();
    for (const Worker& worker : workers_) {
      if (here >= 0 && worker.processor.load(std::memory_order_relaxed) == here) keep_away_from(here, worker);
    }
    {
      const std::lock_guard lock(mutex_);
      helpers_.store(threads - 1, std::memory_order_relaxed);
      work_ = work;
      context_ = context;
      count_ = count;
      unfinished_.store(count, std::memory_order_relaxed);
      job_ = (job_ + 1) & 0xffffffff;
      for (std::int64_t share = shares() - 1; share >= 0; --share) {  // the first, which workers watch, comes last
        const std::int64_t parts = end_of(share) - end_of(share - 1);
        shares_[share].parts.store(job_ << 32 | static_cast<std::uint64_t>(parts), std::memory_order_release);
      }
    }
    begun_.notify_all();
    take_part(0);
    wait(mutex_, finished_, [this] { return unfinished_.load(std::memory_order_acquire) == 0; });
  }

  std::mutex in_use;

 private:
  // Parts that follow each other, for one thread to do in their order before it helps the others with theirs: memory
  // that a job and the next have in common is then in the caches of the processor that needs it. The word is the number
  // of the job, and below it how many of the parts nobody has begun. They are taken without the lock: threads that wait
  // for each other's lock end up on one processor.
  struct alignas(64) Share {
    std::atomic<std::uint64_t> parts{0};
  };
  static constexpr std::int64_t most_shares = 64;  // further threads only help

  static std::uint64_t job_of(std::uint64_t parts) { return parts >> 32; }
  static std::uint64_t left_of(std::uint64_t parts) { return parts & 0xffffffff; }

  std::uint64_t newest_job() const { return job_of(shares_[0].parts.load(std::memory_order_acquire)); }
  std::int64_t shares() const { return std::min(helpers_.load(std::memory_order_relaxed) + 1, most_shares); }
  std::int64_t end_of(std::int64_t share) const { return count_ * (share + 1) / shares(); }

  // Workers live as long as the process. Where no more can be had, those there are do the work.
  void grow(std::int64_t workers) {
    try {
      while (std::ssize(workers_) < workers) {
        Worker& worker = workers_.emplace_back();
        try {
          std::thread thread(&Pool::live, this, std::ssize(workers_) - 1, &worker);
          worker.handle = thread.native_handle();
          thread.detach();
        } catch (...) {
          workers_.pop_back();
          throw;
        }
      }
    } catch (const std::system_error&) {
    }
  }

  void live(std::int64_t index, Worker* worker) {
    std::uint64_t seen = 0;
    for (;;) {
      wait(mutex_, begun_, [&] {
        worker->processor.store(this_processor(), std::memory_order_relaxed);
        return newest_job() != seen;
      });
      seen = newest_job();
      // More workers may live than this job is for.
      if (index < helpers_.load(std::memory_order_relaxed)) take_part(index + 1);
    }
  }

  void take_part(std::int64_t thread) {
    const std::int64_t all = shares();
    for (std::int64_t i = 0; i < all; ++i) take_from((thread + i) % all);
  }

  void take_from(std::int64_t share) {
    std::atomic<std::uint64_t>& left = shares_[share].parts;
    std::uint64_t parts = left.load(std::memory_order_acquire);
    while (left_of(parts) > 0) {
      // Whoever takes a part keeps the job from ending, so that what belongs to the job stays as it is.
      if (!left.compare_exchange_weak(parts, parts - 1, std::memory_order_acq_rel)) continue;
      work_(context_, end_of(share) - static_cast<std::int64_t>(left_of(parts)));
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        // Under the lock, or the caller could miss it between looking and falling asleep.
        const std::lock_guard finished(mutex_);
        finished_.notify_one();
      }
      parts = left.load(std::memory_order_acquire);
    }
  }

  std::mutex mutex_;
  std::condition_variable begun_;
  std::condition_variable finished_;
  Share shares_[most_shares];
  std::atomic<std::int64_t> unfinished_{0};
  std::atomic<std::int64_t> helpers_{0};  // workers that the job is for
  void (*work_)(void*, std::int64_t) = nullptr;
  void* context_ = nullptr;
  std::int64_t count_ = 0;
  // Of the caller alone.
  std::uint64_t job_ = 0;
  std::deque<Worker> workers_;
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

void run_in_pool(std::int64_t count, std::int64_t threads, void (*work)(void*, std::int64_t), void* context) {
  Pool& pool = *current_pool().load();
  const std::unique_lock mine(pool.in_use, std::try_to_lock);
  if (mine.owns_lock()) {
    pool.run(count, threads, work, context);
  } else {
    for (std::int64_t i = 0; i < count; ++i) work(context, i);
  }
}

}  // namespace proxconnect
