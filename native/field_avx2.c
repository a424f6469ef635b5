/* AVX2 siblings.  See field.h.
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

const struct field_kernels field_avx2 = {
    .name = "avx2",
    .p = {
        .add = p_add_portable, .sub = p_sub_portable, .mul = p_mul_avx2, .neg = p_neg_portable, .scale = p_scale_avx2,
        .sum = p_sum_portable, .dot = p_dot_portable, .matmul = p_matmul_portable, .sample = p_sample_portable,
        .is_canonical = p_is_canonical_portable, .mul_masked = p_mul_masked_avx2, .dot_masked = p_dot_masked_portable,
        .matmul_masked = p_matmul_masked_portable, .gram4 = p_gram4_portable,
        .first4 = p_first4_portable, .fold4 = p_fold4_portable,
    },
    .q = FIELD_Q_PORTABLE,
    .k = {
        .add = bits_xor_portable, .sub = bits_xor_portable, .mul = k_mul_clmul, .neg = k_neg_portable, .scale = k_scale_clmul,
        .sum = k_sum_portable, .dot = k_dot_clmul, .matmul = k_matmul_clmul, .sample = k_sample_portable,
        .is_canonical = k_is_canonical_portable, .mul_masked = k_mul_masked_clmul, .dot_masked = k_dot_masked_clmul,
        .matmul_masked = k_matmul_masked_clmul, .gram4 = k_gram4_clmul,
    },
    .bits_gram = bits_gram_avx2, .bits_fold = bits_fold_clmul,
    .bits_xor = bits_xor_portable, .bits_and = bits_and_portable, .bits_not = bits_not_portable,
    .bits_and_masked = bits_and_masked_portable, .to_planes = to_planes_avx2, .from_planes = from_planes_avx2,
};
