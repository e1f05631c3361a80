// The Python module proxconnect._native: each function turns tuples of addresses and sizes into operands and calls a
// driver. The Python side has checked tensors and shapes before. An address of 0 stands for a tensor that is not given.

#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>

#include <array>
#include <cstdint>
#include <exception>
#include <string_view>
#include <tuple>

#include "drivers/activation.h"
#include "drivers/attention.h"
#include "drivers/chain.h"
#include "drivers/conv.h"
#include "drivers/decoding.h"
#include "drivers/gemm.h"
#include "drivers/latents.h"
#include "drivers/packing.h"
#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "sets/processor.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using proxconnect::Activation;
using proxconnect::AffineOutput;
using proxconnect::ChainOutput;
using proxconnect::convolve;
using proxconnect::ConvPanels;
using proxconnect::ElementwiseMap;
using proxconnect::FloatRows;
using proxconnect::gemm;
using proxconnect::Geometry;
using proxconnect::GroupsOutput;
using proxconnect::Images;
using proxconnect::KernelSet;
using proxconnect::Latents;
using proxconnect::MapKind;
using proxconnect::Panels;
using proxconnect::SignImages;
using proxconnect::SignRows;
using proxconnect::SignsOutput;
using proxconnect::StepKind;
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

// Operands as Python passes them. Pairs of numbers are (y, x).
using RowsTuple = std::tuple<Address, Size, Size>;              // of signs or floats; stride, rows
using SignImagesTuple = std::tuple<Address, Size, Size, Size>;  // count, height, width
using ImagesTuple = std::tuple<Address, std::array<Size, 4>, std::array<Size, 4>>;  // sizes, strides
using PanelsTuple = std::tuple<Address, Size, Size, Size>;  // words; outputs, inputs, planes
// Words and tap sums; outputs, inputs, kernel, groups.
using ConvPanelsTuple = std::tuple<Address, Address, Size, Size, Size, Size, Size>;
using GeometryTuple = std::array<Size, 7>;                           // stride, padding, dilation, fill
using HeadsTuple = std::tuple<Address, Size, Size, Size>;  // strides of batches, heads, rows
using RotationTuple = std::tuple<Address, Address, Size>;  // cos, sin; stride of texts
using AffineTuple = std::tuple<Address, Address, Address, Address>;  // residual, scale, bias, slope
using GroupsTuple = std::tuple<Size, bool>;                              // inputs of a scale; halves
using ThresholdsTuple = std::tuple<Address, Address>;                // threshold, flip
// Floats, signs; steps, their number, constants, residual.
using ChainTuple = std::tuple<Address, Address, Address, Size, Address, Address>;
using LatentsTuple = std::tuple<Address, Size, Size, Address, Address, Size>;  // rows, columns; s, alpha, step
using MapTuple = std::tuple<MapKind, float, float, float, Address>;            // kind; mu, a, b; cells

SignRows signs_at(const RowsTuple& rows) {
  const auto [bits, stride, m] = rows;
  return {pointer<const std::uint8_t>(bits), stride, m};
}

FloatRows floats_at(const RowsTuple& rows) {
  const auto [x, stride, m] = rows;
  return {pointer<const float>(x), stride, m};
}

SignImages signs_at(const SignImagesTuple& images) {
  return {pointer<const std::uint8_t>(std::get<0>(images)), std::get<1>(images)};
}

Images floats_at(const ImagesTuple& images) {
  const auto [x, sizes, strides] = images;
  return {pointer<const float>(x), sizes[0], sizes[1], strides[0], strides[1], strides[2], strides[3]};
}

Panels panels_at(const PanelsTuple& panels) {
  const auto [words, n, k, planes] = panels;
  return {pointer<const std::uint32_t>(words), n, k, planes};
}

ConvPanels panels_at(const ConvPanelsTuple& panels) {
  const auto [words, tap_sums, n, channels, kernel_y, kernel_x, groups] = panels;
  return {pointer<const std::uint32_t>(words), pointer<const std::int32_t>(tap_sums), n, channels, kernel_y, kernel_x,
          groups};
}

Geometry geometry_of(const GeometryTuple& geometry, Size height, Size width, const ConvPanelsTuple& weight) {
  const auto [stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x, fill] = geometry;
  const ConvPanels b = panels_at(weight);
  return {{height, b.kernel_y, stride_y, padding_y, dilation_y}, {width, b.kernel_x, stride_x, padding_x, dilation_x},
          fill};
}

Geometry geometry_of(const GeometryTuple& geometry, const SignImagesTuple& images, const ConvPanelsTuple& weight) {
  return geometry_of(geometry, std::get<2>(images), std::get<3>(images), weight);
}

Geometry geometry_of(const GeometryTuple& geometry, const ImagesTuple& images, const ConvPanelsTuple& weight) {
  const auto sizes = std::get<1>(images);
  return geometry_of(geometry, sizes[2], sizes[3], weight);
}

SumsOutput sums_into(Address out) { return {pointer<std::int32_t>(out)}; }

AffineOutput affine_into(Address out, const AffineTuple& affine) {
  const auto [residual, scale, bias, slope] = affine;
  return {pointer<float>(out), pointer<const float>(scale), pointer<const float>(bias), pointer<const float>(residual),
          pointer<const float>(slope)};
}

GroupsOutput groups_into(Address out, const AffineTuple& affine, bool half) {
  const auto [residual, scale, bias, slope] = affine;
  return {pointer<float>(out), {pointer<const void>(scale), half}, pointer<const float>(bias),
          pointer<const float>(residual), pointer<const float>(slope)};
}

SignsOutput signs_into(Address out, const ThresholdsTuple& thresholds) {
  const auto [threshold, flip] = thresholds;
  return {pointer<std::uint8_t>(out), pointer<const std::int32_t>(threshold), pointer<const std::uint8_t>(flip)};
}

ChainOutput chain_of(const ChainTuple& chain) {
  const auto [floats, signs, steps, count, constants, residual] = chain;
  return {pointer<float>(floats), pointer<std::uint8_t>(signs),     pointer<const StepKind>(steps),
          count,                  pointer<const float>(constants), pointer<const float>(residual)};
}

Size pack_signs(Address x, Size rows, Size columns, Address bits, Size threads) {
  return proxconnect::pack_signs(pointer<const float>(x), rows, columns, pointer<std::uint8_t>(bits), threads);
}

bool pack_planes(Address x, Size count, Size channels, Size pixels, Address bits, Size threads) {
  return proxconnect::pack_planes(pointer<const float>(x), count, channels, pixels, pointer<std::uint8_t>(bits),
                                  threads);
}

void unpack_weights(Address signs, Address nonzero, Address scale, Size rows, Size columns, Size group,
                    Address weights, Size threads) {
  proxconnect::unpack_weights({pointer<const std::uint8_t>(signs), pointer<const std::uint8_t>(nonzero),
                               pointer<const float>(scale), columns, group},
                              rows, pointer<float>(weights), threads);
}

bool padding_is_clear(const RowsTuple& rows, Size k) { return proxconnect::padding_is_clear(signs_at(rows), k); }

void make_panels(const RowsTuple& rows, Size k, Address words, Size planes) {
  proxconnect::make_panels(signs_at(rows), k, pointer<std::uint32_t>(words), planes);
}

void make_conv_panels(const RowsTuple& rows, const ConvPanelsTuple& panels) {
  const SignRows bits = signs_at(rows);
  proxconnect::make_conv_panels(bits.bits, bits.stride, panels_at(panels),
                                pointer<std::uint32_t>(std::get<0>(panels)),
                                pointer<std::int32_t>(std::get<1>(panels)));
}

void w1a1_sums(const RowsTuple& a, const PanelsTuple& weight, bool wrap, Address out, Size threads) {
  gemm(W1A1<SumsOutput>{signs_at(a), panels_at(weight), wrap, sums_into(out)}, threads);
}

void w1a1_affine(const RowsTuple& a, const PanelsTuple& weight, bool wrap, Address out, const AffineTuple& affine,
                 Size threads) {
  gemm(W1A1<AffineOutput>{signs_at(a), panels_at(weight), wrap, affine_into(out, affine)}, threads);
}

void w1a1_signs(const RowsTuple& a, const PanelsTuple& weight, bool wrap, Address out,
                const ThresholdsTuple& thresholds, Size threads) {
  gemm(W1A1<SignsOutput>{signs_at(a), panels_at(weight), wrap, signs_into(out, thresholds)}, threads);
}

void w1a1_chain(const RowsTuple& a, const PanelsTuple& weight, bool wrap, const ChainTuple& chain, Size threads) {
  gemm(W1A1<ChainOutput>{signs_at(a), panels_at(weight), wrap, chain_of(chain)}, threads);
}

void chain_rows(const RowsTuple& x, Size n, const ChainTuple& chain, Size threads) {
  proxconnect::chain(floats_at(x), n, chain_of(chain), threads);
}

bool w1a8(const RowsTuple& x, const PanelsTuple& weight, const GroupsTuple& groups, int greatest, Address out,
          const AffineTuple& affine, Size threads) {
  const auto [group, half] = groups;
  return gemm(W1A8{floats_at(x), panels_at(weight), group, groups_into(out, affine, half), greatest}, threads);
}

void w1a32(const RowsTuple& x, const PanelsTuple& weight, const GroupsTuple& groups, Address out,
           const AffineTuple& affine, Size threads) {
  const auto [group, half] = groups;
  gemm(W1A32{floats_at(x), panels_at(weight), group, groups_into(out, affine, half)}, threads);
}

void w1a1_conv_sums(const SignImagesTuple& a, const ConvPanelsTuple& weight, const GeometryTuple& geometry, bool wrap,
                    Address out, Size threads) {
  convolve(W1A1Conv<SumsOutput>{signs_at(a), panels_at(weight), geometry_of(geometry, a, weight), wrap,
                                sums_into(out)},
           threads);
}

void w1a1_conv_affine(const SignImagesTuple& a, const ConvPanelsTuple& weight, const GeometryTuple& geometry,
                      bool wrap, Address out, const AffineTuple& affine, Size threads) {
  convolve(W1A1Conv<AffineOutput>{signs_at(a), panels_at(weight), geometry_of(geometry, a, weight), wrap,
                                  affine_into(out, affine)},
           threads);
}

void w1a1_conv_signs(const SignImagesTuple& a, const ConvPanelsTuple& weight, const GeometryTuple& geometry, bool wrap,
                     Address out, const ThresholdsTuple& thresholds, Size threads) {
  convolve(W1A1Conv<SignsOutput>{signs_at(a), panels_at(weight), geometry_of(geometry, a, weight), wrap,
                                 signs_into(out, thresholds)},
           threads);
}

void w1a1_conv_chain(const SignImagesTuple& a, const ConvPanelsTuple& weight, const GeometryTuple& geometry, bool wrap,
                     const ChainTuple& chain, Size threads) {
  convolve(W1A1Conv<ChainOutput>{signs_at(a), panels_at(weight), geometry_of(geometry, a, weight), wrap,
                                 chain_of(chain)},
           threads);
}

bool w1a8_conv(const ImagesTuple& x, const ConvPanelsTuple& weight, const GeometryTuple& geometry, Address out,
               const AffineTuple& affine, Size threads) {
  return convolve(
      W1A8Conv{floats_at(x), panels_at(weight), geometry_of(geometry, x, weight), affine_into(out, affine)}, threads);
}

void w1a32_conv(const ImagesTuple& x, const ConvPanelsTuple& weight, const GeometryTuple& geometry, Address out,
                const AffineTuple& affine, Size threads) {
  convolve(W1A32Conv{floats_at(x), panels_at(weight), geometry_of(geometry, x, weight), affine_into(out, affine)},
           threads);
}

Latents latents_at(const LatentsTuple& latents) {
  const auto [values, rows, columns, s, alpha, step] = latents;
  return {pointer<const float>(values), rows, columns, pointer<const float>(s), pointer<const float>(alpha), step};
}

ElementwiseMap map_of(const MapTuple& map) {
  const auto [kind, mu, a, b, cells] = map;
  return {kind, mu, a, b, pointer<const float>(cells)};
}

void mean_magnitudes(Address values, Size rows, Size columns, Address mean, Size threads) {
  proxconnect::mean_magnitudes(pointer<const float>(values), rows, columns, pointer<float>(mean), threads);
}

void settle_means(Address values, Size rows, Size columns, Address mean) {
  proxconnect::settle_means(pointer<const float>(values), rows, columns, pointer<float>(mean));
}

void quantize(const LatentsTuple& latents, const MapTuple& map, Address out, Address codes, Size threads) {
  proxconnect::quantize(latents_at(latents), map_of(map), pointer<float>(out), pointer<float>(codes), threads);
}

void quantize_by_means(const LatentsTuple& latents, const MapTuple& map, Address alpha, Address out, Address codes,
                       Size threads) {
  proxconnect::quantize_by_means(latents_at(latents), map_of(map), pointer<float>(alpha), pointer<float>(out),
                                 pointer<float>(codes), threads);
}

void scale_gradient(const LatentsTuple& latents, const MapTuple& map, Address g, Address out, Size threads) {
  proxconnect::scale_gradient(latents_at(latents), map_of(map), pointer<const float>(g), pointer<float>(out), threads);
}

void quantize_and_mark(Address x, Size size, const MapTuple& map, float mu, Address out, Address inside,
                       Size threads) {
  proxconnect::quantize_and_mark(pointer<const float>(x), size, map_of(map), mu, pointer<float>(out),
                                 pointer<std::uint16_t>(inside), threads);
}

void scale_marked(Address inside, Size size, float mu, Address g, Address out, Size threads) {
  proxconnect::scale_marked(pointer<const std::uint16_t>(inside), size, mu, pointer<const float>(g),
                            pointer<float>(out), threads);
}

void scale_outputs(Address y, Size rows, Size columns, Address scale, Address bias, Size threads) {
  proxconnect::scale_outputs(pointer<float>(y), rows, columns, pointer<const float>(scale),
                             pointer<const float>(bias), threads);
}

void activate(Address x, Size size, Activation activation, Address out, Size threads) {
  proxconnect::activate(pointer<const float>(x), size, activation, pointer<float>(out), threads);
}

void rms_norm(Address x, Size rows, Size columns, Address weight, float epsilon, Address out, Size threads) {
  proxconnect::rms_norm(pointer<const float>(x), rows, columns, pointer<const float>(weight), epsilon,
                        pointer<float>(out), threads);
}

void token_attention(const std::array<Address, 3>& token, const RotationTuple& rotation, const HeadsTuple& keys,
                     const HeadsTuple& values, const std::array<Size, 5>& sizes, float scale, Address out,
                     Size threads) {
  const auto rows = [](const HeadsTuple& of) {
    const auto [first, text, head, row] = of;
    return proxconnect::CachedRows{pointer<float>(first), text, head, row};
  };
  const auto [query, key, value] = token;
  const auto [cos, sin, turn] = rotation;
  const auto [texts, key_heads, queries, tokens, features] = sizes;
  proxconnect::token_attention({texts, key_heads, queries, tokens, features, turn, pointer<const float>(query),
                                pointer<const float>(key), pointer<const float>(value), pointer<const float>(cos),
                                pointer<const float>(sin), rows(keys), rows(values), scale, pointer<float>(out)},
                               threads);
}

bool attention(const HeadsTuple& query, const HeadsTuple& key, const HeadsTuple& value, const std::array<Size, 6>& sizes,
               float scale, bool bfloat16, Address out, Size threads) {
  const auto rows = [](const HeadsTuple& of) {
    const auto [values, batch, head, row] = of;
    return proxconnect::HeadsOfRows{pointer<const float>(values), batch, head, row};
  };
  const auto [batches, heads, queries, keys, features, outputs] = sizes;
  return proxconnect::attend({batches, heads, queries, keys, features, outputs, rows(query), rows(key), rows(value), scale,
                              pointer<float>(out)},
                             bfloat16, threads);
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
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const proxconnect::SizeError& error) {
      PyErr_SetString(nb::module_::import_("proxconnect.errors").attr("ProxConnectError").ptr(), error.what());
    }
  });
  module.attr("PANEL_WIDTH") = proxconnect::panel_width;
  module.attr("WORD_BITS") = proxconnect::word_bits;
  module.attr("W1A8_MOST_INPUTS") = proxconnect::w1a8_most_inputs;
  module.attr("TABLE_ROOT_SHIFT") = proxconnect::table_root_shift;
  module.attr("TABLE_SPLIT_BITS") = proxconnect::table_split_bits;
  nb::enum_<MapKind>(module, "MapKind")
      .value("identity", MapKind::identity)
      .value("sign", MapKind::sign)
      .value("ramp", MapKind::ramp)
      .value("binary_relax", MapKind::binary_relax)
      .value("polynomial", MapKind::polynomial)
      .value("tanh", MapKind::tanh)
      .value("sign_swish", MapKind::sign_swish)
      .value("monotone_sign_swish", MapKind::monotone_sign_swish)
      .value("reste", MapKind::reste)
      .value("table", MapKind::table);
  nb::enum_<StepKind>(module, "StepKind")
      .value("multiply", StepKind::multiply)
      .value("add", StepKind::add)
      .value("divide", StepKind::divide)
      .value("multiply_add", StepKind::multiply_add)
      .value("add_residual", StepKind::add_residual)
      .value("prelu", StepKind::prelu)
      .value("at_least", StepKind::at_least)
      .value("at_most", StepKind::at_most);
  nb::enum_<Activation>(module, "Activation")
      .value("gelu", Activation::gelu)
      .value("gelu_tanh", Activation::gelu_tanh);
  module.def("constants_of", &proxconnect::constants_of, "kind"_a);
  module.def("pack_signs", &pack_signs, "x"_a, "rows"_a, "columns"_a, "bits"_a, "threads"_a, released());
  module.def("pack_planes", &pack_planes, "x"_a, "count"_a, "channels"_a, "pixels"_a, "bits"_a, "threads"_a,
             released());
  module.def("unpack_weights", &unpack_weights, "signs"_a, "nonzero"_a, "scale"_a, "rows"_a, "columns"_a,
             "group"_a, "weights"_a, "threads"_a, released());
  module.def("padding_is_clear", &padding_is_clear, "rows"_a, "k"_a);
  module.def("make_panels", &make_panels, "rows"_a, "k"_a, "words"_a, "planes"_a, released());
  module.def("make_conv_panels", &make_conv_panels, "rows"_a, "panels"_a, released());
  module.def("w1a1_sums", &w1a1_sums, "a"_a, "weight"_a, "wrap"_a, "out"_a, "threads"_a, released());
  module.def("w1a1_affine", &w1a1_affine, "a"_a, "weight"_a, "wrap"_a, "out"_a, "affine"_a, "threads"_a, released());
  module.def("w1a1_signs", &w1a1_signs, "a"_a, "weight"_a, "wrap"_a, "out"_a, "thresholds"_a, "threads"_a, released());
  module.def("w1a1_chain", &w1a1_chain, "a"_a, "weight"_a, "wrap"_a, "chain"_a, "threads"_a, released());
  module.def("chain_rows", &chain_rows, "x"_a, "n"_a, "chain"_a, "threads"_a, released());
  module.def("w1a8", &w1a8, "x"_a, "weight"_a, "groups"_a, "greatest"_a, "out"_a, "affine"_a, "threads"_a,
             released());
  module.def("w1a32", &w1a32, "x"_a, "weight"_a, "groups"_a, "out"_a, "affine"_a, "threads"_a, released());
  module.def("w1a1_conv_sums", &w1a1_conv_sums, "a"_a, "weight"_a, "geometry"_a, "wrap"_a, "out"_a, "threads"_a,
             released());
  module.def("w1a1_conv_affine", &w1a1_conv_affine, "a"_a, "weight"_a, "geometry"_a, "wrap"_a, "out"_a, "affine"_a,
             "threads"_a, released());
  module.def("w1a1_conv_signs", &w1a1_conv_signs, "a"_a, "weight"_a, "geometry"_a, "wrap"_a, "out"_a, "thresholds"_a,
             "threads"_a, released());
  module.def("w1a1_conv_chain", &w1a1_conv_chain, "a"_a, "weight"_a, "geometry"_a, "wrap"_a, "chain"_a, "threads"_a,
             released());
  module.def("w1a8_conv", &w1a8_conv, "x"_a, "weight"_a, "geometry"_a, "out"_a, "affine"_a, "threads"_a, released());
  module.def("w1a32_conv", &w1a32_conv, "x"_a, "weight"_a, "geometry"_a, "out"_a, "affine"_a, "threads"_a, released());
  module.def("mean_magnitudes", &mean_magnitudes, "values"_a, "rows"_a, "columns"_a, "mean"_a, "threads"_a,
             released());
  module.def("settle_means", &settle_means, "values"_a, "rows"_a, "columns"_a, "mean"_a, released());
  module.def("quantize", &quantize, "latents"_a, "map"_a, "out"_a, "codes"_a, "threads"_a, released());
  module.def("quantize_by_means", &quantize_by_means, "latents"_a, "map"_a, "alpha"_a, "out"_a, "codes"_a,
             "threads"_a, released());
  module.def("scale_gradient", &scale_gradient, "latents"_a, "map"_a, "g"_a, "out"_a, "threads"_a, released());
  module.def("quantize_and_mark", &quantize_and_mark, "x"_a, "size"_a, "map"_a, "mu"_a, "out"_a, "inside"_a,
             "threads"_a, released());
  module.def("scale_marked", &scale_marked, "inside"_a, "size"_a, "mu"_a, "g"_a, "out"_a, "threads"_a, released());
  module.def("scale_outputs", &scale_outputs, "y"_a, "rows"_a, "columns"_a, "scale"_a, "bias"_a, "threads"_a,
             released());
  module.def("activate", &activate, "x"_a, "size"_a, "activation"_a, "out"_a, "threads"_a, released());
  module.def("attention", &attention, "query"_a, "key"_a, "value"_a, "sizes"_a, "scale"_a, "bfloat16"_a, "out"_a,
             "threads"_a, released());
  module.def("rms_norm", &rms_norm, "x"_a, "rows"_a, "columns"_a, "weight"_a, "epsilon"_a, "out"_a, "threads"_a,
             released());
  module.def("token_attention", &token_attention, "token"_a, "rotation"_a, "keys"_a, "values"_a, "sizes"_a, "scale"_a,
             "out"_a, "threads"_a, released());
  module.attr("MOST_ATTENTION_KEYS") = proxconnect::most_attention_keys;
  module.attr("MOST_ATTENTION_FEATURES") = proxconnect::most_attention_features;
  module.def("kernel_sets", &kernel_sets);
  module.def("active_kernels", &active_kernels);
  module.def("use_kernels", &proxconnect::use_kernels, "name"_a);
  module.def("cpu_features", &cpu_features);
}
