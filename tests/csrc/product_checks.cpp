// Checks products of matrices, packing and unpacking.

#include <utility>

#include "checks.h"
#include "drivers/gemm.h"
#include "drivers/packing.h"

namespace {

void check_pack_signs(CaseFile& file) {
  const int64_t rows = file.number();
  const int64_t columns = file.number();
  const auto x = file.array<float>();
  const int64_t nan = file.number();
  auto expected = file.array<std::uint8_t>();
  const std::string what = described("pack_signs", rows, 0, columns);
  check(what, expected, [&](std::uint8_t* bits, Run run) {
    const Guarded<float> from(x, run.edge);
    expect(pack_signs(from.get(), rows, columns, bits, run.threads) == nan, what + " reports another NaN");
    if (nan >= 0) std::memcpy(bits, expected.data(), expected.size());  // unspecified
  });
}

void check_unpack_weights(CaseFile& file) {
  const int64_t rows = file.number();
  const int64_t columns = file.number();
  const int64_t group = file.number();
  const auto bits = file.array<std::uint8_t>();
  const auto nonzero = file.array<std::uint8_t>();
  const auto scale = file.array<float>();
  check(described("unpack_weights", rows, group, columns), file.array<float>(), [&](float* weights, Run run) {
    const Guarded<std::uint8_t> from(bits, run.edge);
    const Guarded<std::uint8_t> present(nonzero, run.edge);
    const Guarded<float> scales(scale, run.edge);
    unpack_weights({from.get(), present.or_null(), scales.get(), columns, group}, rows, weights, run.threads);
  });
}

// The sizes of a product and its weight.
struct Weight {
  int64_t m, n, k;
  std::vector<std::uint8_t> bits;
  std::vector<std::uint32_t> words;

  explicit Weight(CaseFile& file)
      : m(file.number()), n(file.number()), k(file.number()), bits(file.array<std::uint8_t>()) {
    lay_out(bits, 0, 1);
  }

  void lay_out(const std::vector<std::uint8_t>& plane, int64_t place, int64_t planes) {
    const auto panel = words_of(k) * panel_width;
    words.resize(static_cast<std::size_t>(planes * panels_of(n) * panel));
    make_panels({plane.data(), packed_width(k), n}, k, words.data() + place * panel, planes);
  }
};

// A weight whose second plane of signs makes it ternary, if there is one.
struct PlanesOfWeight : Weight {
  int64_t planes = 1;

  explicit PlanesOfWeight(CaseFile& file) : Weight(file) {
    const auto second = file.array<std::uint8_t>();
    if (second.empty()) return;
    planes = 2;
    lay_out(bits, 0, planes);
    lay_out(second, 1, planes);
  }
};

// What follows the sums of groups: their scales are halves where there are some.
struct GroupsAffine : Affine {
  std::vector<std::uint16_t> halves;

  explicit GroupsAffine(CaseFile& file) : GroupsAffine(file.array<std::uint16_t>(), file) {}

 private:
  GroupsAffine(std::vector<std::uint16_t> scales, CaseFile& file) : Affine(file), halves(std::move(scales)) {}
};

struct GuardedGroups : GuardedAffine {
  Guarded<std::uint16_t> halves;

  GuardedGroups(const GroupsAffine& affine, Edge edge) : GuardedAffine(affine, edge), halves(affine.halves, edge) {}

  GroupsOutput output(float* out) const {
    const bool half = halves.or_null() != nullptr;
    const void* const scales = half ? static_cast<const void*>(halves.get()) : scale.get();
    return {out, {scales, half}, bias.get(), residual.or_null(), slope.or_null()};
  }
};

struct WeightPanels : Guarded<std::uint32_t> {
  Panels panels;

  WeightPanels(const Weight& weight, Edge edge, int64_t planes = 1)
      : Guarded(weight.words, edge), panels{get(), weight.n, weight.k, planes} {}
};

struct SignOperand : Guarded<std::uint8_t> {
  SignRows rows;

  SignOperand(const std::vector<std::uint8_t>& a, const Weight& weight, Edge edge)
      : Guarded(a, packed_width(weight.k), edge), rows{get(), stride(), weight.m} {}
};

struct FloatOperand : Guarded<float> {
  FloatRows rows;

  FloatOperand(const std::vector<float>& x, const Weight& weight, Edge edge)
      : Guarded(x, weight.k, edge), rows{get(), stride(), weight.m} {}
};

void check_w1a1_sums(CaseFile& file) {
  const Weight weight(file);
  const bool wrap = file.number() != 0;
  const auto a = file.array<std::uint8_t>();
  check(described("w1a1_sums", weight.m, weight.n, weight.k), file.array<std::int32_t>(),
        [&](std::int32_t* out, Run run) {
          const WeightPanels b(weight, run.edge);
          const SignOperand rows(a, weight, run.edge);
          gemm(W1A1<SumsOutput>{rows.rows, b.panels, wrap, {out}}, run.threads);
        });
}

void check_w1a1_affine(CaseFile& file) {
  const Weight weight(file);
  const bool wrap = file.number() != 0;
  const auto a = file.array<std::uint8_t>();
  const Affine affine(file);
  check(described("w1a1_affine", weight.m, weight.n, weight.k), file.array<float>(), [&](float* out, Run run) {
    const WeightPanels b(weight, run.edge);
    const SignOperand rows(a, weight, run.edge);
    const GuardedAffine finish(affine, run.edge);
    gemm(W1A1<AffineOutput>{rows.rows, b.panels, wrap, finish.output(out)}, run.threads);
  });
}

void check_w1a1_signs(CaseFile& file) {
  const Weight weight(file);
  const bool wrap = file.number() != 0;
  const auto a = file.array<std::uint8_t>();
  const auto threshold = file.array<std::int32_t>();
  const auto flip = file.array<std::uint8_t>();
  check(described("w1a1_signs", weight.m, weight.n, weight.k), file.array<std::uint8_t>(),
        [&](std::uint8_t* out, Run run) {
          const WeightPanels b(weight, run.edge);
          const SignOperand rows(a, weight, run.edge);
          const Guarded<std::int32_t> thresholds(threshold, run.edge);
          const Guarded<std::uint8_t> flips(flip, run.edge);
          gemm(W1A1<SignsOutput>{rows.rows, b.panels, wrap, {out, thresholds.get(), flips.get()}}, run.threads);
        });
}

void check_w1a8(CaseFile& file) {
  const PlanesOfWeight weight(file);
  const int64_t group = file.number();
  const auto greatest = static_cast<int32_t>(file.number());
  const auto x = file.array<float>();
  const GroupsAffine affine(file);
  const bool finite = file.number() != 0;
  const auto expected = file.array<float>();
  const std::string what = described("w1a8", weight.m, weight.n, weight.k);
  check(what, expected, [&](float* out, Run run) {
    const WeightPanels b(weight, run.edge, weight.planes);
    const FloatOperand rows(x, weight, run.edge);
    const GuardedGroups finish(affine, run.edge);
    const bool found = gemm(W1A8{rows.rows, b.panels, group, finish.output(out), greatest}, run.threads);
    expect(found == finite, what + " takes numbers for infinities, or the reverse");
    if (!finite) std::memcpy(out, expected.data(), expected.size() * sizeof(float));  // unspecified
  });
}

void check_w1a32(CaseFile& file) {
  const PlanesOfWeight weight(file);
  const int64_t group = file.number();
  const auto x = file.array<float>();
  const GroupsAffine affine(file);
  check(described("w1a32", weight.m, weight.n, weight.k), file.array<float>(), [&](float* out, Run run) {
    const WeightPanels b(weight, run.edge, weight.planes);
    const FloatOperand rows(x, weight, run.edge);
    const GuardedGroups finish(affine, run.edge);
    gemm(W1A32{rows.rows, b.panels, group, finish.output(out)}, run.threads);
  });
}

}  // namespace

Checks product_checks() {
  return {{"pack_signs", check_pack_signs},   {"unpack_weights", check_unpack_weights}, {"w1a1_sums", check_w1a1_sums},
          {"w1a1_affine", check_w1a1_affine}, {"w1a1_signs", check_w1a1_signs},         {"w1a8", check_w1a8},
          {"w1a32", check_w1a32}};
}
