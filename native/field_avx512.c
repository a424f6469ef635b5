/* AVX-512 siblings (F, DQ, VL, IFMA).  See field.h.
 *
 * F_p products on eight lanes.  Operands are split at 52 bits, a = a0 + 2^52 a1; IFMA multiplies the low 52 bits of its lanes and
 * adds the low or high half of the product.  A sum of products is kept as three lanes
 *
 *     low + 2^52 middle + 2^104 high,        2^104 = 2^43 (mod p)
 *
 * and folded at the latest after BLOCK products, before any lane can overflow: a masked product adds less than 2^53 to low, 6 * 2^52
 * to middle and 2^20 to high.  Lanes are compared and counted with masks; no branch or index depends on their content.
 */
#include "field_portable.h"

#include <immintrin.h>

#define BLOCK 512
#define ROWS 4

static inline __m512i load(const uint64_t *a) { return _mm512_loadu_si512(a); }
static inline void store(uint64_t *out, __m512i v) { _mm512_storeu_si512(out, v); }
static inline __m512i modulus(void) { return _mm512_set1_epi64((long long)P_MODULUS); }

/* The lanes that remain, at most eight. */
static inline __mmask8 remaining(size_t count) { return (__mmask8)(count >= 8 ? 0xff : (1u << count) - 1); }

/* s < 2p: s - p wraps to a huge value unless s >= p. */
static inline __m512i once(__m512i s) { return _mm512_min_epu64(s, _mm512_sub_epi64(s, modulus())); }

/* Congruent to any s, at most p + 7. */
static inline __m512i fold(__m512i s) {
    return _mm512_add_epi64(_mm512_and_si512(s, modulus()), _mm512_srli_epi64(s, P_BITS));
}

struct lanes {
    __m512i low, middle, high;
};

static inline struct lanes lanes_zero(void) {
    struct lanes s = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    return s;
}

/* s + a b with a1 = a >> 52, b1 = b >> 52. */
static inline void lanes_add(struct lanes *s, __m512i a, __m512i a1, __m512i b, __m512i b1) {
    s->low = _mm512_madd52lo_epu64(s->low, a, b);
    s->middle = _mm512_madd52hi_epu64(s->middle, a, b);
    s->high = _mm512_madd52hi_epu64(s->high, a, b1);
    s->middle = _mm512_madd52lo_epu64(s->middle, a, b1);
    s->high = _mm512_madd52hi_epu64(s->high, a1, b);
    s->middle = _mm512_madd52lo_epu64(s->middle, a1, b);
    s->high = _mm512_madd52lo_epu64(s->high, a1, b1);
}

static inline __m512i upper(__m512i a) { return _mm512_srli_epi64(a, 52); }

/* Congruent to the sum, below 2^63: 2^61 + 2^61 + 2^55 + 2^61 + 2^46 + 7. */
static inline __m512i lanes_fold(const struct lanes *s) {
    __m512i low = fold(s->low);
    __m512i middle = _mm512_add_epi64(_mm512_and_si512(_mm512_slli_epi64(s->middle, 52), modulus()), _mm512_srli_epi64(s->middle, 9));
    __m512i high = _mm512_add_epi64(_mm512_and_si512(_mm512_slli_epi64(s->high, 43), modulus()), _mm512_srli_epi64(s->high, 18));
    return _mm512_add_epi64(low, _mm512_add_epi64(middle, high));
}

/* F(words), counting replaced lanes of `valid` in *rejected. */
static inline __m512i sample(__m512i words, __mmask8 valid, __m512i *rejected) {
    __m512i v = _mm512_and_si512(words, modulus());
    __mmask8 bad = _mm512_mask_cmpeq_epi64_mask(valid, v, modulus());
    *rejected = _mm512_mask_add_epi64(*rejected, bad, *rejected, _mm512_set1_epi64(1));
    return _mm512_maskz_mov_epi64((__mmask8)~bad, v);
}

/* F(k0) - F(k1) + p. */
static inline __m512i mask(__m512i k0, __m512i k1, __mmask8 valid, __m512i *rejected) {
    __m512i plus = sample(k0, valid, rejected), minus = sample(k1, valid, rejected);
    return _mm512_add_epi64(plus, _mm512_sub_epi64(modulus(), minus));
}

/* ------------------------------------------------------------------------------------------- element-wise */

static inline __m512i mul8(__m512i a, __m512i b) {
    struct lanes s = lanes_zero();
    lanes_add(&s, a, upper(a), b, upper(b));
    return once(fold(lanes_fold(&s)));
}

static void p_mul_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) store(out + i, mul8(load(a + i), load(b + i)));
    p_mul_portable(out + i, a + i, b + i, count - i);
}

static void p_scale_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    __m512i factor = _mm512_set1_epi64((long long)b[0]);
    size_t i = 0;
    for (; i + 8 <= count; i += 8) store(out + i, mul8(load(a + i), factor));
    p_scale_portable(out + i, a + i, b, count - i);
}

static void p_sum_avx512(uint64_t *out, const uint64_t *a, size_t count) {
    __m512i total = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 8 <= count; i += 8) total = fold(_mm512_add_epi64(total, load(a + i)));
    for (; i < count; i++) total = fold(_mm512_add_epi64(total, _mm512_maskz_loadu_epi64(1, a + i)));
    uint64_t lanes[8];
    store(lanes, total);
    p_sum_portable(out, lanes, 8); /* reduces whatever it sums */
}

static uint64_t p_mul_masked_avx512(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                    const uint64_t *k0, const uint64_t *k1, size_t count) {
    __m512i rejected = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        struct lanes s = lanes_zero();
        __m512i a = load(x0 + i), b = load(x1 + i), y = load(y0 + i), both = _mm512_add_epi64(y, load(y1 + i));
        lanes_add(&s, a, upper(a), both, upper(both));
        lanes_add(&s, b, upper(b), y, upper(y));
        __m512i t = _mm512_add_epi64(lanes_fold(&s), mask(load(k0 + i), load(k1 + i), 0xff, &rejected));
        store(out + i, once(fold(t)));
    }
    uint64_t tail = p_mul_masked_portable(out + i, x0 + i, x1 + i, y0 + i, y1 + i, k0 + i, k1 + i, count - i);
    return tail + (uint64_t)_mm512_reduce_add_epi64(rejected);
}

/* ------------------------------------------------------------------------------------------- inner products */

/* Sum of the lanes, each below 2^63. */
static inline u128 across(__m512i v) {
    uint64_t lanes[8];
    u128 total = 0;
    store(lanes, v);
    for (size_t i = 0; i < 8; i++) total += lanes[i];
    return total;
}

static inline u128 dot(const uint64_t *a, const uint64_t *b, size_t count) {
    u128 total = 0;
    for (size_t start = 0; start < count; start += 8 * BLOCK) {
        size_t stop = count - start < 8 * BLOCK ? count : start + 8 * BLOCK;
        struct lanes s = lanes_zero(), t = lanes_zero();
        for (size_t i = start; i < stop; i += 16) {
            __mmask8 first = remaining(stop - i), second = stop - i > 8 ? remaining(stop - i - 8) : 0;
            __m512i x = _mm512_maskz_loadu_epi64(first, a + i), y = _mm512_maskz_loadu_epi64(first, b + i);
            lanes_add(&s, x, upper(x), y, upper(y));
            x = _mm512_maskz_loadu_epi64(second, a + i + 8);
            y = _mm512_maskz_loadu_epi64(second, b + i + 8);
            lanes_add(&t, x, upper(x), y, upper(y));
        }
        total += across(lanes_fold(&s)) + across(lanes_fold(&t));
    }
    return total;
}

static void p_dot_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) { out[0] = p_reduce(dot(a, b, count)); }

static uint64_t p_dot_masked_avx512(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                    const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length) {
    uint64_t rejected = 0;
    if (length < 128) return p_dot_masked_portable(out, x0, x1, y0, y1, k0, k1, groups, length);
    for (size_t g = 0; g < groups; g++) {
        u128 total = 0;
        for (size_t start = g * length; start < (g + 1) * length; start += 8 * BLOCK) {
            size_t stop = (g + 1) * length - start < 8 * BLOCK ? (g + 1) * length : start + 8 * BLOCK;
            struct lanes s = lanes_zero(), t = lanes_zero();
            for (size_t i = start; i < stop; i += 8) {
                __mmask8 valid = remaining(stop - i);
                __m512i a = _mm512_maskz_loadu_epi64(valid, x0 + i), b = _mm512_maskz_loadu_epi64(valid, x1 + i);
                __m512i y = _mm512_maskz_loadu_epi64(valid, y0 + i);
                __m512i both = _mm512_add_epi64(y, _mm512_maskz_loadu_epi64(valid, y1 + i));
                lanes_add(&s, a, upper(a), both, upper(both));
                lanes_add(&t, b, upper(b), y, upper(y));
            }
            total += across(lanes_fold(&s)) + across(lanes_fold(&t));
        }
        out[g] = p_reduce(total + p_mask(k0[g], k1[g], &rejected));
    }
    return rejected;
}

/* ------------------------------------------------------------------------------------------- matrix products */

/* Eight columns (those of `valid`) of `rows` <= ROWS rows of a b; folded, each lane at most p + 7. */
static inline void tile(__m512i total[ROWS], const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns,
                        __mmask8 valid) {
    for (size_t r = 0; r < rows; r++) total[r] = _mm512_setzero_si512();
    for (size_t start = 0; start < inner; start += BLOCK) {
        size_t stop = inner - start < BLOCK ? inner : start + BLOCK;
        struct lanes s[ROWS];
        for (size_t r = 0; r < rows; r++) s[r] = lanes_zero();
        for (size_t k = start; k < stop; k++) {
            __m512i y = _mm512_maskz_loadu_epi64(valid, b + k * columns), y_upper = upper(y);
            for (size_t r = 0; r < rows; r++) {
                __m512i x = _mm512_set1_epi64((long long)a[r * inner + k]);
                lanes_add(&s[r], x, upper(x), y, y_upper);
            }
        }
        for (size_t r = 0; r < rows; r++) total[r] = fold(_mm512_add_epi64(total[r], lanes_fold(&s[r])));
    }
}

static void p_matmul_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns) {
    if (columns == 1) {
        for (size_t i = 0; i < rows; i++) p_dot_avx512(out + i, a + i * inner, b, inner);
        return;
    }
    for (size_t j = 0; j < columns; j += 8) {
        __mmask8 valid = remaining(columns - j);
        __m512i total[ROWS];
        size_t i = 0;
        for (; i + ROWS <= rows; i += ROWS) {
            tile(total, a + i * inner, b + j, ROWS, inner, columns, valid);
            for (size_t r = 0; r < ROWS; r++) _mm512_mask_storeu_epi64(out + (i + r) * columns + j, valid, once(total[r]));
        }
        for (; i < rows; i++) {
            tile(total, a + i * inner, b + j, 1, inner, columns, valid);
            _mm512_mask_storeu_epi64(out + i * columns + j, valid, once(total[0]));
        }
    }
}

/* As `tile`, for x0 (y0 + y1) + x1 y0. */
static inline void tile_cross(__m512i total[ROWS], const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                              size_t rows, size_t inner, size_t columns, __mmask8 valid) {
    for (size_t r = 0; r < rows; r++) total[r] = _mm512_setzero_si512();
    for (size_t start = 0; start < inner; start += BLOCK) {
        size_t stop = inner - start < BLOCK ? inner : start + BLOCK;
        struct lanes s[ROWS];
        for (size_t r = 0; r < rows; r++) s[r] = lanes_zero();
        for (size_t k = start; k < stop; k++) {
            __m512i y = _mm512_maskz_loadu_epi64(valid, y0 + k * columns), y_upper = upper(y);
            __m512i both = _mm512_add_epi64(y, _mm512_maskz_loadu_epi64(valid, y1 + k * columns)), both_upper = upper(both);
            for (size_t r = 0; r < rows; r++) {
                __m512i a = _mm512_set1_epi64((long long)x0[r * inner + k]), b = _mm512_set1_epi64((long long)x1[r * inner + k]);
                lanes_add(&s[r], a, upper(a), both, both_upper);
                lanes_add(&s[r], b, upper(b), y, y_upper);
            }
        }
        for (size_t r = 0; r < rows; r++) total[r] = fold(_mm512_add_epi64(total[r], lanes_fold(&s[r])));
    }
}

static inline void mask_row(uint64_t *out, const uint64_t *k0, const uint64_t *k1, __m512i total, __mmask8 valid, __m512i *rejected) {
    __m512i random = mask(_mm512_maskz_loadu_epi64(valid, k0), _mm512_maskz_loadu_epi64(valid, k1), valid, rejected);
    _mm512_mask_storeu_epi64(out, valid, once(fold(_mm512_add_epi64(total, random))));
}

static uint64_t p_matmul_masked_avx512(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                       const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns) {
    __m512i rejected = _mm512_setzero_si512();
    if (columns == 1) {
        uint64_t count = 0;
        for (size_t i = 0; i < rows; i++) {
            count += p_dot_masked_avx512(out + i, x0 + i * inner, x1 + i * inner, y0, y1, k0 + i, k1 + i, 1, inner);
        }
        return count;
    }
    for (size_t j = 0; j < columns; j += 8) {
        __mmask8 valid = remaining(columns - j);
        __m512i total[ROWS];
        size_t i = 0;
        for (; i + ROWS <= rows; i += ROWS) {
            tile_cross(total, x0 + i * inner, x1 + i * inner, y0 + j, y1 + j, ROWS, inner, columns, valid);
            for (size_t r = 0; r < ROWS; r++) {
                size_t at = (i + r) * columns + j;
                mask_row(out + at, k0 + at, k1 + at, total[r], valid, &rejected);
            }
        }
        for (; i < rows; i++) {
            size_t at = i * columns + j;
            tile_cross(total, x0 + i * inner, x1 + i * inner, y0 + j, y1 + j, 1, inner, columns, valid);
            mask_row(out + at, k0 + at, k1 + at, total[0], valid, &rejected);
        }
    }
    return (uint64_t)_mm512_reduce_add_epi64(rejected);
}

/* One diagonal after the other over a tile of chunks that stays in the first cache. */
#define TILE 256

static inline u128 cross_tile(const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t count) {
    struct lanes s = lanes_zero(), t = lanes_zero();
    for (size_t i = 0; i < count; i += 8) {
        __mmask8 valid = remaining(count - i);
        __m512i a = _mm512_maskz_loadu_epi64(valid, x0 + i), b = _mm512_maskz_loadu_epi64(valid, x1 + i);
        __m512i y = _mm512_maskz_loadu_epi64(valid, y0 + i), both = _mm512_add_epi64(y, _mm512_maskz_loadu_epi64(valid, y1 + i));
        lanes_add(&s, a, upper(a), both, upper(both));
        lanes_add(&t, b, upper(b), y, upper(y));
    }
    return across(lanes_fold(&s)) + across(lanes_fold(&t));
}

static void p_gram4_avx512(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t chunks) {
    u128 total[7] = {0, 0, 0, 0, 0, 0, 0};
    for (size_t c = 0; c < chunks; c += TILE) {
        size_t count = chunks - c < TILE ? chunks - c : TILE;
        for (size_t j = 0; j < 4; j++) {
            for (size_t k = 0; k < 4; k++) {
                size_t left = j * chunks + c, right = k * chunks + c;
                if (j != k) total[3 + j - k] += cross_tile(x0 + left, x1 + left, y0 + right, y1 + right, count);
            }
        }
        for (size_t s = 0; s < 7; s++) total[s] = p_fold(total[s]);
    }
    for (size_t s = 0; s < 6; s++) out[s] = p_reduce(total[s < 3 ? s : s + 1]);
}

/* Elements of quarter j among `size` chunks from c. */
static inline size_t inside(size_t j, size_t c, size_t size, size_t chunks, size_t count) {
    size_t at = j * chunks + c;
    return at >= count ? 0 : count - at < size ? count - at : size;
}

static void p_first4_avx512(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
                            const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t count) {
    u128 total[24] = {0};
    size_t chunks = (count + 3) / 4;
    for (size_t c = 0; c < chunks; c += TILE) {
        size_t size = chunks - c < TILE ? chunks - c : TILE;
        for (size_t j = 0; j < 4; j++) {
            uint64_t a[TILE], b[TILE];
            size_t left = inside(j, c, size, chunks, count), at = j * chunks + c;
            if (left == 0) continue;
            p_mul_avx512(a, alpha + c, x0 + at, left);
            p_mul_avx512(b, alpha + c, x1 + at, left);
            for (size_t k = 0; k < 4; k++) {
                size_t right = inside(k, c, size, chunks, count), from = k * chunks + c;
                if (j != k && right != 0) total[4 * j + k] += cross_tile(a, b, y0 + from, y1 + from, left < right ? left : right);
            }
            total[16 + j] += dot(alpha + c, z0 + at, left);
            total[20 + j] += dot(alpha + c, z1 + at, left);
        }
        for (size_t s = 0; s < 24; s++) total[s] = p_fold(total[s]);
    }
    for (size_t s = 0; s < 24; s++) out[s] = p_reduce(total[s]);
}

static void p_fold4_avx512(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t count) {
    size_t chunks = (count + 3) / 4;
    for (size_t c = 0; c < chunks; c += 8) {
        size_t size = chunks - c < 8 ? chunks - c : 8;
        __mmask8 valid = remaining(size);
        struct lanes s = lanes_zero();
        for (size_t j = 0; j < 4; j++) {
            size_t here = inside(j, c, size, chunks, count), at = here == 0 ? 0 : j * chunks + c;
            __m512i v = _mm512_maskz_loadu_epi64(remaining(here), a + at), w = _mm512_set1_epi64((long long)weights[j]);
            lanes_add(&s, v, upper(v), w, upper(w));
        }
        __m512i folded = once(fold(lanes_fold(&s)));
        if (alpha != NULL) folded = mul8(folded, _mm512_maskz_loadu_epi64(valid, alpha + c));
        _mm512_mask_storeu_epi64(out + c, valid, folded);
    }
}

const struct field_kernels field_avx512 = {
    .name = "avx512",
    .p = {
        .add = p_add_portable, .sub = p_sub_portable, .mul = p_mul_avx512, .neg = p_neg_portable, .scale = p_scale_avx512,
        .sum = p_sum_avx512, .dot = p_dot_avx512, .matmul = p_matmul_avx512, .sample = p_sample_portable,
        .is_canonical = p_is_canonical_portable, .mul_masked = p_mul_masked_avx512, .dot_masked = p_dot_masked_avx512,
        .matmul_masked = p_matmul_masked_avx512, .gram4 = p_gram4_avx512,
        .first4 = p_first4_avx512, .fold4 = p_fold4_avx512,
    },
    .q = FIELD_Q_PORTABLE,
    .k = {
        .add = bits_xor_portable, .sub = bits_xor_portable, .mul = k_mul_avx512, .neg = k_neg_portable, .scale = k_scale_avx512,
        .sum = k_sum_portable, .dot = k_dot_avx512, .matmul = k_matmul_avx512, .sample = k_sample_portable,
        .is_canonical = k_is_canonical_portable, .mul_masked = k_mul_masked_avx512, .dot_masked = k_dot_masked_avx512,
        .matmul_masked = k_matmul_masked_avx512, .gram4 = k_gram4_avx512,
    },
    .bits_gram = bits_gram_avx512, .bits_fold = bits_fold_avx512,
    .bits_xor = bits_xor_portable, .bits_and = bits_and_portable, .bits_not = bits_not_portable,
    .bits_and_masked = bits_and_masked_portable, .to_planes = to_planes_avx2, .from_planes = from_planes_avx2,
};
