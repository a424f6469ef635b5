/* K = GF(2^64) and the chunks of bits on VPCLMULQDQ and AVX-512 (F, BW, DQ, VL); part of the avx512 table.  See field.h.
 *
 * A sum of products is kept unreduced in two registers: `even` holds the 128-bit products of lanes 0, 2, 4, 6, `odd` those of lanes
 * 1, 3, 5, 7.  Carry-less sums do not overflow, so one reduction at the end serves any number of products.  Lane masks are
 * data in mask registers: they select, in the same time for all values. */
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

/* ------------------------------------------------------------------------------------------- chunks of bits */

/* Every byte rotated left by s, 0 < s < 8. */
static inline __m512i rotate_bytes(__m512i v, unsigned s) {
    __m512i keep = _mm512_set1_epi8((char)(0xff << s));
    return _mm512_ternarylogic_epi64(keep, _mm512_sll_epi16(v, _mm_cvtsi32_si128((int)s)),
                                     _mm512_srl_epi16(v, _mm_cvtsi32_si128((int)(8 - s))), 0xca);
}

/* M[s], lane j, gathers alpha_c x_cj y_c(j-s): the bits j of the byte select the lanes.  Eight words are 64 chunks. */
void bits_gram_avx512(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
                      const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t words) {
    __m512i m1 = _mm512_setzero_si512(), m2 = m1, m3 = m1, m4 = m1, m5 = m1, m6 = m1, m7 = m1, za = m1, zb = m1;
    size_t w = 0;
    for (; w + 8 <= words; w += 8) {
        uint8_t select[9][64];
        __m512i xa = load(x0 + w), xb = load(x1 + w), q = load(y0 + w), p = _mm512_xor_si512(q, load(y1 + w));
        for (unsigned s = 1; s < 8; s++) {
            __m512i row = _mm512_ternarylogic_epi64(_mm512_and_si512(xa, rotate_bytes(p, s)), xb, rotate_bytes(q, s), 0x78);
            _mm512_storeu_si512(select[s - 1], row);
        }
        _mm512_storeu_si512(select[7], load(z0 + w));
        _mm512_storeu_si512(select[8], load(z1 + w));
        const uint64_t *factors = alpha + 8 * w;
        for (size_t c = 0; c < 64; c++) {
            __m512i a = _mm512_set1_epi64((long long)factors[c]);
            m1 = _mm512_mask_xor_epi64(m1, select[0][c], m1, a);
            m2 = _mm512_mask_xor_epi64(m2, select[1][c], m2, a);
            m3 = _mm512_mask_xor_epi64(m3, select[2][c], m3, a);
            m4 = _mm512_mask_xor_epi64(m4, select[3][c], m4, a);
            m5 = _mm512_mask_xor_epi64(m5, select[4][c], m5, a);
            m6 = _mm512_mask_xor_epi64(m6, select[5][c], m6, a);
            m7 = _mm512_mask_xor_epi64(m7, select[6][c], m7, a);
            za = _mm512_mask_xor_epi64(za, select[7][c], za, a);
            zb = _mm512_mask_xor_epi64(zb, select[8][c], zb, a);
        }
    }
    uint64_t lanes[9][8];
    store(lanes[0], za), store(lanes[8], zb);
    store(lanes[1], m1), store(lanes[2], m2), store(lanes[3], m3), store(lanes[4], m4);
    store(lanes[5], m5), store(lanes[6], m6), store(lanes[7], m7);
    for (unsigned j = 0; j < 8; j++) {
        for (unsigned s = 1; s < 8; s++) out[8 * j + ((j - s) & 7)] ^= lanes[s][j];
        out[64 + j] ^= lanes[0][j];
        out[72 + j] ^= lanes[8][j];
    }
    bits_gram_portable(out, alpha + 8 * w, x0 + w, x1 + w, y0 + w, y1 + w, z0 + w, z1 + w, words - w);
}

static inline __m512i exchange(__m512i v, unsigned distance, uint64_t mask) {
    __m128i by = _mm_cvtsi32_si128((int)distance);
    __m512i swap = _mm512_and_si512(_mm512_xor_si512(v, _mm512_srl_epi64(v, by)), _mm512_set1_epi64((long long)mask));
    return ternary_xor(v, swap, _mm512_sll_epi64(swap, by));
}

/* Every word as 8 bytes of 8 bits, transposed: bit j of byte i becomes bit i of byte j (Hacker's Delight, 7-3). */
static inline __m512i transpose_bytes(__m512i v) {
    v = exchange(v, 7, UINT64_C(0x00AA00AA00AA00AA));
    v = exchange(v, 14, UINT64_C(0x0000CCCC0000CCCC));
    return exchange(v, 28, UINT64_C(0x00000000F0F0F0F0));
}

void bits_fold_avx512(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t words) {
    __m512i factor[8];
    for (unsigned j = 0; j < 8; j++) factor[j] = _mm512_set1_epi64((long long)weights[j]);
    size_t w = 0;
    for (; w + 8 <= words; w += 8) {
        __m512i v = load(a + w);
        uint8_t select[8][8]; /* of word g, bit j of each of its bytes */
        _mm512_storeu_si512(select, transpose_bytes(v));
        for (unsigned g = 0; g < 8; g++) {
            __m512i total = _mm512_setzero_si512();
            for (unsigned j = 0; j < 8; j++) {
                total = _mm512_mask_xor_epi64(total, select[g][j], total, factor[j]);
            }
            size_t at = 8 * (w + g);
            if (alpha != NULL) total = mul8(total, load(alpha + at));
            store(out + at, total);
        }
    }
    bits_fold_portable(out + 8 * w, alpha == NULL ? NULL : alpha + 8 * w, weights, a + w, words - w);
}
