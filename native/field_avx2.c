/* AVX2 and PCLMUL siblings.  See field.h.
 *
 * F_p products on four lanes.  There is only a 32-bit multiplication, so operands are split at 31 bits, a = a0 + 2^31 a1; a sum of
 * products is kept as low + 2^31 middle + 2^62 high with 2^61 = 1 (mod p).  One masked product fits without a fold: low is below 2^63,
 * middle below 2^64, high below 1.5 * 2^61.
 */
#include "field_portable.h"

#include <immintrin.h>
#include <string.h>

static inline __m256i load(const uint64_t *a) { return _mm256_loadu_si256((const __m256i *)(const void *)a); }
static inline void store(uint64_t *out, __m256i v) { _mm256_storeu_si256((__m256i *)(void *)out, v); }

static inline __m256i modulus(void) { return _mm256_set1_epi64x((long long)P_MODULUS); }

/* s < 2p. */
static inline __m256i once(__m256i s) {
    __m256i t = _mm256_sub_epi64(s, modulus()), negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), t);
    return _mm256_add_epi64(t, _mm256_and_si256(modulus(), negative));
}

/* Congruent to any s, at most p + 7. */
static inline __m256i fold(__m256i s) {
    return _mm256_add_epi64(_mm256_and_si256(s, modulus()), _mm256_srli_epi64(s, P_BITS));
}

struct lanes {
    __m256i low, middle, high;
};

static inline struct lanes lanes_zero(void) {
    struct lanes s = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    return s;
}

static inline __m256i lower(__m256i a) { return _mm256_and_si256(a, _mm256_set1_epi64x(0x7fffffff)); }

/* s + a b, for a and b below 2^62. */
static inline void lanes_add(struct lanes *s, __m256i a, __m256i b) {
    __m256i a0 = lower(a), a1 = _mm256_srli_epi64(a, 31), b0 = lower(b), b1 = _mm256_srli_epi64(b, 31);
    s->low = _mm256_add_epi64(s->low, _mm256_mul_epu32(a0, b0));
    s->middle = _mm256_add_epi64(s->middle, _mm256_add_epi64(_mm256_mul_epu32(a0, b1), _mm256_mul_epu32(a1, b0)));
    s->high = _mm256_add_epi64(s->high, _mm256_mul_epu32(a1, b1));
}

/* Congruent to the sum, below 2^61 + 2^61 + 2^34 + 1.5 * 2^62 + 7. */
static inline __m256i lanes_fold(const struct lanes *s) {
    __m256i middle = _mm256_and_si256(_mm256_slli_epi64(s->middle, 31), modulus());
    __m256i above = _mm256_add_epi64(_mm256_srli_epi64(s->middle, 30), _mm256_slli_epi64(s->high, 1));
    return _mm256_add_epi64(fold(s->low), _mm256_add_epi64(middle, above));
}

/* F(words); -1 is added to the lanes of *kept that were replaced. */
static inline __m256i sample(__m256i words, __m256i *kept) {
    __m256i v = _mm256_and_si256(words, modulus()), bad = _mm256_cmpeq_epi64(v, modulus());
    *kept = _mm256_add_epi64(*kept, bad);
    return _mm256_andnot_si256(bad, v);
}

static inline __m256i mul4(__m256i a, __m256i b) {
    struct lanes s = lanes_zero();
    lanes_add(&s, a, b);
    return once(fold(lanes_fold(&s)));
}

static void p_mul_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    size_t i = 0;
    for (; i + 4 <= count; i += 4) store(out + i, mul4(load(a + i), load(b + i)));
    p_mul_portable(out + i, a + i, b + i, count - i);
}

static void p_scale_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    __m256i factor = _mm256_set1_epi64x((long long)b[0]);
    size_t i = 0;
    for (; i + 4 <= count; i += 4) store(out + i, mul4(load(a + i), factor));
    p_scale_portable(out + i, a + i, b, count - i);
}

static uint64_t p_mul_masked_avx2(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                  const uint64_t *k0, const uint64_t *k1, size_t count) {
    __m256i kept = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        struct lanes s = lanes_zero();
        __m256i y = load(y0 + i);
        lanes_add(&s, load(x0 + i), _mm256_add_epi64(y, load(y1 + i)));
        lanes_add(&s, load(x1 + i), y);
        __m256i plus = sample(load(k0 + i), &kept), minus = sample(load(k1 + i), &kept);
        __m256i mask = _mm256_add_epi64(plus, _mm256_sub_epi64(modulus(), minus)); /* below 2^62: the sum stays below 2^64 */
        store(out + i, once(fold(_mm256_add_epi64(lanes_fold(&s), mask))));
    }
    uint64_t lanes[4];
    store(lanes, kept);
    uint64_t tail = p_mul_masked_portable(out + i, x0 + i, x1 + i, y0 + i, y1 + i, k0 + i, k1 + i, count - i);
    return tail - lanes[0] - lanes[1] - lanes[2] - lanes[3];
}

/* One stage of the transpose; see bits_exchange. */
static inline void exchange(uint64_t block[64], unsigned distance, uint64_t mask) {
    __m256i lanes = _mm256_set1_epi64x((long long)mask);
    __m128i by = _mm_cvtsi32_si128((int)distance);
    for (unsigned start = 0; start < 64; start += 2 * distance) {
        for (unsigned k = start; k < start + distance; k += 4) {
            __m256i a = load(block + k), b = load(block + k + distance);
            __m256i swap = _mm256_and_si256(_mm256_xor_si256(_mm256_srl_epi64(a, by), b), lanes);
            store(block + k, _mm256_xor_si256(a, _mm256_sll_epi64(swap, by)));
            store(block + k + distance, _mm256_xor_si256(b, swap));
        }
    }
}

/* The last two stages stay inside groups of four words. */
static inline void transpose64(uint64_t block[64]) {
    exchange(block, 32, UINT64_C(0x00000000FFFFFFFF));
    exchange(block, 16, UINT64_C(0x0000FFFF0000FFFF));
    exchange(block, 8, UINT64_C(0x00FF00FF00FF00FF));
    exchange(block, 4, UINT64_C(0x0F0F0F0F0F0F0F0F));
    __m256i twos = _mm256_set1_epi64x(0x3333333333333333), ones = _mm256_set1_epi64x(0x5555555555555555);
    for (unsigned k = 0; k < 64; k += 8) {
        __m256i a = load(block + k), b = load(block + k + 4), swap;
        __m256i x = _mm256_permute2x128_si256(a, b, 0x20), y = _mm256_permute2x128_si256(a, b, 0x31); /* words 0 1 4 5, 2 3 6 7 */
        swap = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi64(x, 2), y), twos);
        x = _mm256_xor_si256(x, _mm256_slli_epi64(swap, 2));
        y = _mm256_xor_si256(y, swap);
        __m256i even = _mm256_unpacklo_epi64(x, y), odd = _mm256_unpackhi_epi64(x, y); /* words 0 2 4 6, 1 3 5 7 */
        swap = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi64(even, 1), odd), ones);
        even = _mm256_xor_si256(even, _mm256_slli_epi64(swap, 1));
        odd = _mm256_xor_si256(odd, swap);
        x = _mm256_unpacklo_epi64(even, odd); /* 0 1 4 5 */
        y = _mm256_unpackhi_epi64(even, odd); /* 2 3 6 7 */
        store(block + k, _mm256_permute2x128_si256(x, y, 0x20));
        store(block + k + 4, _mm256_permute2x128_si256(x, y, 0x31));
    }
}

void to_planes_avx2(uint64_t *out, const uint64_t *in, size_t count, size_t width) {
    size_t words = bits_words(count);
    for (size_t w = 0; w < words; w++) {
        uint64_t block[64] = {0};
        size_t here = count - 64 * w < 64 ? count - 64 * w : 64;
        memcpy(block, in + 64 * w, here * sizeof block[0]);
        transpose64(block);
        for (size_t j = 0; j < width; j++) out[j * words + w] = block[j];
    }
}

void from_planes_avx2(uint64_t *out, const uint64_t *in, size_t count, size_t width) {
    size_t words = bits_words(count);
    for (size_t w = 0; w < words; w++) {
        uint64_t block[64] = {0};
        size_t here = count - 64 * w < 64 ? count - 64 * w : 64;
        for (size_t j = 0; j < width; j++) block[j] = in[j * words + w];
        transpose64(block);
        memcpy(out + 64 * w, block, here * sizeof block[0]);
    }
}

/* ------------------------------------------------------------------------------------------- K, and chunks of bits */

#define vector __m128i
#define LANES 2
#define lanes_of size_t

static inline lanes_of at_most(size_t n) { return n < LANES ? n : LANES; }

static inline vector load_n(const uint64_t *a, size_t n) {
    if (n == 2) return _mm_loadu_si128((const __m128i *)(const void *)a);
    return n == 1 ? _mm_loadl_epi64((const __m128i *)(const void *)a) : _mm_setzero_si128();
}

static inline void store_n(uint64_t *out, vector v, size_t n) {
    if (n == 2) _mm_storeu_si128((__m128i *)(void *)out, v);
    if (n == 1) _mm_storel_epi64((__m128i *)(void *)out, v);
}

static inline vector splat(uint64_t word) { return _mm_set1_epi64x((long long)word); }
static inline vector xor2(vector a, vector b) { return _mm_xor_si128(a, b); }
static inline vector xor3(vector a, vector b, vector c) { return _mm_xor_si128(_mm_xor_si128(a, b), c); }
static inline vector left(vector v, int by) { return _mm_slli_epi64(v, by); }
static inline vector right(vector v, int by) { return _mm_srli_epi64(v, by); }
static inline vector clmul_even(vector a, vector b) { return _mm_clmulepi64_si128(a, b, 0x00); }
static inline vector clmul_odd(vector a, vector b) { return _mm_clmulepi64_si128(a, b, 0x11); }
static inline vector words_low(vector even, vector odd) { return _mm_unpacklo_epi64(even, odd); }
static inline vector words_high(vector even, vector odd) { return _mm_unpackhi_epi64(even, odd); }

#include "field_clmul.h"

/* Four words: all ones where the bit is set that `bits` has in that lane. */
static inline __m256i spread(__m256i row, __m256i bits) { return _mm256_cmpeq_epi64(_mm256_and_si256(row, bits), bits); }

static inline __m256i row_of(uint64_t word) { return _mm256_set1_epi64x((long long)word); }

/* sums[0..7] += a in the lanes whose bit is set in the byte; the rest of the word is ignored. */
static inline void add_where(uint64_t *sums, uint64_t byte, __m256i a) {
    __m256i row = row_of(byte), low = _mm256_set_epi64x(8, 4, 2, 1), high = _mm256_set_epi64x(128, 64, 32, 16);
    store(sums, _mm256_xor_si256(load(sums), _mm256_and_si256(a, spread(row, low))));
    store(sums + 4, _mm256_xor_si256(load(sums + 4), _mm256_and_si256(a, spread(row, high))));
}

static void bits_gram_avx2(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
                           const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t words) {
    for (size_t w = 0; w < words; w++) {
        uint64_t q = y0[w], p = q ^ y1[w], ones = UINT64_C(0x0101010101010101), rows[8];
        for (unsigned j = 0; j < 8; j++) rows[j] = (p & (x0[w] >> j & ones) * 0xff) ^ (q & (x1[w] >> j & ones) * 0xff);
        for (unsigned c = 0; c < 8; c++) {
            __m256i a = row_of(alpha[8 * w + c]);
            for (unsigned j = 0; j < 8; j++) add_where(out + (size_t)8 * j, rows[j] >> 8 * c, a);
            add_where(out + 64, z0[w] >> 8 * c, a);
            add_where(out + 72, z1[w] >> 8 * c, a);
        }
    }
}

/* Sixteen bytes times eight weights.  Every byte of the results is the sum of two look-ups by half a byte, in registers: the tables are
 * sums of the weights, the shuffle takes the same time for every index. */
static void bits_fold_avx2(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t words) {
    uint8_t tables[2][8][16];
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned index = 0; index < 16; index++) {
            uint64_t total = 0;
            for (unsigned j = 0; j < 4; j++) total ^= weights[4 * half + j] & (0 - (uint64_t)(index >> j & 1)); /* the index is public */
            for (unsigned t = 0; t < 8; t++) tables[half][t][index] = (uint8_t)(total >> 8 * t);
        }
    }
    __m128i low_half = _mm_set1_epi8(15);
    for (size_t w = 0; w < words; w += 2) {
        size_t n = words - w < 2 ? 1 : 2;
        __m128i bytes = load_n(a + w, n), low = _mm_and_si128(bytes, low_half), high = _mm_and_si128(_mm_srli_epi64(bytes, 4), low_half), r[8], s[8];
        for (unsigned t = 0; t < 8; t++) {
            __m128i lower_table = _mm_loadu_si128((const __m128i *)(const void *)tables[0][t]);
            __m128i upper_table = _mm_loadu_si128((const __m128i *)(const void *)tables[1][t]);
            r[t] = _mm_xor_si128(_mm_shuffle_epi8(lower_table, low), _mm_shuffle_epi8(upper_table, high)); /* byte t of all results */
        }
        for (unsigned t = 0; t < 4; t++) {
            s[t] = _mm_unpacklo_epi8(r[2 * t], r[2 * t + 1]); /* bytes 2t and 2t + 1 of the first eight results */
            s[t + 4] = _mm_unpackhi_epi8(r[2 * t], r[2 * t + 1]);
        }
        for (unsigned half = 0; half < n; half++) {
            __m128i *v = s + (size_t)4 * half;
            __m128i first = _mm_unpacklo_epi16(v[0], v[1]), second = _mm_unpackhi_epi16(v[0], v[1]);
            __m128i third = _mm_unpacklo_epi16(v[2], v[3]), fourth = _mm_unpackhi_epi16(v[2], v[3]);
            __m128i results[4] = {_mm_unpacklo_epi32(first, third), _mm_unpackhi_epi32(first, third),
                                  _mm_unpacklo_epi32(second, fourth), _mm_unpackhi_epi32(second, fourth)};
            for (size_t k = 0; k < 4; k++) {
                size_t at = 8 * (w + half) + 2 * k;
                store_n(out + at, alpha == NULL ? results[k] : multiply(results[k], load_n(alpha + at, 2)), 2);
            }
        }
    }
}

const struct field_kernels field_avx2 = {
    .name = "avx2",
    .p = {
        .add = p_add_portable, .sub = p_sub_portable, .mul = p_mul_avx2, .neg = p_neg_portable, .scale = p_scale_avx2,
        .sum = p_sum_portable, .dot = p_dot_portable, .matmul = p_matmul_portable, .sample = p_sample_portable,
        .is_canonical = p_is_canonical_portable, .mul_masked = p_mul_masked_avx2, .dot_masked = p_dot_masked_portable,
        .matmul_masked = p_matmul_masked_portable, .gram = p_gram_portable, .fold = p_fold_portable,
    },
    .q = FIELD_Q_PORTABLE,
    .k = FIELD_K_CLMUL,
    .bits_gram = bits_gram_avx2, .bits_fold = bits_fold_avx2,
    .bits_xor = bits_xor_portable, .bits_and = bits_and_portable, .bits_not = bits_not_portable,
    .bits_and_masked = bits_and_masked_portable, .to_planes = to_planes_avx2, .from_planes = from_planes_avx2,
};
