// What a decoder computes between its products.

#include "checks.h"
#include "drivers/decoding.h"

namespace {

void check_rms_norm(CaseFile& file) {
  const int64_t rows = file.number(), columns = file.number();
  const float epsilon = file.array<float>()[0];
  const auto x = file.array<float>(), weight = file.array<float>();
  const std::string what = described("rms_norm", rows, 0, columns);
  check(what, file.array<float>(), [&](float* out, Run run) {
    const Guarded<float> weights(weight, run.edge), inputs(x, run.edge);
    rms_norm(inputs.get(), rows, columns, weights.get(), epsilon, out, run.threads);
    rms_norm(inputs.get(), rows, columns, weights.get(), epsilon, inputs.get(), run.threads);
    expect(same(inputs.values(), std::vector<float>(out, out + rows * columns)), what + " differs in place");
  });
}

void check_token_attention(CaseFile& file) {
  int64_t size[6];
  for (int64_t& one : size) one = file.number();
  const auto [texts, heads, queries, tokens, features, turns] = size;
  const float scale = file.array<float>()[0];
  std::vector<float> given[7];
  for (auto& one : given) one = file.array<float>();
  const auto new_keys = file.array<float>(), new_values = file.array<float>();
  const std::string what = described("token_attention", queries, tokens, features);
  check(what, file.array<float>(), [&](float* out, Run run) {
    const Guarded<float> query(given[0], run.edge), key(given[1], run.edge), value(given[2], run.edge);
    const Guarded<float> cos(given[3], run.edge), sin(given[4], run.edge);
    const Guarded<float> keys(given[5], run.edge), values(given[6], run.edge);
    const auto rows = [&](const Guarded<float>& of) {
      return CachedRows{of.get(), heads * tokens * features, tokens * features, features};
    };
    token_attention({texts, heads, queries, tokens, features, turns > 1 ? features : 0, query.get(), key.get(),
                     value.get(), cos.get(), sin.get(), rows(keys), rows(values), scale, out},
                    run.threads);
    expect(same(keys.values(), new_keys), what + " writes other keys");
    expect(same(values.values(), new_values), what + " writes other values");
  });
}

}  // namespace

Checks decoding_checks() { return {{"rms_norm", check_rms_norm}, {"token_attention", check_token_attention}}; }
