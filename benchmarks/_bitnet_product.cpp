// A product of bitnet.cpp's I2_S kernels, called as its documentation says: for one row of inputs several rows of weights
// at once, else tiles of its own sizes with several rows of inputs at once. Its source is on the include path.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

// What the source takes from ggml.
constexpr int GGML_TYPE_I2_S = 0;
inline std::size_t ggml_row_size(int, std::int64_t columns) { return static_cast<std::size_t>(columns); }

#include "src/ggml-bitnet-mad.cpp"

namespace {

// A code is 1 more than its weight, so that the sum of the inputs is to be taken off a product of codes.
struct Inputs {
    float step;
    float sum;
};

Inputs quantized(const float* x, std::int8_t* codes, int k) {
    float largest = 1e-30F;
    for (int i = 0; i < k; ++i) largest = std::max(largest, std::fabs(x[i]));
    const float scale = 127 / largest;
    int sum = 0;
    for (int i = 0; i < k; ++i) {
        const int code = static_cast<int>(std::lrint(x[i] * scale));
        codes[i] = static_cast<std::int8_t>(code);
        sum += code;
    }
    return {1 / scale, static_cast<float>(sum)};
}

}  // namespace

extern "C" void bitnet_pack(const float* weight, void* codes, int n, int k) { quantize_i2_s(weight, codes, n, k, nullptr); }

// The codes and scales of the inputs are scratch memory: m x k bytes and m pairs.
extern "C" void bitnet_product(const float* x, const std::uint8_t* weight, float* y, std::int8_t* codes, Inputs* inputs, int m,
                               int n, int k, int threads) {
#pragma omp parallel num_threads(threads)
    {
#pragma omp for
        for (int i = 0; i < m; ++i) inputs[i] = quantized(x + std::ptrdiff_t{i} * k, codes + std::ptrdiff_t{i} * k, k);
#pragma omp for
        for (int first = 0; first < n; first += COL_BLOCK_SIZE) {
            const int columns = std::min(COL_BLOCK_SIZE, n - first);
            const std::uint8_t* block = weight + std::ptrdiff_t{first} * k / 4;
            for (int row = 0; row < m; row += ROW_BLOCK_SIZE) {
                const int rows = std::min(ROW_BLOCK_SIZE, m - row);
                float* out = y + std::ptrdiff_t{row} * n + first;
                const std::int8_t* tile = codes + std::ptrdiff_t{row} * k;
                if (m == 1) {
                    ggml_vec_dot_i2_i8_s_1xN(k, out, 1, block, k, tile, 0, columns);
                } else if (rows % PARALLEL_SIZE == 0) {
                    for (int column = 0; column < columns; ++column)
                        ggml_vec_dot_i2_i8_s_Nx1(k, out + column, n, block + std::ptrdiff_t{column} * k / 4, 0, tile, k, rows);
                } else {
                    for (int i = 0; i < rows; ++i)
                        ggml_vec_dot_i2_i8_s_1x1(k, out + std::ptrdiff_t{i} * n, 1, block, k, tile + std::ptrdiff_t{i} * k, 0,
                                                 columns);
                }
                for (int i = 0; i < rows; ++i)
                    for (int column = 0; column < columns; ++column) {
                        float& value = out[std::ptrdiff_t{i} * n + column];
                        value = (value - inputs[row + i].sum) * inputs[row + i].step;
                    }
            }
        }
    }
}
