// Parts of a call on the threads of the OpenMP that torch runs on.

#include "threads/parallel.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>

namespace proxconnect {
namespace {

// Entries of GNU OpenMP, which LLVM's and Intel's have too. They are looked up where the process has loaded one, as
// torch does; nothing of ours is linked with it.
struct OpenMP {
  void (*parallel)(void (*work)(void*), void* context, unsigned threads, unsigned flags);
  int (*thread_number)();
};

template <typename Function>
void look_up(const char* name, Function& entry) {
  entry = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

const OpenMP& openmp() {
  static const OpenMP found = [] {
    OpenMP entries{};
    look_up("GOMP_parallel", entries.parallel);
    look_up("omp_get_thread_num", entries.thread_number);
    return entries;
  }();
  return found;
}

// A forked child has none of OpenMP's threads, for which OpenMP would wait.
std::atomic<bool> forked{false};
[[maybe_unused]] const int watching_forks = pthread_atfork(nullptr, nullptr, [] { forked = true; });

// Parts that follow each other, for one thread to do before it helps the others with theirs: memory that a job and the
// next have in common is then in the caches of the processor that needs it.
struct alignas(64) Share {
  std::atomic<std::int64_t> next;
  std::int64_t end;
};

struct Job {
  static constexpr std::int64_t max_shares = 64;  // further threads only help

  Job(std::int64_t parts, std::int64_t for_threads, void (*part_work)(void*, std::int64_t), void* with)
      : threads(for_threads), shares(std::min(for_threads, max_shares)), work(part_work), context(with) {
    for (std::int64_t i = 0; i < shares; ++i) {
      share[i].next.store(parts * i / shares, std::memory_order_relaxed);
      share[i].end = parts * (i + 1) / shares;
    }
  }

  void take_part(std::int64_t thread) {
    for (std::int64_t i = 0; i < shares; ++i) {
      Share& from = share[(thread + i) % shares];
      for (;;) {
        const std::int64_t part = from.next.fetch_add(1, std::memory_order_relaxed);
        if (part >= from.end) break;
        work(context, part);
      }
    }
  }

  std::int64_t threads;
  std::int64_t shares;
  void (*work)(void*, std::int64_t);
  void* context;
  Share share[max_shares];
};

}  // namespace

void run_parallel(std::int64_t count, std::int64_t threads, void (*work)(void*, std::int64_t), void* context) {
  static std::mutex in_use;  // for several callers at once, OpenMP would make threads for each
  std::unique_lock<std::mutex> mine;
  if (openmp().parallel && openmp().thread_number && !forked.load(std::memory_order_relaxed)) {
    mine = std::unique_lock(in_use, std::try_to_lock);
  }
  if (!mine.owns_lock()) {
    for (std::int64_t i = 0; i < count; ++i) work(context, i);
    return;
  }
  Job job(count, threads, work, context);
  // 0: as many as torch's operators have. OpenMP ends those that a smaller team leaves over, and torch would have to
  // wait for new ones.
  openmp().parallel(
      [](void* address) {
        Job& its = *static_cast<Job*>(address);
        const std::int64_t thread = openmp().thread_number();
        if (thread < its.threads) its.take_part(thread);
      },
      &job, 0, 0);
}

}  // namespace proxconnect
