/* K = GF(2^64) and the chunks of bits on VPCLMULQDQ, GFNI and AVX-512 (F, BW, DQ, VL, VBMI); part of the avx512 table.  See field.h.
 *
 * A sum of products is kept unreduced in two registers: `even` holds the 128-bit products of lanes 0, 2, 4, 6, `odd` those of lanes
 * 1, 3, 5, 7.  Carry-less sums do not overflow, so one reduction at the end serves any number of products. */
#include "field_portable.h"

#include <immintrin.h>

static inline __m512i load(const uint64_t *a) { return _mm512_loadu_si512(a); }
static inline void store(uint64_t *out, __m512i v) { _mm512_storeu_si512(out, v); }
static inline __mmask8 remaining(size_t count) { return (__mmask8)(count >= 8 ? 0xff : (1u << count) - 1); }

struct wide {
    __m512i even, odd;
};

static inline struct wide wide_zero(void) {
    struct wide s = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    return s;
}

/* s + a b, lane by lane. */
static inline void wide_add(struct wide *s, __m512i a, __m512i b) {
    s->even = _mm512_xor_si512(s->even, _mm512_clmulepi64_epi128(a, b, 0x00));
    s->odd = _mm512_xor_si512(s->odd, _mm512_clmulepi64_epi128(a, b, 0x11));
}

/* The low qword of every 128-bit lane, reduced; the high one is rubbish. */
static inline __m512i reduce_low(__m512i v) {
    const __m512i polynomial = _mm512_set1_epi64(0x1b);
    __m512i t = _mm512_clmulepi64_epi128(v, polynomial, 0x01);
    __m512i u = _mm512_clmulepi64_epi128(t, polynomial, 0x01);
    return _mm512_ternarylogic_epi64(v, t, u, 0x96);
}

static inline __m512i wide_reduce(const struct wide *s) { return _mm512_unpacklo_epi64(reduce_low(s->even), reduce_low(s->odd)); }

static inline __m512i mul8(__m512i a, __m512i b) {
    struct wide s = {_mm512_clmulepi64_epi128(a, b, 0x00), _mm512_clmulepi64_epi128(a, b, 0x11)};
    return wide_reduce(&s);
}

static inline __m512i ternary_xor(__m512i a, __m512i b, __m512i c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }

/* Sum of all products of `s`. */
static inline uint64_t across(const struct wide *s) {
    uint64_t lanes[8];
    store(lanes, _mm512_xor_si512(s->even, s->odd));
    return k_reduce((u128)(lanes[1] ^ lanes[3] ^ lanes[5] ^ lanes[7]) << 64 | (lanes[0] ^ lanes[2] ^ lanes[4] ^ lanes[6]));
}

void k_mul_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) store(out + i, mul8(load(a + i), load(b + i)));
    __mmask8 rest = remaining(count - i);
    _mm512_mask_storeu_epi64(out + i, rest, mul8(_mm512_maskz_loadu_epi64(rest, a + i), _mm512_maskz_loadu_epi64(rest, b + i)));
}

void k_scale_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    __m512i factor = _mm512_set1_epi64((long long)b[0]);
    for (size_t i = 0; i < count; i += 8) {
        __mmask8 valid = remaining(count - i);
        _mm512_mask_storeu_epi64(out + i, valid, mul8(_mm512_maskz_loadu_epi64(valid, a + i), factor));
    }
}

void k_dot_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    struct wide s = wide_zero();
    for (size_t i = 0; i < count; i += 8) {
        __mmask8 valid = remaining(count - i);
        wide_add(&s, _mm512_maskz_loadu_epi64(valid, a + i), _mm512_maskz_loadu_epi64(valid, b + i));
    }
    out[0] = across(&s);
}

void k_matmul_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns) {
    for (size_t i = 0; i < rows; i++) {
        if (columns == 1) {
            k_dot_avx512(out + i, a + i * inner, b, inner);
            continue;
        }
        for (size_t j = 0; j < columns; j += 8) {
            __mmask8 valid = remaining(columns - j);
            struct wide s = wide_zero();
            for (size_t k = 0; k < inner; k++) {
                __m512i x = _mm512_set1_epi64((long long)a[i * inner + k]);
                wide_add(&s, x, _mm512_maskz_loadu_epi64(valid, b + k * columns + j));
            }
            _mm512_mask_storeu_epi64(out + i * columns + j, valid, wide_reduce(&s));
        }
    }
}

uint64_t k_mul_masked_avx512(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                             const uint64_t *k0, const uint64_t *k1, size_t count) {
    for (size_t i = 0; i < count; i += 8) {
        __mmask8 valid = remaining(count - i);
        __m512i y = _mm512_maskz_loadu_epi64(valid, y0 + i);
        struct wide s = wide_zero();
        wide_add(&s, _mm512_maskz_loadu_epi64(valid, x0 + i), _mm512_xor_si512(y, _mm512_maskz_loadu_epi64(valid, y1 + i)));
        wide_add(&s, _mm512_maskz_loadu_epi64(valid, x1 + i), y);
        __m512i plus = _mm512_maskz_loadu_epi64(valid, k0 + i), minus = _mm512_maskz_loadu_epi64(valid, k1 + i);
        _mm512_mask_storeu_epi64(out + i, valid, ternary_xor(wide_reduce(&s), plus, minus));
    }
    return 0;
}

uint64_t k_dot_masked_avx512(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                             const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length) {
    for (size_t g = 0; g < groups; g++) {
        struct wide s = wide_zero(), t = wide_zero();
        size_t stop = (g + 1) * length;
        for (size_t i = g * length; i < stop; i += 8) {
            __mmask8 valid = remaining(stop - i);
            __m512i y = _mm512_maskz_loadu_epi64(valid, y0 + i);
            wide_add(&s, _mm512_maskz_loadu_epi64(valid, x0 + i), _mm512_xor_si512(y, _mm512_maskz_loadu_epi64(valid, y1 + i)));
            wide_add(&t, _mm512_maskz_loadu_epi64(valid, x1 + i), y);
        }
        out[g] = across(&s) ^ across(&t) ^ k0[g] ^ k1[g];
    }
    return 0;
}

uint64_t k_matmul_masked_avx512(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns) {
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j += 8) {
            __mmask8 valid = remaining(columns - j);
            struct wide s = wide_zero(), t = wide_zero();
            for (size_t k = 0; k < inner; k++) {
                __m512i y = _mm512_maskz_loadu_epi64(valid, y0 + k * columns + j);
                __m512i both = _mm512_xor_si512(y, _mm512_maskz_loadu_epi64(valid, y1 + k * columns + j));
                wide_add(&s, _mm512_set1_epi64((long long)x0[i * inner + k]), both);
                wide_add(&t, _mm512_set1_epi64((long long)x1[i * inner + k]), y);
            }
            s.even = _mm512_xor_si512(s.even, t.even);
            s.odd = _mm512_xor_si512(s.odd, t.odd);
            size_t at = i * columns + j;
            __m512i plus = _mm512_maskz_loadu_epi64(valid, k0 + at), minus = _mm512_maskz_loadu_epi64(valid, k1 + at);
            _mm512_mask_storeu_epi64(out + at, valid, ternary_xor(wide_reduce(&s), plus, minus));
        }
    }
    return 0;
}

void k_gram4_avx512(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t chunks) {
    struct wide total[7];
    for (size_t s = 0; s < 7; s++) total[s] = wide_zero();
    for (size_t c = 0; c < chunks; c += 8) {
        __mmask8 valid = remaining(chunks - c);
        __m512i y[4], both[4];
        for (size_t k = 0; k < 4; k++) {
            y[k] = _mm512_maskz_loadu_epi64(valid, y0 + k * chunks + c);
            both[k] = _mm512_xor_si512(y[k], _mm512_maskz_loadu_epi64(valid, y1 + k * chunks + c));
        }
        for (size_t j = 0; j < 4; j++) {
            __m512i a = _mm512_maskz_loadu_epi64(valid, x0 + j * chunks + c), b = _mm512_maskz_loadu_epi64(valid, x1 + j * chunks + c);
            for (size_t k = 0; k < 4; k++) {
                if (j == k) continue;
                wide_add(&total[3 + j - k], a, both[k]);
                wide_add(&total[3 + j - k], b, y[k]);
            }
        }
    }
    for (size_t s = 0; s < 6; s++) out[s] = across(&total[s < 3 ? s : s + 1]);
}

/* ------------------------------------------------------------------------------------------- chunks of bits
 *
 * GF2P8AFFINEQB takes in each lane of 64 bits a matrix A of 8 by 8 bits and eight bytes x: bit k of byte i of the result is the parity of
 * (byte 7 - k of A) & (byte i of x), 512 ANDs a lane.  With constants for x it transposes A. */

static inline __m512i affine(__m512i x, __m512i matrix) { return _mm512_gf2p8affine_epi64_epi8(x, matrix, 0); }

/* Bit k of byte i of every word: bit i of byte 7 - k. */
static inline __m512i transpose(__m512i v) { return affine(_mm512_set1_epi64((long long)UINT64_C(0x8040201008040201)), v); }

/* The same with the bytes of the result in reverse: bit 7 - i of byte 7 - k. */
static inline __m512i transpose_reversed(__m512i v) { return affine(_mm512_set1_epi64(0x0102040810204080), v); }

/* Byte c of word t: byte t of word c. */
static inline __m512i swap_bytes(__m512i v) {
    const __m512i index = _mm512_set_epi64(0x3f372f271f170f07, 0x3e362e261e160e06, 0x3d352d251d150d05, 0x3c342c241c140c04,
                                           0x3b332b231b130b03, 0x3a322a221a120a02, 0x3931292119110901, 0x3830282018100800);
    return _mm512_permutexvar_epi8(index, v);
}

/* Eight words, 64 chunks, at a time.  What the eight chunks of a word add to the sums [j, k] is byte k of rows[j], one bit a chunk, the
 * last chunk first; one affine per j and word then multiplies it by the eight coefficients: byte t of the result goes to sums [j, k]. */
void bits_gram_avx512(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
                      const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t words) {
    const __m512i next = _mm512_set1_epi8(1);
    __m512i sums[10];
    for (size_t j = 0; j < 10; j++) sums[j] = _mm512_setzero_si512();
    for (size_t start = 0; start < words; start += 8) {
        size_t here = words - start < 8 ? words - start : 8;
        __mmask8 valid = remaining(words - start);
        uint64_t rows[10][8];
        __m512i a = transpose(_mm512_maskz_loadu_epi64(valid, x0 + start)), b = transpose(_mm512_maskz_loadu_epi64(valid, x1 + start));
        __m512i q = transpose(_mm512_maskz_loadu_epi64(valid, y0 + start));
        __m512i p = _mm512_xor_si512(q, transpose(_mm512_maskz_loadu_epi64(valid, y1 + start)));
        __m512i place = _mm512_set4_epi32(0x08080808, 0x08080808, 0, 0); /* byte j of each word, within 128 bits */
        for (size_t j = 0; j < 8; j++) {
            __m512i own = _mm512_and_si512(_mm512_shuffle_epi8(a, place), p), other = _mm512_and_si512(_mm512_shuffle_epi8(b, place), q);
            store(rows[j], _mm512_xor_si512(own, other));
            place = _mm512_add_epi8(place, next);
        }
        store(rows[8], transpose(_mm512_maskz_loadu_epi64(valid, z0 + start)));
        store(rows[9], transpose(_mm512_maskz_loadu_epi64(valid, z1 + start)));
        for (size_t w = 0; w < here; w++) {
            /* Bit m of byte r of word t: bit 7 - r of byte t of coefficient 7 - m. */
            __m512i matrix = transpose_reversed(swap_bytes(load(alpha + 8 * (start + w))));
            for (size_t j = 0; j < 10; j++) {
                sums[j] = _mm512_xor_si512(sums[j], affine(_mm512_set1_epi64((long long)rows[j][w]), matrix));
            }
        }
    }
    for (unsigned j = 0; j < 10; j++) {
        __mmask8 wanted = (__mmask8)(j < 8 ? 0xff ^ 1u << j : 0xff); /* not the diagonal */
        _mm512_mask_storeu_epi64(out + 8 * j, wanted, _mm512_xor_si512(load(out + 8 * j), swap_bytes(sums[j])));
    }
}

void bits_fold_avx512(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t words) {
    const __m512i backwards = _mm512_set_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    /* Bit m of byte r of word t: bit 7 - r of byte t of weight m. */
    __m512i matrix = transpose_reversed(swap_bytes(_mm512_permutexvar_epi64(backwards, load(weights))));
    for (size_t w = 0; w < words; w++) {
        __m512i folded = swap_bytes(affine(_mm512_set1_epi64((long long)a[w]), matrix));
        store(out + 8 * w, alpha == NULL ? folded : mul8(folded, load(alpha + 8 * w)));
    }
}
