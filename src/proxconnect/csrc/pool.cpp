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
  void run(std::int64_t count, void (*work)(void*, std::int64_t), void* context) {
    {
      const std::lock_guard lock(mutex_);
      grow(count - 1);
      work_ = work;
      context_ = context;
      next_ = 0;
      count_ = count;
      unfinished_.store(count, std::memory_order_relaxed);
      jobs_.fetch_add(1, std::memory_order_release);
    }
    begun_.notify_all();
    take_part();
    wait(mutex_, finished_, [this] { return unfinished_.load(std::memory_order_acquire) == 0; });
  }

  std::mutex in_use;

 private:
  // Workers live as long as the process. Where no more can be had, those there are do the work.
  void grow(std::int64_t workers) {
    try {
      for (; workers_ < workers; ++workers_) std::thread(&Pool::live, this).detach();
    } catch (const std::system_error&) {
    }
  }

  void live() {
    std::uint64_t seen = 0;
    for (;;) {
      wait(mutex_, begun_, [&] { return jobs_.load(std::memory_order_acquire) != seen; });
      seen = jobs_.load(std::memory_order_acquire);
      take_part();
    }
  }

  void take_part() {
    for (;;) {
      std::unique_lock lock(mutex_);
      if (next_ == count_) return;
      const std::int64_t i = next_++;
      const auto work = work_;
      const auto context = context_;
      lock.unlock();
      work(context, i);
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        // Under the lock, or the caller could miss it between looking and falling asleep.
        const std::lock_guard finished(mutex_);
        finished_.notify_one();
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable begun_;
  std::condition_variable finished_;
  std::atomic<std::uint64_t> jobs_{0};
  std::atomic<std::int64_t> unfinished_{0};
  // Guarded by mutex_: the job, the first of its parts that nobody has begun, and the number of workers.
  void (*work_)(void*, std::int64_t) = nullptr;
  void* context_ = nullptr;
  std::int64_t next_ = 0;
  std::int64_t count_ = 0;
  std::int64_t workers_ = 0;
};

// Never destroyed, as its workers may outlive every static object.
std::atomic<Pool*>& pool() {
  static std::atomic<Pool*> current = [] {
    // A forked child has none of the workers, and locks in whatever state they were.
    pthread_atfork(nullptr, nullptr, [] { pool().store(new Pool); });
    return new Pool;
  }();
  return current;
}

}  // namespace

void run_parallel(std::int64_t count, void (*work)(void*, std::int64_t), void* context) {
  Pool& threads = *pool().load();
  const std::unique_lock mine(threads.in_use, std::try_to_lock);
  if (mine.owns_lock()) {
    threads.run(count, work, context);
  } else {
    for (std::int64_t i = 0; i < count; ++i) work(context, i);
  }
}

}  // namespace proxconnect
