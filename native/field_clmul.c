/* K = GF(2^64) on PCLMULQDQ, and the chunks of bits on AVX2; part of the avx2 table.  See field.h. */
#include "field_portable.h"

#include <immintrin.h>

static inline __m128i wide(uint64_t a, uint64_t b) {
    return _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a), _mm_cvtsi64_si128((long long)b), 0x00);
}

static inline __m128i cross(uint64_t x0, uint64_t x1, uint64_t y0, uint64_t y1) { return _mm_xor_si128(wide(x0, y0 ^ y1), wide(x1, y0)); }

static inline uint64_t reduce(__m128i v) {
    const __m128i polynomial = _mm_cvtsi64_si128(0x1b);
    __m128i t = _mm_clmulepi64_si128(v, polynomial, 0x01);
    __m128i u = _mm_clmulepi64_si128(t, polynomial, 0x01);
    return (uint64_t)_mm_cvtsi128_si64(_mm_xor_si128(v, _mm_xor_si128(t, u)));
}

void k_mul_clmul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = reduce(wide(a[i], b[i]));
}

void k_scale_clmul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    uint64_t factor = b[0];
    for (size_t i = 0; i < count; i++) out[i] = reduce(wide(a[i], factor));
}

static inline __m128i dot(const uint64_t *a, const uint64_t *b, size_t count, size_t stride) {
    __m128i total = _mm_setzero_si128();
    for (size_t i = 0; i < count; i++) total = _mm_xor_si128(total, wide(a[i], b[i * stride]));
    return total;
}

void k_dot_clmul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) { out[0] = reduce(dot(a, b, count, 1)); }

void k_matmul_clmul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns) {
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) out[i * columns + j] = reduce(dot(a + i * inner, b + j, inner, columns));
    }
}

uint64_t k_mul_masked_clmul(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                            const uint64_t *k0, const uint64_t *k1, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = reduce(cross(x0[i], x1[i], y0[i], y1[i])) ^ k0[i] ^ k1[i];
    return 0;
}

uint64_t k_dot_masked_clmul(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                            const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length) {
    for (size_t g = 0; g < groups; g++) {
        __m128i total = _mm_setzero_si128();
        for (size_t i = g * length; i < (g + 1) * length; i++) total = _mm_xor_si128(total, cross(x0[i], x1[i], y0[i], y1[i]));
        out[g] = reduce(total) ^ k0[g] ^ k1[g];
    }
    return 0;
}

uint64_t k_matmul_masked_clmul(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                               const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns) {
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            __m128i total = _mm_setzero_si128();
            for (size_t k = 0; k < inner; k++) {
                size_t left = i * inner + k, right = k * columns + j;
                total = _mm_xor_si128(total, cross(x0[left], x1[left], y0[right], y1[right]));
            }
            size_t at = i * columns + j;
            out[at] = reduce(total) ^ k0[at] ^ k1[at];
        }
    }
    return 0;
}

void k_gram4_clmul(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t chunks) {
    __m128i total[7];
    for (size_t s = 0; s < 7; s++) total[s] = _mm_setzero_si128();
    for (size_t c = 0; c < chunks; c++) {
        for (size_t j = 0; j < 4; j++) {
            for (size_t k = 0; k < 4; k++) {
                size_t left = j * chunks + c, right = k * chunks + c;
                if (j != k) total[3 + j - k] = _mm_xor_si128(total[3 + j - k], cross(x0[left], x1[left], y0[right], y1[right]));
            }
        }
    }
    for (size_t s = 0; s < 6; s++) out[s] = reduce(total[s < 3 ? s : s + 1]);
}

/* ------------------------------------------------------------------------------------------- chunks of bits */

/* Lanes 0 to 3 (4 to 7) of a where the bits 0 to 3 (4 to 7) of a byte are set. */
static inline __m256i selected(__m256i byte, __m256i bits, __m256i a) {
    return _mm256_and_si256(a, _mm256_cmpeq_epi64(_mm256_and_si256(byte, bits), bits));
}

/* Every byte rotated left by s, 0 < s < 8. */
static inline uint64_t rotate_bytes(uint64_t v, unsigned s) {
    const uint64_t ones = UINT64_C(0x0101010101010101), upper = ones * (0xffu & 0xffu << s);
    return (v << s & upper) | (v >> (8 - s) & ~upper);
}

/* sums[s], lane j, gathers alpha_c x_cj y_c(j-s), a word of eight chunks at a time. */
void bits_gram_avx2(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
                    const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t words) {
    const __m256i low = _mm256_setr_epi64x(1, 2, 4, 8), high = _mm256_setr_epi64x(16, 32, 64, 128);
    __m256i sums[9][2];
    for (unsigned s = 0; s < 9; s++) sums[s][0] = sums[s][1] = _mm256_setzero_si256();
    for (size_t w = 0; w < words; w++) {
        uint64_t q = y0[w], p = q ^ y1[w], rows[9];
        for (unsigned s = 1; s < 8; s++) rows[s - 1] = (x0[w] & rotate_bytes(p, s)) ^ (x1[w] & rotate_bytes(q, s));
        rows[7] = z0[w];
        rows[8] = z1[w];
        for (unsigned c = 0; c < 8; c++) {
            __m256i a = _mm256_set1_epi64x((long long)alpha[8 * w + c]);
            for (unsigned s = 0; s < 9; s++) {
                __m256i byte = _mm256_set1_epi64x((long long)(rows[s] >> 8 * c)); /* its lowest byte counts */
                sums[s][0] = _mm256_xor_si256(sums[s][0], selected(byte, low, a));
                sums[s][1] = _mm256_xor_si256(sums[s][1], selected(byte, high, a));
            }
        }
    }
    for (unsigned s = 0; s < 9; s++) {
        uint64_t lanes[8];
        _mm256_storeu_si256((__m256i *)(void *)lanes, sums[s][0]);
        _mm256_storeu_si256((__m256i *)(void *)(lanes + 4), sums[s][1]);
        for (unsigned j = 0; j < 8; j++) out[s < 7 ? 8 * j + ((j - s - 1) & 7) : 8 + 8 * s + j] ^= lanes[j];
    }
}

/* Two products, reduced. */
static inline __m128i multiply(__m128i a, __m128i b) {
    const __m128i polynomial = _mm_set1_epi64x(0x1b);
    __m128i v[2] = {_mm_clmulepi64_si128(a, b, 0x00), _mm_clmulepi64_si128(a, b, 0x11)};
    for (unsigned k = 0; k < 2; k++) {
        __m128i t = _mm_clmulepi64_si128(v[k], polynomial, 0x01);
        v[k] = _mm_xor_si128(v[k], _mm_xor_si128(t, _mm_clmulepi64_si128(t, polynomial, 0x01)));
    }
    return _mm_unpacklo_epi64(v[0], v[1]);
}

/* Eight results of one word; s[k]: bytes 2k and 2k + 1 of all eight. */
static inline void store_eight(uint64_t *out, const uint64_t *alpha, const __m128i s[4]) {
    __m128i first = _mm_unpacklo_epi16(s[0], s[1]), second = _mm_unpackhi_epi16(s[0], s[1]);
    __m128i third = _mm_unpacklo_epi16(s[2], s[3]), fourth = _mm_unpackhi_epi16(s[2], s[3]);
    __m128i results[4] = {_mm_unpacklo_epi32(first, third), _mm_unpackhi_epi32(first, third), _mm_unpacklo_epi32(second, fourth),
                          _mm_unpackhi_epi32(second, fourth)};
    for (size_t k = 0; k < 4; k++) {
        __m128i v = results[k];
        if (alpha != NULL) v = multiply(v, _mm_loadu_si128((const __m128i *)(const void *)(alpha + 2 * k)));
        _mm_storeu_si128((__m128i *)(void *)(out + 2 * k), v);
    }
}

/* Byte t of a result is the sum of two entries of tables of 16, one for each half of the byte: sums of four weights.  The tables are
 * registers; a shuffle takes the same time for every index. */
void bits_fold_clmul(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t words) {
    const __m128i half = _mm_set1_epi8(15);
    uint8_t tables[2][8][16];
    for (unsigned index = 0; index < 16; index++) {
        uint64_t low = 0, high = 0;
        for (unsigned j = 0; j < 4; j++) {
            low ^= weights[j] & (0 - (uint64_t)(index >> j & 1));
            high ^= weights[4 + j] & (0 - (uint64_t)(index >> j & 1));
        }
        for (unsigned t = 0; t < 8; t++) {
            tables[0][t][index] = (uint8_t)(low >> 8 * t);
            tables[1][t][index] = (uint8_t)(high >> 8 * t);
        }
    }
    for (size_t w = 0; w < words; w += 2) {
        int pair = words - w > 1;
        __m128i v = pair ? _mm_loadu_si128((const __m128i *)(const void *)(a + w)) : _mm_cvtsi64_si128((long long)a[w]);
        __m128i low = _mm_and_si128(v, half), high = _mm_and_si128(_mm_srli_epi64(v, 4), half), bytes[8], s[4];
        for (unsigned t = 0; t < 8; t++) {
            __m128i lower = _mm_loadu_si128((const __m128i *)(const void *)tables[0][t]);
            __m128i upper = _mm_loadu_si128((const __m128i *)(const void *)tables[1][t]);
            bytes[t] = _mm_xor_si128(_mm_shuffle_epi8(lower, low), _mm_shuffle_epi8(upper, high));
        }
        const uint64_t *factors = alpha == NULL ? NULL : alpha + 8 * w;
        for (unsigned k = 0; k < 4; k++) s[k] = _mm_unpacklo_epi8(bytes[2 * k], bytes[2 * k + 1]);
        store_eight(out + 8 * w, factors, s);
        if (!pair) break;
        for (unsigned k = 0; k < 4; k++) s[k] = _mm_unpackhi_epi8(bytes[2 * k], bytes[2 * k + 1]);
        store_eight(out + 8 * w + 8, factors == NULL ? NULL : factors + 8, s);
    }
}
