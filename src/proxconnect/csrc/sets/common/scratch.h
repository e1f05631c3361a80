// Memory that a thread works in.
#pragma once

#include "sets/common/own.h"

namespace proxconnect {
namespace {

enum class Scratch { inputs, steps, weights, plane, starts, sums, groups };

// Returns room for `count` elements, of any content. Each thread keeps what it once had: as much memory of a thread's
// own goes back to the system when it is freed, and getting it anew, page by page, takes longer than some products.
template <Scratch purpose, typename T>
T* scratch(std::int64_t count) {
  thread_local own::Array<T> memory;
  memory.make_room(count);
  return memory.data();
}

}  // namespace
}  // namespace proxconnect
