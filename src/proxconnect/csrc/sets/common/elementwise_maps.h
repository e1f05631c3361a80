// The maps of training as pairs of functions of sixteen lanes. proxconnect/quantizers has each in torch, operation by
// operation.
#pragma once

#include "interface/maps.h"
#include "sets/common/float_table.h"
#include "sets/common/vector_math.h"

namespace proxconnect {
namespace {

struct Identity {
  Floats value(Floats w) const { return w; }
  Floats slope(Floats) const { return broadcast(1.0f); }
};

struct Sign {
  Floats value(Floats w) const { return where_below(w, Floats{}, broadcast(-1.0f), broadcast(1.0f)); }
  Floats slope(Floats) const { return Floats{}; }
};

struct Ramp {
  float mu;
  Floats value(Floats w) const { return clipped(mu * w, -1.0f, 1.0f); }
  Floats slope(Floats w) const {
    return where_at_most(magnitude(mu * w), broadcast(1.0f), broadcast(mu), Floats{});
  }
};

struct BinaryRelax {
  float mu;
  Floats value(Floats w) const {
    const Floats q = Sign{}.value(w);
    return (w - q) / (1.0f + mu) + q;
  }
  Floats slope(Floats) const { return broadcast(1.0f / (1.0f + mu)); }
};

struct Polynomial {
  float mu;
  Floats value(Floats w) const {
    const Floats u = clipped(mu * w, -1.0f, 1.0f);
    return (2.0f - magnitude(u)) * u;
  }
  Floats slope(Floats w) const { return (1.0f - at_most(magnitude(mu * w), 1.0f)) * (2.0f * mu); }
};

struct Tanh {
  float mu;
  float size() const { return own::max(1.0f / mu, 1.0f); }
  Floats value(Floats w) const { return size() * hyperbolic_tangent(mu * w); }
  Floats slope(Floats w) const {
    const Floats p = logistic(-2.0f * magnitude(mu * w));
    return size() * mu * ((p - p * p) * 4.0f);
  }
};

// tanh(h) + h sech^2(h), and a quarter of its slope as a function of -2 |h|. With d = 1 - tanh |h|, sech^2(h) is
// d (2 - d), where 1 - tanh^2 would cancel.
inline Floats swish(Floats h) {
  const Floats d = tanh_below_one(magnitude(h));
  return d * (2.0f - d) * h + hyperbolic_tangent(h);
}
inline Floats quarter_of_swish_slope(Floats minus_size) {
  const Floats p = logistic(minus_size);
  return ((0.5f - p) * minus_size + 1.0f) * (p - p * p);
}

constexpr float saturated = 400.0f;  // keeps infinite arguments from producing inf * 0
constexpr float turn = 1.1996786402577338f;

struct SignSwish {
  float mu;
  Floats value(Floats w) const { return swish(clipped(0.5f * mu * w, -saturated, saturated)); }
  Floats slope(Floats w) const {
    return quarter_of_swish_slope(at_least(magnitude(w) * -mu, -2.0f * saturated)) * (4.0f * mu);
  }
};

struct MonotoneSignSwish {
  float mu;
  Floats value(Floats w) const {
    constexpr float peak = turn * (1.0f - 0x1p-21f);  // as in torch: at the turn the value is 1, not nearly so
    return clipped(swish(clipped(0.5f * mu * w, -turn, turn)) / peak, -1.0f, 1.0f);
  }
  Floats slope(Floats w) const {
    const Floats minus_size = magnitude(w) * -mu;
    const Floats slope = at_least(quarter_of_swish_slope(at_least(minus_size, -2.0f * saturated)), 0.0f);
    return where_below(broadcast(-2.0f * turn), minus_size, slope * (4.0f * mu / turn), Floats{});
  }
};

struct Reste {
  float mu;
  float m;
  float t;
  float root() const { return 1.0f / own::max(mu, 1.0f); }
  Floats bounded_power(Floats size, float exponent) const { return power(clipped(size, m, t), exponent); }
  Floats value(Floats w) const { return clipped(w / m, -1.0f, 1.0f) * bounded_power(magnitude(w), root()); }
  Floats slope(Floats w) const {
    const Floats size = magnitude(w);
    const Floats slope = bounded_power(size, root() - 1.0f);
    const Floats beyond_m = where_at_most(size, broadcast(t), root() * slope, Floats{});
    return where_at_most(size, broadcast(m), slope, beyond_m);
  }
};

struct Table {
  float inner;
  float factor;
  float shift;
  const float* cells;
  Floats value(Floats w) const { return factor * look_up(cells, w) + shift; }
  Floats slope(Floats w) const { return value(w); }
};

// The argument w / s of a map. That of a table is scaled too, in one multiplication.
template <typename Map>
inline Floats argument(const Map&, const Floats& w, float s) {
  return w / s;
}
inline Floats argument(const Table& map, const Floats& w, float s) {
  return w * own::min(map.inner / s, 3.402823466e38f);
}

// Calls use(map) with the map of that kind.
template <typename Use>
void with_map(const ElementwiseMap& map, const Use& use) {
  switch (map.kind) {
    case MapKind::identity: return use(Identity{});
    case MapKind::sign: return use(Sign{});
    case MapKind::ramp: return use(Ramp{own::max(map.mu, map.a)});
    case MapKind::binary_relax: return use(BinaryRelax{map.mu});
    case MapKind::polynomial: return use(Polynomial{map.mu});
    case MapKind::tanh: return use(Tanh{map.mu});
    case MapKind::sign_swish: return use(SignSwish{map.mu});
    case MapKind::monotone_sign_swish: return use(MonotoneSignSwish{map.mu});
    case MapKind::reste: return use(Reste{map.mu, map.a, map.b});
    case MapKind::table: return use(Table{map.mu, map.a, map.b, map.cells});
  }
}

}  // namespace
}  // namespace proxconnect
