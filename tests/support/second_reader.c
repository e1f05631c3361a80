/* A second reader of packed files in C99, written from docs/format.md alone: it decodes the weights.

   second_reader FILE writes, for each weight, a line "dtype<TAB>size size ...<TAB>name" and then its numbers,
   little-endian and in row-major order. It ends with 1 and a line on stderr if the file breaks a rule. It
   checks what it relies on, and not every rule of the page. For little-endian machines. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned char byte;

static void refuse(const char *why) {
    fprintf(stderr, "refused: %s\n", why);
    exit(1);
}

static void require(int condition, const char *why) {
    if (!condition) refuse(why);
}

static void *memory(size_t size) {
    void *found = calloc(1, size + 1);
    require(found != NULL, "out of memory");
    return found;
}

/* SHA-256 (FIPS 180-4) */

static const uint32_t ROUNDS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turned(uint32_t x, int by) { return x >> by | x << (32 - by); }

static void sha256(const byte *data, size_t size, char hex[65]) {
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    size_t padded = (size + 8) / 64 * 64 + 64;
    byte *text = memory(padded);
    memcpy(text, data, size);
    text[size] = 0x80;
    for (int i = 0; i < 8; i++) text[padded - 1 - i] = (byte)((uint64_t)size * 8 >> 8 * i);
    for (size_t at = 0; at < padded; at += 64) {
        uint32_t w[64], s[8];
        for (int i = 0; i < 16; i++) {
            const byte *p = text + at + 4 * i;
            w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
        for (int i = 16; i < 64; i++) {
            uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + w[i - 7] + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) +
                   (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
        }
        memcpy(s, h, sizeof s);
        for (int i = 0; i < 64; i++) {
            uint32_t a = s[0], e = s[4];
            uint32_t one = s[7] + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) +
                           ((e & s[5]) ^ (~e & s[6])) + ROUNDS[i] + w[i];
            uint32_t two = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) +
                           ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
            memmove(s + 1, s, 7 * sizeof *s);
            s[4] += one;
            s[0] = one + two;
        }
        for (int i = 0; i < 8; i++) h[i] += s[i];
    }
    for (int i = 0; i < 8; i++) sprintf(hex + 8 * i, "%08x", (unsigned)h[i]);
    free(text);
}

/* zlib (RFC 1950) and deflate (RFC 1951) */

typedef struct {
    const byte *data;
    size_t size, at;
    uint32_t held;
    int bits;
} Stream;

static unsigned take(Stream *in, int count) {
    while (in->bits < count) {
        require(in->at < in->size, "a zlib stream that ends early");
        in->held |= (uint32_t)in->data[in->at++] << in->bits;
        in->bits += 8;
    }
    unsigned found = in->held & ((1u << count) - 1);
    in->held >>= count;
    in->bits -= count;
    return found;
}

typedef struct {
    uint16_t counts[16], symbols[288];
} Code;

static void make_code(Code *code, const byte *lengths, int symbols) {
    uint16_t places[16] = {0};
    memset(code->counts, 0, sizeof code->counts);
    for (int i = 0; i < symbols; i++) code->counts[lengths[i]]++;
    code->counts[0] = 0;
    for (int i = 1; i < 16; i++) places[i] = (uint16_t)(places[i - 1] + code->counts[i - 1]);
    for (int i = 0; i < symbols; i++)
        if (lengths[i]) code->symbols[places[lengths[i]]++] = (uint16_t)i;
}

static int symbol(Stream *in, const Code *code) {
    int value = 0, first = 0, index = 0;
    for (int length = 1; length < 16; length++) {
        int count = code->counts[length];
        value |= (int)take(in, 1);
        if (value - first < count) return code->symbols[index + value - first];
        index += count;
        first = (first + count) << 1;
        value <<= 1;
    }
    refuse("a zlib stream with an unknown code");
    return 0;
}

static void inflate_block(Stream *in, const Code *literals, const Code *distances, byte *out, size_t size, size_t *at) {
    static const uint16_t LENGTHS[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                       31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const byte LENGTH_BITS[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t DISTANCES[] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                         193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    static const byte DISTANCE_BITS[] = {0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
    for (;;) {
        int found = symbol(in, literals);
        if (found == 256) return;
        if (found < 256) {
            require(*at < size, "a zlib stream longer than declared");
            out[(*at)++] = (byte)found;
            continue;
        }
        require(found < 286, "a zlib stream with an unknown length");
        size_t length = LENGTHS[found - 257] + take(in, LENGTH_BITS[found - 257]);
        int far = symbol(in, distances);
        require(far < 30, "a zlib stream with an unknown distance");
        size_t distance = DISTANCES[far] + take(in, DISTANCE_BITS[far]);
        require(distance <= *at && length <= size - *at, "a zlib stream longer than declared");
        for (; length; length--, (*at)++) out[*at] = out[*at - distance];
    }
}

static byte *inflate(const byte *data, size_t packed, size_t size) {
    static const byte ORDER[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    Stream in = {data, packed, 2, 0, 0};
    byte *out = memory(size);
    size_t at = 0;
    require(packed >= 6 && (data[0] & 15) == 8 && (data[0] * 256 + data[1]) % 31 == 0 && !(data[1] & 32), "no zlib stream");
    for (int last = 0; !last;) {
        Code literals, distances;
        byte lengths[320] = {0};
        last = (int)take(&in, 1);
        unsigned kind = take(&in, 2);
        require(kind < 3, "a zlib stream with an unknown block");
        if (kind == 0) {
            in.held = 0, in.bits = 0;
            unsigned length = take(&in, 16);
            require(take(&in, 16) == (length ^ 0xffff), "a zlib stream with a damaged block");
            require(length <= in.size - in.at && length <= size - at, "a zlib stream longer than declared");
            memcpy(out + at, data + in.at, length);
            in.at += length, at += length;
            continue;
        }
        if (kind == 1) {
            for (int i = 0; i < 288; i++) lengths[i] = (byte)(i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8);
            make_code(&literals, lengths, 288);
            memset(lengths, 5, 30);
            make_code(&distances, lengths, 30);
        } else {
            int count = (int)take(&in, 5) + 257, far = (int)take(&in, 5) + 1, orders = (int)take(&in, 4) + 4;
            require(count <= 286 && far <= 30, "a zlib stream with too many codes");
            for (int i = 0; i < orders; i++) lengths[ORDER[i]] = (byte)take(&in, 3);
            make_code(&literals, lengths, 19);
            memset(lengths, 0, sizeof lengths);
            for (int i = 0; i < count + far;) {
                int found = symbol(&in, &literals);
                if (found < 16) {
                    lengths[i++] = (byte)found;
                    continue;
                }
                require(found > 16 || i > 0, "a zlib stream that repeats nothing");
                byte value = found == 16 ? lengths[i - 1] : 0;
                int times = found == 16 ? 3 + (int)take(&in, 2) : found == 17 ? 3 + (int)take(&in, 3) : 11 + (int)take(&in, 7);
                require(i + times <= count + far, "a zlib stream with too many codes");
                while (times--) lengths[i++] = value;
            }
            byte fars[30];
            memcpy(fars, lengths + count, (size_t)far);
            make_code(&literals, lengths, count);
            make_code(&distances, fars, far);
        }
        inflate_block(&in, &literals, &distances, out, size, &at);
    }
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < at; i++) a = (a + out[i]) % 65521, b = (b + a) % 65521;
    in.at -= (size_t)(in.bits / 8);
    require(at == size && in.at + 4 == in.size, "a zlib stream of another size than declared");
    const byte *end = data + in.at;
    require(((uint32_t)end[0] << 24 | (uint32_t)end[1] << 16 | (uint32_t)end[2] << 8 | end[3]) == (b << 16 | a), "a damaged zlib stream");
    return out;
}

/* JSON: a tree of values; members of an object and items of a list are linked */

typedef struct Json {
    char kind; /* one of { [ " 0 t f n */
    char *key, *text;
    size_t length; /* of a string in bytes, or of an object or list */
    struct Json *first, *next;
} Json;

typedef struct {
    const char *at, *end;
} Text;

static void skip(Text *t) {
    while (t->at < t->end && strchr(" \t\n\r", *t->at) && *t->at) t->at++;
}

static char look(Text *t) {
    skip(t);
    return t->at < t->end ? *t->at : 0;
}

static unsigned hex4(Text *t) {
    unsigned value = 0;
    require(t->end - t->at >= 4, "no JSON");
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef", *found = strchr(digits, *t->at | (*t->at >= 'A' ? 32 : 0));
        require(*t->at && found, "no JSON");
        value = value * 16 + (unsigned)(found - digits);
        t->at++;
    }
    return value;
}

static char *string(Text *t, size_t *length) {
    char *out = memory((size_t)(t->end - t->at)), *to = out;
    require(look(t) == '"', "no JSON");
    for (t->at++; t->at < t->end && *t->at != '"';) {
        require((byte)*t->at >= 32, "no JSON");
        if (*t->at != '\\') {
            *to++ = *t->at++;
            continue;
        }
        require(t->end - t->at > 1, "no JSON");
        char escape = t->at[1];
        t->at += 2;
        if (escape == 'u') {
            unsigned code = hex4(t);
            if (code >= 0xd800 && code < 0xdc00) {
                require(t->end - t->at > 1 && t->at[0] == '\\' && t->at[1] == 'u', "a lone surrogate");
                t->at += 2;
                unsigned low = hex4(t);
                require(low >= 0xdc00 && low < 0xe000, "a lone surrogate");
                code = 0x10000 + ((code - 0xd800) << 10) + low - 0xdc00;
            }
            require(code < 0xd800 || code >= 0xe000, "a lone surrogate");
            if (code < 0x80) {
                *to++ = (char)code;
            } else {
                int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
                *to++ = (char)((0xf00 >> more & 0xff) | code >> 6 * more);
                while (more--) *to++ = (char)(0x80 | (code >> 6 * more & 63));
            }
        } else {
            const char *from = "\"\\/bfnrt", *found = escape ? strchr(from, escape) : NULL;
            require(found != NULL, "no JSON");
            *to++ = "\"\\/\b\f\n\r\t"[found - from];
        }
    }
    require(t->at < t->end, "no JSON");
    t->at++;
    *length = (size_t)(to - out);
    return out;
}

static Json *get(const Json *of, const char *key) {
    require(of && of->kind == '{', "no object");
    for (Json *item = of->first; item; item = item->next)
        if (!strcmp(item->key, key)) return item;
    return NULL;
}

static Json *value(Text *t, int depth) {
    Json *found = memory(sizeof *found);
    char c = look(t);
    require(depth <= 256, "JSON nested too deeply");
    if (c == '{' || c == '[') {
        Json **end = &found->first;
        char close = c == '{' ? '}' : ']';
        found->kind = c;
        t->at++;
        while (look(t) != close) {
            char *key = NULL;
            size_t length = 0;
            if (found->length++) {
                require(look(t) == ',', "no JSON");
                t->at++;
            }
            if (c == '{') {
                key = string(t, &length);
                require(strlen(key) == length && !get(found, key), "a key twice");
                require(look(t) == ':', "no JSON");
                t->at++;
            }
            *end = value(t, depth + 1);
            (*end)->key = key;
            end = &(*end)->next;
        }
        t->at++;
    } else if (c == '"') {
        found->kind = c;
        found->text = string(t, &found->length);
    } else {
        const char *start = t->at;
        while (t->at < t->end && !strchr(" \t\n\r,]}", *t->at)) t->at++;
        found->length = (size_t)(t->at - start);
        found->text = memory(found->length);
        memcpy(found->text, start, found->length);
        int word = !strcmp(found->text, "true") || !strcmp(found->text, "false") || !strcmp(found->text, "null");
        require(word || c == '-' || (c >= '0' && c <= '9'), "no JSON");
        found->kind = word ? c : '0';
    }
    return found;
}

static Json *parse(const char *text, size_t length) {
    Text t = {text, text + length};
    Json *found = value(&t, 1);
    require(look(&t) == 0 && t.at == t.end, "no JSON");
    return found;
}

static uint64_t natural(const Json *of) {
    uint64_t found = 0;
    require(of && of->kind == '0' && of->length < 20, "no whole number");
    for (const char *c = of->text; *c; c++) {
        require(*c >= '0' && *c <= '9', "no whole number");
        found = found * 10 + (uint64_t)(*c - '0');
    }
    require(found < (uint64_t)1 << 63, "no whole number");
    return found;
}

static const char *word(const Json *of) {
    require(of && of->kind == '"' && strlen(of->text) == of->length, "no string");
    return of->text;
}

/* Tensors */

typedef struct {
    const char *dtype;
    size_t dims, sizes[64], count, bytes;
    const byte *data;
} Tensor;

static size_t width(const char *dtype) {
    static const char *NAMES[] = {"F16", "BF16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "BOOL"};
    static const size_t WIDTHS[] = {2, 2, 4, 8, 1, 2, 4, 8, 1, 1};
    for (int i = 0; i < 10; i++)
        if (!strcmp(dtype, NAMES[i])) return WIDTHS[i];
    refuse("an unknown dtype");
    return 0;
}

static void set_shape(Tensor *tensor, const Json *shape) {
    size_t whole = 1;
    tensor->dims = 0, tensor->count = 1;
    require(shape && shape->kind == '[' && shape->length <= 64, "no shape");
    for (const Json *size = shape->first; size; size = size->next) {
        size_t found = natural(size);
        require(found < ((size_t)1 << 60) / whole || found == 0, "a shape too large");
        whole *= found ? found : 1;
        tensor->count *= found;
        tensor->sizes[tensor->dims++] = found;
    }
}

static Tensor stored(const Json *table, const char *name, const char *part, const byte *body, size_t size) {
    char *key = memory(strlen(name) + strlen(part));
    strcat(strcpy(key, name), part);
    const Json *row = get(table, key);
    require(row != NULL, "a tensor is missing");
    Tensor found;
    set_shape(&found, get(row, "shape"));
    found.dtype = word(get(row, "dtype"));
    found.bytes = found.count * width(found.dtype);
    const Json *offsets = get(row, "data_offsets");
    require(offsets && offsets->kind == '[' && offsets->length == 2, "no offsets");
    size_t begin = natural(offsets->first), end = natural(offsets->first->next);
    require(begin <= end && end <= size && end - begin == found.bytes, "offsets of another size");
    found.data = body + begin;
    free(key);
    return found;
}

static float half(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits >> 15) << 31, exponent = bits >> 10 & 31, fraction = bits & 1023, whole;
    float found;
    if (exponent == 0) {
        found = (float)fraction / 16777216.0f;
        return sign ? -found : found;
    }
    whole = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13;
    memcpy(&found, &whole, 4);
    return found;
}

static float number(const Tensor *of, size_t i) {
    float found;
    uint16_t bits;
    if (!strcmp(of->dtype, "F32")) {
        memcpy(&found, of->data + 4 * i, 4);
    } else if (!strcmp(of->dtype, "I8")) {
        found = (float)(signed char)of->data[i];
    } else {
        memcpy(&bits, of->data + 2 * i, 2);
        uint32_t whole = (uint32_t)bits << 16;
        if (!strcmp(of->dtype, "F16")) return half(bits);
        require(!strcmp(of->dtype, "BF16"), "a number of another dtype");
        memcpy(&found, &whole, 4);
    }
    return found;
}

static void print_head(const char *name, const char *dtype, const Tensor *of) {
    printf("%s\t", dtype);
    for (size_t i = 0; i < of->dims; i++) printf(i ? " %zu" : "%zu", of->sizes[i]);
    printf("\t%s\n", name);
}

static void print_binary(const char *name, const Json *entry, const Tensor *bits, const Tensor *scale) {
    Tensor weight;
    set_shape(&weight, get(entry, "shape"));
    const Json *group = get(entry, "group"), *turned_by = get(entry, "transposed");
    size_t planes = natural(get(entry, "bits")), groups = turned_by ? natural(turned_by) : 0;
    require(weight.dims >= 2 && weight.count > 0 && (planes == 1 || planes == 2), "no binary weight");
    require(!turned_by || (groups && weight.sizes[0] % groups == 0), "groups that do not divide the inputs");
    size_t out = groups ? weight.sizes[1] * groups : weight.sizes[0], k = weight.count / out, row = (k + 7) / 8;
    size_t shared = group ? natural(group) : k;
    require(shared > 0, "a group of nothing");
    size_t each = group ? (k + shared - 1) / shared : 1;
    require(bits->count == planes * out * row && width(bits->dtype) == 1, "bits of another shape");
    require(scale->count == out * each || (!group && scale->count == 1), "scales of another shape");
    size_t inputs = groups ? weight.sizes[0] / groups : 0, outputs = groups ? weight.sizes[1] : 0;
    size_t kernel = groups ? weight.count / weight.sizes[0] / weight.sizes[1] : 0;
    float *found = memory(weight.count * sizeof *found);
    for (size_t r = 0; r < out; r++) {
        for (size_t i = 0; i < k; i++) {
            const byte *one = bits->data + r * row + i / 8, *last = one + (planes - 1) * out * row;
            float size = number(scale, (scale->count > 1 ? r * each : 0) + (group ? i / shared : 0));
            float element = *last >> i % 8 & 1 ? size : -size;
            if (planes == 2 && !(*one >> i % 8 & 1)) element = 0;
            size_t place = r * k + i;
            if (groups) place = ((r / outputs * inputs + i / kernel) * outputs + r % outputs) * kernel + i % kernel;
            found[place] = element;
        }
    }
    print_head(name, "float32", &weight);
    fwrite(found, sizeof *found, weight.count, stdout);
    free(found);
}

static void print_dense(const char *name, const Json *entry, const Json *table, const byte *body, size_t size) {
    const char *dtype = word(get(entry, "dtype"));
    Tensor found = stored(table, name, "", body, size);
    print_head(name, dtype, &found);
    if (strcmp(dtype, "float32") || !strcmp(found.dtype, "F32")) {
        fwrite(found.data, 1, found.bytes, stdout);
        return;
    }
    Tensor step = {0};
    if (!strcmp(found.dtype, "I8")) {
        step = stored(table, name, ".dequant", body, size);
        require(found.dims >= 2 && step.count == found.sizes[0] && !strcmp(step.dtype, "F32"), "factors of another shape");
    }
    for (size_t i = 0; i < found.count; i++) {
        float element = number(&found, i);
        if (step.data) element *= number(&step, i / (found.count / found.sizes[0]));
        fwrite(&element, 4, 1, stdout);
    }
}

static byte *base64(const Json *text, size_t *size) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *from = word(text);
    byte *out = memory(text->length);
    uint32_t held = 0;
    size_t count = 0;
    for (size_t i = 0; i < text->length; i++) {
        const char *digit = strchr(DIGITS, from[i]);
        if (from[i] == '=' && i + 2 >= text->length) break;
        require(digit != NULL, "no base64");
        held = held << 6 | (uint32_t)(digit - DIGITS);
        if (i % 4) out[count++] = (byte)(held >> (6 - 2 * (i % 4)));
    }
    require(text->length % 4 == 0, "no base64");
    *size = count;
    return out;
}

static byte *whole_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    require(file && !fseek(file, 0, SEEK_END), "a file that cannot be read");
    long length = ftell(file);
    require(length >= 8, "shorter than 8 bytes");
    byte *data = memory((size_t)length);
    rewind(file);
    require(fread(data, 1, (size_t)length, file) == (size_t)length, "a file that cannot be read");
    fclose(file);
    *size = (size_t)length;
    return data;
}

static void check_hash(byte *data, size_t size, size_t end, const char *expected) {
    static const char MARKER[] = "\\\"sha256\\\":\\\"";
    size_t place = 0, length = sizeof MARKER - 1;
    char hex[65];
    for (size_t i = 8; i + length + 64 <= end; i++) {
        if (memcmp(data + i, MARKER, length)) continue;
        require(place == 0, "two hashes");
        place = i + length;
    }
    require(place > 0, "no hash");
    memset(data + place, '0', 64);
    sha256(data, size, hex);
    require(!strcmp(hex, expected), "another hash");
}

int main(int count, char **arguments) {
    size_t size, length = 0, packed;
    require(count == 2, "expected one file");
    byte *data = whole_file(arguments[1], &size);
    for (int i = 7; i >= 0; i--) {
        require(length < (size_t)1 << 40, "a header longer than the file");
        length = length << 8 | data[i];
    }
    require(length <= size - 8 && length <= 67108864 && length && data[8] == '{', "no header");
    Json *table = parse((const char *)data + 8, length);
    const Json *metadata = get(table, "__metadata__");
    require(metadata && metadata->kind == '{' && metadata->length == 1, "other metadata");
    const Json *text = get(metadata, "proxconnect");
    require(text != NULL, "no header");
    Json *header = parse(word(text), text->length);
    uint64_t version = natural(get(header, "version"));
    require(version == 1 || version == 2, "an unknown version");
    check_hash(data, size, 8 + length, word(get(header, "sha256")));
    if (version == 2) {
        size_t raw = natural(get(header, "raw_bytes"));
        require(raw <= 16777216, "a header beyond the limit");
        byte *compressed = base64(get(header, "fields"), &packed);
        header = parse((const char *)inflate(compressed, packed, raw), raw);
    }
    const byte *body = data + 8 + length;
    const Json *binary = get(header, "binary"), *dense = get(header, "dense");
    require(binary && binary->kind == '{' && dense && dense->kind == '{', "no weights");
    for (const Json *entry = binary->first; entry; entry = entry->next) {
        Tensor bits = stored(table, entry->key, ".bits", body, size - 8 - length);
        Tensor scale = stored(table, entry->key, ".scale", body, size - 8 - length);
        print_binary(entry->key, entry, &bits, &scale);
    }
    for (const Json *entry = dense->first; entry; entry = entry->next)
        print_dense(entry->key, entry, table, body, size - 8 - length);
    return 0;
}
