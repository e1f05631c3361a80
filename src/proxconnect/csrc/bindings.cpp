// The Python module proxconnect._native. Pointers arrive as integers: engine/kernels.py has validated
// them, with their shapes, before they come here.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string_view.h>

#include <cstdint>
#include <string_view>

#include "dispatch.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <typename T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

using Address = std::uintptr_t;
using Size = std::int64_t;

Size pack_signs(Address x, Size rows, Size columns, Address bits) {
  return proxconnect::active_kernels().pack_signs(pointer<const float>(x), rows, columns,
                                                  pointer<std::uint8_t>(bits));
}

void unpack_weights(Address bits, Address scale, Size rows, Size columns, Address weights) {
  proxconnect::active_kernels().unpack_weights(pointer<const std::uint8_t>(bits), pointer<const float>(scale), rows,
                                               columns, pointer<float>(weights));
}

void w1a1_matmul(Address a, Size a_stride, Address b, Size b_stride, Size m, Size n, Size k, Address out) {
  proxconnect::active_kernels().w1a1_matmul(pointer<const std::uint8_t>(a), a_stride,
                                            pointer<const std::uint8_t>(b), b_stride, m, n, k,
                                            pointer<std::int32_t>(out));
}

nb::list kernel_sets() {
  nb::list names;
  for (const proxconnect::KernelSet* set : proxconnect::kernel_sets()) {
    if (set->runs_here()) names.append(set->name);
  }
  return names;
}

nb::dict cpu_features() {
  nb::dict features;
  for (const auto& [name, present] : proxconnect::cpu_features()) features[name] = present;
  return features;
}

const char* active_kernels() { return proxconnect::active_kernels().name; }

}  // namespace

NB_MODULE(_native, module) {
  using released = nb::call_guard<nb::gil_scoped_release>;
  module.def("pack_signs", &pack_signs, "x"_a, "rows"_a, "columns"_a, "bits"_a, released());
  module.def("unpack_weights", &unpack_weights, "bits"_a, "scale"_a, "rows"_a, "columns"_a, "weights"_a, released());
  module.def("w1a1_matmul", &w1a1_matmul, "a"_a, "a_stride"_a, "b"_a, "b_stride"_a, "m"_a, "n"_a, "k"_a, "out"_a,
             released());
  module.def("kernel_sets", &kernel_sets);
  module.def("active_kernels", &active_kernels);
  module.def("use_kernels", &proxconnect::use_kernels, "name"_a);
  module.def("cpu_features", &cpu_features);
}
