/* AVX-512 siblings (F, DQ, VL, BW, VBMI, IFMA, GFNI, VPCLMULQDQ: all or none, as in every processor since 2019).  See field.h.
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

/* ------------------------------------------------------------------------------------------- chunks across blocks */

/* Unreduced sum of x0 (y0 + y1) + x1 y0 over at most 8 BLOCK elements. */
static inline u128 cross(const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t count) {
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

static inline void p_plus(uint64_t *out, u128 v) { out[0] = p_add1(out[0], p_reduce(v)); }

static void p_gram_tile(uint64_t *out, const uint64_t *alpha, const struct gram_blocks *g, size_t start, size_t chunks) {
    uint64_t x0[GRAM_TILE], x1[GRAM_TILE], *z = out + g->chunk * g->chunk;
    for (size_t j = 0; j < g->chunk; j++) {
        size_t size = gram_size(g, j, start, chunks), at = j * g->chunks + start;
        if (size == 0) break;
        const uint64_t *a = g->x0 + at, *b = g->x1 + at;
        if (alpha != NULL) {
            p_mul_avx512(x0, a, alpha + start, size);
            p_mul_avx512(x1, b, alpha + start, size);
            a = x0;
            b = x1;
            p_plus(z + j, dot(g->z0 + at, alpha + start, size));
            p_plus(z + g->chunk + j, dot(g->z1 + at, alpha + start, size));
        }
        for (size_t k = 0; k < g->chunk; k++) {
            size_t other = k * g->chunks + start, both = gram_size(g, k, start, size);
            if (both == 0) break;
            if (k != j) p_plus(out + g->chunk * j + k, cross(a, b, g->y0 + other, g->y1 + other, both));
        }
    }
}

static void p_gram_avx512(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
                          const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t count, size_t chunk) {
    struct gram_blocks g = {x0, x1, y0, y1, z0, z1, count, chunk, chunk_count(count, chunk)};
    for (size_t i = 0; i < chunk * (chunk + 2); i++) out[i] = 0;
    for (size_t start = 0; start < g.chunks; start += GRAM_TILE) p_gram_tile(out, alpha, &g, start, gram_tile(&g, start));
}

static void p_fold_avx512(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *v, size_t count, size_t chunk) {
    size_t chunks = chunk_count(count, chunk), whole = count / chunks, last = count % chunks; /* full blocks, then one of `last` */
    for (size_t c = 0; c < chunks; c += 8) {
        __mmask8 valid = remaining(chunks - c);
        struct lanes s = lanes_zero();
        for (size_t j = 0; j < whole; j++) {
            __m512i w = _mm512_set1_epi64((long long)weights[j]), x = _mm512_maskz_loadu_epi64(valid, v + j * chunks + c);
            lanes_add(&s, x, upper(x), w, upper(w));
        }
        if (c < last) {
            __m512i w = _mm512_set1_epi64((long long)weights[whole]);
            __m512i x = _mm512_maskz_loadu_epi64(remaining(last - c), v + whole * chunks + c);
            lanes_add(&s, x, upper(x), w, upper(w));
        }
        __m512i total = once(fold(lanes_fold(&s)));
        if (alpha != NULL) total = mul8(total, _mm512_maskz_loadu_epi64(valid, alpha + c));
        _mm512_mask_storeu_epi64(out + c, valid, total);
    }
}

/* ------------------------------------------------------------------------------------------- K */

#define vector __m512i
#define LANES 8
#define lanes_of __mmask8

static inline lanes_of at_most(size_t n) { return remaining(n); }
static inline vector load_n(const uint64_t *a, lanes_of n) { return _mm512_maskz_loadu_epi64(n, a); }
static inline void store_n(uint64_t *out, vector v, lanes_of n) { _mm512_mask_storeu_epi64(out, n, v); }
static inline vector splat(uint64_t word) { return _mm512_set1_epi64((long long)word); }
static inline vector xor2(vector a, vector b) { return _mm512_xor_si512(a, b); }
static inline vector xor3(vector a, vector b, vector c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
static inline vector left(vector v, unsigned by) { return _mm512_slli_epi64(v, by); }
static inline vector right(vector v, unsigned by) { return _mm512_srli_epi64(v, by); }
static inline vector clmul_even(vector a, vector b) { return _mm512_clmulepi64_epi128(a, b, 0x00); }
static inline vector clmul_odd(vector a, vector b) { return _mm512_clmulepi64_epi128(a, b, 0x11); }
static inline vector words_low(vector even, vector odd) { return _mm512_unpacklo_epi64(even, odd); }
static inline vector words_high(vector even, vector odd) { return _mm512_unpackhi_epi64(even, odd); }

#include "field_clmul.h"

/* ------------------------------------------------------------------------------------------- chunks of bits
 *
 * GF2P8AFFINEQB takes, in each lane of 64 bits, an 8 by 8 bit matrix A and eight bytes x: bit k of byte i of the result is the parity of
 * byte 7 - k of A and byte i of x, 512 ANDs a lane.  With x the identity it transposes A (in reverse). */

/* Byte i is 1 << i, or 1 << (7 - i). */
static inline __m512i identity(void) { return splat(UINT64_C(0x8040201008040201)); }
static inline __m512i reversed(void) { return splat(UINT64_C(0x0102040810204080)); }

/* Bit k of byte i of every word: bit i of byte 7 - k. */
static inline __m512i transpose(__m512i v) { return _mm512_gf2p8affine_epi64_epi8(identity(), v, 0); }

/* Byte c of word t: byte t of word c. */
static inline __m512i swap_bytes(__m512i v) {
    static const uint64_t first = UINT64_C(0x3830282018100800), step = UINT64_C(0x0101010101010101);
    __m512i index = _mm512_set_epi64((long long)(first + 7 * step), (long long)(first + 6 * step), (long long)(first + 5 * step),
                                     (long long)(first + 4 * step), (long long)(first + 3 * step), (long long)(first + 2 * step),
                                     (long long)(first + step), (long long)first);
    return _mm512_permutexvar_epi8(index, v);
}

/* Eight words, 64 chunks, at a time: the bits of the eight chunks of a word that go to sum [j, k] are byte k of rows[j], the last chunk
 * first; one affine per j and word adds the 8 coefficients to all 8 sums. */
static void bits_gram_avx512(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
                             const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t words) {
    __m512i sums[10];
    for (size_t j = 0; j < 10; j++) sums[j] = _mm512_setzero_si512();
    for (size_t start = 0; start < words; start += 8) {
        size_t here = words - start < 8 ? words - start : 8;
        lanes_of n = remaining(here);
        uint64_t rows[10][8];
        __m512i a = transpose(load_n(x0 + start, n)), b = transpose(load_n(x1 + start, n));
        __m512i q = transpose(load_n(y0 + start, n)), p = xor2(q, transpose(load_n(y1 + start, n)));
        __m512i place = _mm512_set4_epi32(0x08080808, 0x08080808, 0, 0), next = _mm512_set1_epi8(1);
        for (size_t j = 0; j < 8; j++) {
            __m512i own = _mm512_and_si512(_mm512_shuffle_epi8(a, place), p), other = _mm512_and_si512(_mm512_shuffle_epi8(b, place), q);
            store(rows[j], xor2(own, other));
            place = _mm512_add_epi8(place, next);
        }
        store(rows[8], transpose(load_n(z0 + start, n)));
        store(rows[9], transpose(load_n(z1 + start, n)));
        for (size_t w = 0; w < here; w++) {
            /* Bit m of byte r of word t: bit 7 - r of byte t of coefficient 7 - m. */
            __m512i matrix = _mm512_gf2p8affine_epi64_epi8(reversed(), swap_bytes(load(alpha + 8 * (start + w))), 0);
            for (size_t j = 0; j < 10; j++) sums[j] = xor2(sums[j], _mm512_gf2p8affine_epi64_epi8(splat(rows[j][w]), matrix, 0));
        }
    }
    for (size_t j = 0; j < 10; j++) store(out + 8 * j, xor2(load(out + 8 * j), swap_bytes(sums[j])));
}

static void bits_fold_avx512(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t words) {
    uint64_t backwards[8];
    for (size_t j = 0; j < 8; j++) backwards[j] = weights[7 - j];
    /* Bit m of byte r of word t: bit 7 - r of byte t of weight m. */
    __m512i matrix = _mm512_gf2p8affine_epi64_epi8(reversed(), swap_bytes(load(backwards)), 0);
    for (size_t w = 0; w < words; w++) {
        __m512i folded = swap_bytes(_mm512_gf2p8affine_epi64_epi8(splat(a[w]), matrix, 0));
        store(out + 8 * w, alpha == NULL ? folded : multiply(folded, load(alpha + 8 * w)));
    }
}

const struct field_kernels field_avx512 = {
    .name = "avx512",
    .p = {
        .add = p_add_portable, .sub = p_sub_portable, .mul = p_mul_avx512, .neg = p_neg_portable, .scale = p_scale_avx512,
        .sum = p_sum_avx512, .dot = p_dot_avx512, .matmul = p_matmul_avx512, .sample = p_sample_portable,
        .is_canonical = p_is_canonical_portable, .mul_masked = p_mul_masked_avx512, .dot_masked = p_dot_masked_avx512,
        .matmul_masked = p_matmul_masked_avx512, .gram = p_gram_avx512, .fold = p_fold_avx512,
    },
    .q = FIELD_Q_PORTABLE,
    .k = FIELD_K_CLMUL,
    .bits_gram = bits_gram_avx512, .bits_fold = bits_fold_avx512,
    .bits_xor = bits_xor_portable, .bits_and = bits_and_portable, .bits_not = bits_not_portable,
    .bits_and_masked = bits_and_masked_portable, .to_planes = to_planes_avx2, .from_planes = from_planes_avx2,
};
