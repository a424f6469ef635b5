/* AVX2 siblings.  See field.h. */
#include "field_portable.h"

#include <immintrin.h>
#include <string.h>

static inline __m256i load(const uint64_t *a) { return _mm256_loadu_si256((const __m256i *)(const void *)a); }
static inline void store(uint64_t *out, __m256i v) { _mm256_storeu_si256((__m256i *)(void *)out, v); }

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
    .p = FIELD_P_PORTABLE,
    .q = FIELD_Q_PORTABLE,
    .bits_xor = bits_xor_portable, .bits_and = bits_and_portable, .bits_not = bits_not_portable,
    .bits_and_masked = bits_and_masked_portable, .to_planes = to_planes_avx2, .from_planes = from_planes_avx2,
};
