"""The functions of C that a network's steps call; a file has those that it needs."""

from __future__ import annotations

TYPES = """\
/* A matrix of whole numbers times scales, or of floats. `group` inputs share a scale; 0: all of a row. */
typedef struct {
    const float *values;
    const uint8_t *bits;   /* 1 stands for +1, or, with `signs`, for a number that is not 0 */
    const uint8_t *signs;
    const int8_t *codes;
    const float *scale;
    int inputs, group;
} Weight;

typedef struct {
    int channels, height, width, outputs, out_height, out_width, kernel_y, kernel_x;
    int stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, groups;
} Window;
"""

# By name, the functions that a function calls, and its text.
FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "weight_at": (
        (),
        """\
static float weight_at(const Weight *w, int o, int k) {
    float scale;
    int code;
    if (w->values) return w->values[(long)o * w->inputs + k];
    scale = w->scale[w->group ? o * ((w->inputs + w->group - 1) / w->group) + k / w->group : o];
    if (w->codes) {
        code = w->codes[(long)o * w->inputs + k];
    } else {
        const long byte = (long)o * ((w->inputs + 7) / 8) + k / 8;
        code = w->bits[byte] >> (k % 8) & 1;
        if (!w->signs) return code ? scale : -scale;
        if (code) code = (w->signs[byte] >> (k % 8) & 1) ? 1 : -1;
    }
    return (float)code * scale;
}
""",
    ),
    "linear": (
        ("weight_at",),
        """\
/* y[r][o] = sum over k of x[r][k] w[o][k], plus bias; t is room for one row of w. */
static void linear(const float *x, const Weight *w, const float *bias, float *y, int rows, int outputs,
                   float *t) {
    const int n = w->inputs, whole = n - n % 8;
    for (int o = 0; o < outputs; ++o) {
        for (int k = 0; k < n; ++k) t[k] = weight_at(w, o, k);
        for (int r = 0; r < rows; ++r) {
            const float *row = x + (long)r * n;
            float sums[8] = {0}, sum = bias ? bias[o] : 0.0f;
            for (int k = 0; k < whole; k += 8) {
                for (int j = 0; j < 8; ++j) sums[j] += row[k + j] * t[k + j];
            }
            for (int k = whole; k < n; ++k) sums[0] += row[k] * t[k];
            for (int j = 0; j < 8; ++j) sum += sums[j];
            y[(long)r * outputs + o] = sum;
        }
    }
}
""",
    ),
    "conv2d": (
        ("weight_at",),
        """\
static int least(int a, int b) { return a < b ? a : b; }

/* The first output of a tap whose input is not before the image, and the first whose input is behind it. */
static int first_inside(int from, int stride) { return from >= 0 ? 0 : (-from + stride - 1) / stride; }
static int first_behind(int from, int stride, int size, int outputs) {
    return from >= size ? 0 : least(outputs, (size - from + stride - 1) / stride);
}

static void conv2d(const float *x, const Weight *w, const float *bias, float *y, const Window *g) {
    const int inputs = g->channels / g->groups, outputs = g->outputs / g->groups;
    const int plane = g->out_height * g->out_width;
    for (int o = 0; o < g->outputs; ++o) {
        float *to = y + (long)o * plane;
        int k = 0;
        for (int i = 0; i < plane; ++i) to[i] = bias ? bias[o] : 0.0f;
        for (int c = 0; c < inputs; ++c) {
            const float *from = x + (long)(o / outputs * inputs + c) * g->height * g->width;
            for (int ky = 0; ky < g->kernel_y; ++ky) {
                for (int kx = 0; kx < g->kernel_x; ++kx, ++k) {
                    const float factor = weight_at(w, o, k);
                    const int y0 = ky * g->dilation_y - g->pad_y, x0 = kx * g->dilation_x - g->pad_x;
                    const int bottom = first_behind(y0, g->stride_y, g->height, g->out_height);
                    const int left = first_inside(x0, g->stride_x);
                    const int right = first_behind(x0, g->stride_x, g->width, g->out_width);
                    for (int i = first_inside(y0, g->stride_y); i < bottom; ++i) {
                        const long row = (long)(i * g->stride_y + y0) * g->width + x0;
                        float *sums = to + i * g->out_width;
                        for (int j = left; j < right; ++j) sums[j] += factor * from[row + j * g->stride_x];
                    }
                }
            }
        }
    }
}
""",
    ),
    "popcount": (
        (),
        """\
static int popcount(uint32_t v) {
    v -= v >> 1 & 0x55555555u;
    v = (v & 0x33333333u) + (v >> 2 & 0x33333333u);
    return (int)(((v + (v >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24);
}
""",
    ),
    "pack_signs": (
        (),
        """\
/* Signs of n rows of k numbers that are `step` apart; rows are `next` apart. Bit 1 stands for +1. */
static void pack_signs(const float *x, uint32_t *y, int n, int k, int step, int next) {
    const int words = (k + 31) / 32;
    for (int r = 0; r < n; ++r) {
        for (int i = 0; i < words; ++i) {
            uint32_t word = 0;
            for (int j = 0; j < 32 && 32 * i + j < k; ++j) {
                if (!(x[(long)r * next + (long)(32 * i + j) * step] < 0)) word |= (uint32_t)1 << j;
            }
            y[(long)r * words + i] = word;
        }
    }
}
""",
    ),
    "linear_signs": (
        ("popcount",),
        """\
/* Sums of products of signs: k, less twice the number of bits that differ. */
static void linear_signs(const uint32_t *x, const uint32_t *w, float *y, int rows, int outputs, int k) {
    const int words = (k + 31) / 32;
    for (int r = 0; r < rows; ++r) {
        for (int o = 0; o < outputs; ++o) {
            int differ = 0;
            for (int i = 0; i < words; ++i) differ += popcount(x[r * words + i] ^ w[(long)o * words + i]);
            y[(long)r * outputs + o] = (float)(k - 2 * differ);
        }
    }
}
""",
    ),
    "conv2d_signs": (
        ("popcount",),
        """\
/* x[y][x][word], w[o][ky][kx][word]; taps beyond the image add nothing. */
static void conv2d_signs(const uint32_t *x, const uint32_t *w, float *y, const Window *g) {
    const int words = (g->channels + 31) / 32, taps = g->kernel_y * g->kernel_x;
    for (int i = 0; i < g->out_height; ++i) {
        for (int j = 0; j < g->out_width; ++j) {
            for (int o = 0; o < g->outputs; ++o) {
                int sum = 0;
                for (int tap = 0; tap < taps; ++tap) {
                    const int iy = i * g->stride_y - g->pad_y + tap / g->kernel_x * g->dilation_y;
                    const int ix = j * g->stride_x - g->pad_x + tap % g->kernel_x * g->dilation_x;
                    const long a = ((long)iy * g->width + ix) * words, b = ((long)o * taps + tap) * words;
                    if (iy < 0 || iy >= g->height || ix < 0 || ix >= g->width) continue;
                    sum += g->channels;
                    for (int k = 0; k < words; ++k) sum -= 2 * popcount(x[a + k] ^ w[b + k]);
                }
                y[((long)o * g->out_height + i) * g->out_width + j] = (float)sum;
            }
        }
    }
}
""",
    ),
    "pool2d": (
        (),
        """\
/* The largest number of each window, or its mean: over the window with its padding, or inside the image. */
static void pool2d(const float *x, float *y, const Window *g, int mean, int with_padding) {
    for (int c = 0; c < g->channels; ++c) {
        for (int i = 0; i < g->out_height; ++i) {
            for (int j = 0; j < g->out_width; ++j) {
                float best = 0, sum = 0;
                int count = 0;
                for (int tap = 0; tap < g->kernel_y * g->kernel_x; ++tap) {
                    const int iy = i * g->stride_y - g->pad_y + tap / g->kernel_x * g->dilation_y;
                    const int ix = j * g->stride_x - g->pad_x + tap % g->kernel_x * g->dilation_x;
                    float v;
                    if (iy < 0 || iy >= g->height || ix < 0 || ix >= g->width) continue;
                    v = x[((long)c * g->height + iy) * g->width + ix];
                    best = count == 0 || v > best ? v : best;
                    sum += v;
                    ++count;
                }
                if (with_padding) count = g->kernel_y * g->kernel_x;
                y[((long)c * g->out_height + i) * g->out_width + j] = mean ? sum / (float)count : best;
            }
        }
    }
}
""",
    ),
    "layer_norm": (
        (),
        """\
static void layer_norm(const float *x, const float *weight, const float *bias, float *y, int rows, int n,
                       float epsilon) {
    for (int r = 0; r < rows; ++r, x += n, y += n) {
        float mean = 0, variance = 0, gain;
        for (int i = 0; i < n; ++i) mean += x[i];
        mean /= (float)n;
        for (int i = 0; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
        gain = 1.0f / sqrtf(variance / (float)n + epsilon);
        for (int i = 0; i < n; ++i) {
            y[i] = (x[i] - mean) * gain * (weight ? weight[i] : 1.0f) + (bias ? bias[i] : 0.0f);
        }
    }
}
""",
    ),
    "softmax": (
        (),
        """\
/* Along rows of n numbers that are `step` apart; `logarithm` for log_softmax. */
static void softmax(const float *x, float *y, int rows, int n, int step, int logarithm) {
    for (int r = 0; r < rows; ++r) {
        const long first = (long)(r / step) * n * step + r % step;
        float most = x[first], sum = 0;
        for (int i = 1; i < n; ++i) {
            const float v = x[first + (long)i * step];
            most = v > most ? v : most;
        }
        for (int i = 0; i < n; ++i) sum += expf(x[first + (long)i * step] - most);
        for (int i = 0; i < n; ++i) {
            const float v = x[first + (long)i * step] - most;
            y[first + (long)i * step] = logarithm ? v - logf(sum) : expf(v) / sum;
        }
    }
}
""",
    ),
    "attention": (
        ("softmax",),
        """\
/* For each of `heads`: softmax(scale q k') v, of q[m][e], k[n][e] and v[n][f]; t is room for n numbers. */
static void attention(const float *q, const float *k, const float *v, float *y, int heads, int m, int n,
                      int e, int f, float scale, int causal, float *t) {
    for (int h = 0; h < heads; ++h, q += (long)m * e, k += (long)n * e, v += (long)n * f) {
        for (int i = 0; i < m; ++i, y += f) {
            const int seen = causal && i + 1 < n ? i + 1 : n;
            for (int j = 0; j < seen; ++j) {
                float sum = 0;
                for (int c = 0; c < e; ++c) sum += q[(long)i * e + c] * k[(long)j * e + c];
                t[j] = scale * sum;
            }
            softmax(t, t, 1, seen, 1, 0);
            for (int c = 0; c < f; ++c) y[c] = 0;
            for (int j = 0; j < seen; ++j) {
                for (int c = 0; c < f; ++c) y[c] += t[j] * v[(long)j * f + c];
            }
        }
    }
}
""",
    ),
}


def texts(names: set[str]) -> list[str]:
    """Return the text of these functions and of those that they call, in an order in which C takes them."""
    needed = set(names)
    for name, (calls, _) in reversed(FUNCTIONS.items()):
        if name in needed:
            needed |= set(calls)
    return [text for name, (_, text) in FUNCTIONS.items() if name in needed]
