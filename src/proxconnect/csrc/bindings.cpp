// The Python module proxconnect._native. Pointers arrive as integers: the engine has validated them, with their
// shapes, before they come here. An address of 0 stands for a tensor that is not given.

#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string_view.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <utility>

#include "convolutions.h"
#include "dispatch.h"
#include "latents.h"
#include "products.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using proxconnect::AffineOutput;
using proxconnect::convolve;
using proxconnect::ConvPanels;
using proxconnect::FloatRows;
using proxconnect::Geometry;
using proxconnect::Images;
using proxconnect::KernelSet;
using proxconnect::Latents;
using proxconnect::MapKind;
using proxconnect::multiply;
using proxconnect::Panels;
using proxconnect::SignImages;
using proxconnect::SignRows;
using proxconnect::SignsOutput;
using proxconnect::SumsOutput;
using proxconnect::W1A1;
using proxconnect::W1A1Conv;
using proxconnect::W1A32;
using proxconnect::W1A32Conv;
using proxconnect::W1A8;
using proxconnect::W1A8Conv;

using Address = std::uintptr_t;
using Size = std::int64_t;

template <typename T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

Panels panels_at(Address words, Size n, Size k) { return {pointer<const std::uint32_t>(words), n, k}; }

AffineOutput affine_at(Address out, Address residual, Address scale, Address bias, Address slope) {
  return {pointer<float>(out), pointer<const float>(scale), pointer<const float>(bias),
          pointer<const float>(residual), pointer<const float>(slope)};
}

Size pack_signs(Address x, Size rows, Size columns, Address bits, Size threads) {
  return proxconnect::pack_signs(pointer<const float>(x), rows, columns, pointer<std::uint8_t>(bits), threads);
}

void unpack_weights(Address signs, Address nonzero, Address scale, Size rows, Size columns, Size group,
                    Address weights, Size threads) {
  proxconnect::unpack_weights({pointer<const std::uint8_t>(signs), pointer<const std::uint8_t>(nonzero),
                               pointer<const float>(scale), columns, group},
                              rows, pointer<float>(weights), threads);
}

SignRows signs_at(Address bits, Size stride, Size m) {
  return {pointer<const std::uint8_t>(bits), stride, m};
}

FloatRows floats_at(Address x, Size stride, Size m) {
  return {pointer<const float>(x), stride, m};
}

bool padding_is_clear(Address bits, Size stride, Size m, Size k) {
  return proxconnect::padding_is_clear(signs_at(bits, stride, m), k);
}

void make_panels(Address bits, Size stride, Size n, Size k, Address words) {
  proxconnect::make_panels(signs_at(bits, stride, n), k, pointer<std::uint32_t>(words));
}

void w1a1_sums(Address a, Size stride, Size m, Address words, Size n, Size k, bool wrap, Address out, Size threads) {
  multiply(W1A1<SumsOutput>{signs_at(a, stride, m),
                            panels_at(words, n, k),
                            wrap,
                            {pointer<std::int32_t>(out)}},
           threads);
}

void w1a1_affine(Address a, Size stride, Size m, Address words, Size n, Size k, bool wrap, Address out,
                 Address residual, Address scale, Address bias, Address slope, Size threads) {
  multiply(W1A1<AffineOutput>{signs_at(a, stride, m),
                              panels_at(words, n, k),
                              wrap,
                              affine_at(out, residual, scale, bias, slope)},
           threads);
}

void w1a1_signs(Address a, Size stride, Size m, Address words, Size n, Size k, bool wrap, Address out,
                Address threshold, Address flip, Size threads) {
  multiply(W1A1<SignsOutput>{signs_at(a, stride, m),
                             panels_at(words, n, k),
                             wrap,
                             {pointer<std::uint8_t>(out), pointer<const std::int32_t>(threshold),
                              pointer<const std::uint8_t>(flip)}},
           threads);
}

bool w1a8(Address x, Size stride, Size m, Address words, Size n, Size k, Size group, int greatest, Address out,
          Address residual, Address scale, Address bias, Address slope, Size threads) {
  return multiply(W1A8{floats_at(x, stride, m),
                       panels_at(words, n, k),
                       group,
                       affine_at(out, residual, scale, bias, slope),
                       greatest},
                  threads);
}

void w1a32(Address x, Size stride, Size m, Address words, Size n, Size k, Address out, Address residual, Address scale,
           Address bias, Address slope, Size threads) {
  multiply(W1A32{floats_at(x, stride, m),
                 panels_at(words, n, k),
                 affine_at(out, residual, scale, bias, slope)},
           threads);
}

// Tuples of Python's: address, count, height and width of images; addresses of words and tap sums, outputs, channels,
// kernel and groups of a weight; stride, padding and dilation, each (y, x), and fill.
using ImagesTuple = std::array<Size, 4>;
using ConvPanelsTuple = std::array<Size, 7>;
using GeometryTuple = std::array<Size, 7>;

ConvPanels conv_panels_at(const ConvPanelsTuple& t) {
  return {pointer<const std::uint32_t>(static_cast<Address>(t[0])),
          pointer<const std::int32_t>(static_cast<Address>(t[1])),
          t[2],
          t[3],
          t[4],
          t[5],
          t[6]};
}

void make_conv_panels(Address bits, Size stride, const ConvPanelsTuple& weight) {
  proxconnect::make_conv_panels(pointer<const std::uint8_t>(bits), stride, conv_panels_at(weight),
                                pointer<std::uint32_t>(static_cast<Address>(weight[0])),
                                pointer<std::int32_t>(static_cast<Address>(weight[1])));
}

bool pack_planes(Address x, Size count, Size image_stride, Size channel_stride, Size channels, Size pixels,
                 Address bits, Size threads) {
  return proxconnect::pack_planes(pointer<const float>(x), count, image_stride, channel_stride, channels, pixels,
                                  pointer<std::uint8_t>(bits), threads);
}

template <typename Output>
void convolve_with(const ImagesTuple& a, const ConvPanelsTuple& weight, const GeometryTuple& g, bool wrap,
                   const Output& output, Size threads) {
  const SignImages images{pointer<const std::uint8_t>(static_cast<Address>(a[0])), a[1], a[2], a[3]};
  const Geometry geometry{g[0], g[1], g[2], g[3], g[4], g[5], g[6]};
  convolve(W1A1Conv<Output>{images, conv_panels_at(weight), geometry, wrap, output}, threads);
}

void w1a1_conv_sums(const ImagesTuple& a, const ConvPanelsTuple& weight, const GeometryTuple& geometry, bool wrap,
                    Address out, Size threads) {
  convolve_with(a, weight, geometry, wrap, SumsOutput{pointer<std::int32_t>(out)}, threads);
}

void w1a1_conv_affine(const ImagesTuple& a, const ConvPanelsTuple& weight, const GeometryTuple& geometry, bool wrap,
                      Address out, Address residual, Address scale, Address bias, Address slope, Size threads) {
  convolve_with(a, weight, geometry, wrap, affine_at(out, residual, scale, bias, slope), threads);
}

void w1a1_conv_signs(const ImagesTuple& a, const ConvPanelsTuple& weight, const GeometryTuple& geometry, bool wrap,
                     Address out, Address threshold, Address flip, Size threads) {
  convolve_with(a, weight, geometry, wrap,
                SignsOutput{pointer<std::uint8_t>(out), pointer<const std::int32_t>(threshold),
                            pointer<const std::uint8_t>(flip)},
                threads);
}

bool w1a8_conv(Address x, const std::array<Size, 4>& sizes, const std::array<Size, 4>& strides,
               const ConvPanelsTuple& weight, const GeometryTuple& g, Address out, Address residual, Address scale,
               Address bias, Address slope, Size threads) {
  const Images images{pointer<const float>(x), sizes[0],   sizes[1],   sizes[2],  sizes[3],
                      strides[0],              strides[1], strides[2], strides[3]};
  const Geometry geometry{g[0], g[1], g[2], g[3], g[4], g[5], g[6]};
  const AffineOutput output = affine_at(out, residual, scale, bias, slope);
  return convolve(W1A8Conv{images, conv_panels_at(weight), geometry, output}, threads);
}

Latents latents_at(Address values, Size rows, Size columns, Address s, Address alpha, Size step) {
  return {pointer<const float>(values), rows, columns, pointer<const float>(s), pointer<const float>(alpha), step};
}

void mean_magnitudes(Address values, Size rows, Size columns, Address mean, Size threads) {
  proxconnect::mean_magnitudes(pointer<const float>(values), rows, columns, pointer<float>(mean), threads);
}

void quantize(Address values, Size rows, Size columns, Address s, Address alpha, Size step, int map, float mu, float a,
              float b, Address out, Size threads) {
  proxconnect::quantize(latents_at(values, rows, columns, s, alpha, step), {static_cast<MapKind>(map), mu, a, b},
                        pointer<float>(out), threads);
}

void scale_gradient(Address values, Size rows, Size columns, Address s, Address alpha, Size step, int map, float mu,
                    float a, float b, Address g, Address out, Size threads) {
  proxconnect::scale_gradient(latents_at(values, rows, columns, s, alpha, step),
                              {static_cast<MapKind>(map), mu, a, b}, pointer<const float>(g), pointer<float>(out),
                              threads);
}

void quantize_and_mark(Address x, Size size, int map, float map_mu, float a, float b, float mu, Address out,
                       Address inside, Size threads) {
  proxconnect::quantize_and_mark(pointer<const float>(x), size, {static_cast<MapKind>(map), map_mu, a, b}, mu,
                                 pointer<float>(out), pointer<std::uint16_t>(inside), threads);
}

void scale_marked(Address inside, Size size, float mu, Address g, Address out, Size threads) {
  proxconnect::scale_marked(pointer<const std::uint16_t>(inside), size, mu, pointer<const float>(g),
                            pointer<float>(out), threads);
}

void scale_outputs(Address y, Size rows, Size columns, Address scale, Address bias, Size threads) {
  proxconnect::scale_outputs(pointer<float>(y), rows, columns, pointer<const float>(scale),
                             pointer<const float>(bias), threads);
}

using Pair = std::pair<Size, Size>;  // along y, along x

void w1a32_conv(Address x, std::array<Size, 4> shape, std::array<Size, 4> strides, Address words, Size n, Size groups,
                Pair kernel, Pair stride, Pair padding, Pair dilation, Pair output, Address out, Address residual,
                Address scale, Address bias, Address slope, Size threads) {
  const auto [count, channels, height, width] = shape;
  W1A32Conv product{};
  product.x = {pointer<const float>(x), count, channels, height, width, strides[0], strides[1], strides[2], strides[3]};
  product.b.words = pointer<const std::uint32_t>(words);
  product.b.n = n;
  product.b.channels = channels;
  product.b.groups = groups;
  std::tie(product.b.kernel_y, product.b.kernel_x) = kernel;
  product.vertical = {height, output.first, kernel.first, stride.first, padding.first, dilation.first};
  product.horizontal = {width, output.second, kernel.second, stride.second, padding.second, dilation.second};
  product.output = affine_at(out, residual, scale, bias, slope);
  convolve(product, threads);
}

nb::list kernel_sets() {
  nb::list names;
  for (const KernelSet* set : proxconnect::kernel_sets()) {
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
  module.def("pack_signs", &pack_signs, "x"_a, "rows"_a, "columns"_a, "bits"_a, "threads"_a, released());
  module.def("unpack_weights", &unpack_weights, "signs"_a, "nonzero"_a, "scale"_a, "rows"_a, "columns"_a,
             "group"_a, "weights"_a, "threads"_a, released());
  module.def("padding_is_clear", &padding_is_clear, "bits"_a, "stride"_a, "m"_a, "k"_a);
  module.def("make_panels", &make_panels, "bits"_a, "stride"_a, "n"_a, "k"_a, "words"_a, released());
  module.def("w1a1_sums", &w1a1_sums, "a"_a, "stride"_a, "m"_a, "words"_a, "n"_a, "k"_a, "wrap"_a, "out"_a,
             "threads"_a, released());
  module.def("w1a1_affine", &w1a1_affine, "a"_a, "stride"_a, "m"_a, "words"_a, "n"_a, "k"_a, "wrap"_a, "out"_a,
             "residual"_a, "scale"_a, "bias"_a, "slope"_a, "threads"_a, released());
  module.def("w1a1_signs", &w1a1_signs, "a"_a, "stride"_a, "m"_a, "words"_a, "n"_a, "k"_a, "wrap"_a, "out"_a,
             "threshold"_a, "flip"_a, "threads"_a, released());
  module.def("w1a8", &w1a8, "x"_a, "stride"_a, "m"_a, "words"_a, "n"_a, "k"_a, "group"_a, "greatest"_a, "out"_a,
             "residual"_a, "scale"_a, "bias"_a, "slope"_a, "threads"_a, released());
  module.def("w1a32", &w1a32, "x"_a, "stride"_a, "m"_a, "words"_a, "n"_a, "k"_a, "out"_a, "residual"_a, "scale"_a,
             "bias"_a, "slope"_a, "threads"_a, released());
  module.def("make_conv_panels", &make_conv_panels, "bits"_a, "stride"_a, "weight"_a, released());
  module.def("pack_planes", &pack_planes, "x"_a, "count"_a, "image_stride"_a, "channel_stride"_a, "channels"_a,
             "pixels"_a, "bits"_a, "threads"_a, released());
  module.def("w1a1_conv_sums", &w1a1_conv_sums, "a"_a, "weight"_a, "geometry"_a, "wrap"_a, "out"_a, "threads"_a,
             released());
  module.def("w1a1_conv_affine", &w1a1_conv_affine, "a"_a, "weight"_a, "geometry"_a, "wrap"_a, "out"_a, "residual"_a,
             "scale"_a, "bias"_a, "slope"_a, "threads"_a, released());
  module.def("w1a1_conv_signs", &w1a1_conv_signs, "a"_a, "weight"_a, "geometry"_a, "wrap"_a, "out"_a, "threshold"_a,
             "flip"_a, "threads"_a, released());
  module.def("w1a8_conv", &w1a8_conv, "x"_a, "sizes"_a, "strides"_a, "weight"_a, "geometry"_a, "out"_a, "residual"_a,
             "scale"_a, "bias"_a, "slope"_a, "threads"_a, released());
  module.def("mean_magnitudes", &mean_magnitudes, "values"_a, "rows"_a, "columns"_a, "mean"_a, "threads"_a,
             released());
  module.def("quantize", &quantize, "values"_a, "rows"_a, "columns"_a, "s"_a, "alpha"_a, "step"_a, "map"_a, "mu"_a,
             "a"_a, "b"_a, "out"_a, "threads"_a, released());
  module.def("scale_gradient", &scale_gradient, "values"_a, "rows"_a, "columns"_a, "s"_a, "alpha"_a, "step"_a, "map"_a,
             "mu"_a, "a"_a, "b"_a, "g"_a, "out"_a, "threads"_a, released());
  module.def("quantize_and_mark", &quantize_and_mark, "x"_a, "size"_a, "map"_a, "map_mu"_a, "a"_a, "b"_a, "mu"_a,
             "out"_a, "inside"_a, "threads"_a, released());
  module.def("scale_marked", &scale_marked, "inside"_a, "size"_a, "mu"_a, "g"_a, "out"_a, "threads"_a, released());
  module.def("scale_outputs", &scale_outputs, "y"_a, "rows"_a, "columns"_a, "scale"_a, "bias"_a, "threads"_a,
             released());
  module.def("w1a32_conv", &w1a32_conv, "x"_a, "shape"_a, "strides"_a, "words"_a, "n"_a, "groups"_a, "kernel"_a,
             "stride"_a, "padding"_a, "dilation"_a, "output"_a, "out"_a, "residual"_a, "scale"_a, "bias"_a, "slope"_a,
             "threads"_a, released());
  module.def("kernel_sets", &kernel_sets);
  module.def("active_kernels", &active_kernels);
  module.def("use_kernels", &proxconnect::use_kernels, "name"_a);
  module.def("cpu_features", &cpu_features);
}
