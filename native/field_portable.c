/* The meaning of every kernel, in portable C11 (with a 128-bit integer).  See field.h. */
#include "field_portable.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------- F_p */

void p_add_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = p_add1(a[i], b[i]);
}

void p_sub_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = p_sub1(a[i], b[i]);
}

void p_mul_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = p_mul1(a[i], b[i]);
}

void p_neg_portable(uint64_t *out, const uint64_t *a, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = p_neg1(a[i]);
}

void p_scale_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    uint64_t factor = b[0];
    for (size_t i = 0; i < count; i++) out[i] = p_mul1(a[i], factor);
}

void p_sum_portable(uint64_t *out, const uint64_t *a, size_t count) {
    u128 total = 0;
    for (size_t i = 0; i < count; i++) total += a[i];
    out[0] = p_reduce(total);
}

/* sum of a[i] b[i stride], folded every P_LAZY products. */
static inline uint64_t p_dot1(const uint64_t *a, const uint64_t *b, size_t count, size_t stride) {
    u128 total = 0;
    size_t i = 0;
    for (; i + P_LAZY <= count; i += P_LAZY) {
        for (size_t j = i; j < i + P_LAZY; j++) total += (u128)a[j] * b[j * stride];
        total = p_fold(total);
    }
    for (; i < count; i++) total += (u128)a[i] * b[i * stride];
    return p_reduce(total);
}

void p_dot_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) { out[0] = p_dot1(a, b, count, 1); }

/* Four neighbouring columns of one row of the product. */
static inline void p_row4(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t inner, size_t columns) {
    u128 t0 = 0, t1 = 0, t2 = 0, t3 = 0;
    for (size_t start = 0; start < inner; start += P_LAZY) {
        size_t stop = inner - start < P_LAZY ? inner : start + P_LAZY;
        for (size_t k = start; k < stop; k++) {
            const uint64_t *row = b + k * columns;
            t0 += (u128)a[k] * row[0];
            t1 += (u128)a[k] * row[1];
            t2 += (u128)a[k] * row[2];
            t3 += (u128)a[k] * row[3];
        }
        t0 = p_fold(t0);
        t1 = p_fold(t1);
        t2 = p_fold(t2);
        t3 = p_fold(t3);
    }
    out[0] = p_reduce(t0);
    out[1] = p_reduce(t1);
    out[2] = p_reduce(t2);
    out[3] = p_reduce(t3);
}

void p_matmul_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns) {
    size_t j = 0;
    for (; j + 4 <= columns; j += 4) {
        for (size_t i = 0; i < rows; i++) p_row4(out + i * columns + j, a + i * inner, b + j, inner, columns);
    }
    for (; j < columns; j++) {
        for (size_t i = 0; i < rows; i++) out[i * columns + j] = p_dot1(a + i * inner, b + j, inner, columns);
    }
}

uint64_t p_sample_portable(uint64_t *out, const uint64_t *words, size_t count) {
    uint64_t rejected = 0;
    for (size_t i = 0; i < count; i++) out[i] = p_sample1(words[i], &rejected);
    return rejected;
}

uint64_t p_is_canonical_portable(const uint64_t *a, size_t count) {
    uint64_t high = 0;
    for (size_t i = 0; i < count; i++) high |= (a[i] | (a[i] + 1)) >> P_BITS;
    return ((high | (0 - high)) >> 63) ^ 1;
}

uint64_t p_mul_masked_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                               const uint64_t *k0, const uint64_t *k1, size_t count) {
    uint64_t rejected = 0;
    for (size_t i = 0; i < count; i++) out[i] = p_mul_masked1(x0[i], x1[i], y0[i], y1[i], k0[i], k1[i], &rejected);
    return rejected;
}

/* Unreduced sum of x0 (y0 + y1) + x1 y0 with y at a stride; below 2^128 - 2^61 - 2^67 so that a mask can be added. */
static inline u128 p_cross_dot(const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t count, size_t stride) {
    u128 total = 0;
    size_t i = 0;
    for (; i + P_LAZY <= count; i += P_LAZY) {
        for (size_t j = i; j < i + P_LAZY; j++) total += p_cross(x0[j], x1[j], y0[j * stride], y1[j * stride]);
        total = p_fold(total);
    }
    for (; i < count; i++) total += p_cross(x0[i], x1[i], y0[i * stride], y1[i * stride]);
    return p_fold(total);
}

uint64_t p_dot_masked_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                               const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length) {
    uint64_t rejected = 0;
    for (size_t g = 0; g < groups; g++) {
        size_t at = g * length;
        u128 total = p_cross_dot(x0 + at, x1 + at, y0 + at, y1 + at, length, 1);
        out[g] = p_reduce(total + p_mask(k0[g], k1[g], &rejected));
    }
    return rejected;
}

uint64_t p_matmul_masked_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                  const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns) {
    uint64_t rejected = 0;
    for (size_t j = 0; j < columns; j++) {
        for (size_t i = 0; i < rows; i++) {
            size_t at = i * columns + j;
            u128 total = p_cross_dot(x0 + i * inner, x1 + i * inner, y0 + j, y1 + j, inner, columns);
            out[at] = p_reduce(total + p_mask(k0[at], k1[at], &rejected));
        }
    }
    return rejected;
}

void p_gram4_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t chunks) {
    u128 total[7] = {0, 0, 0, 0, 0, 0, 0};
    for (size_t c = 0; c < chunks; c++) {
        for (size_t j = 0; j < 4; j++) {
            for (size_t k = 0; k < 4; k++) {
                size_t left = j * chunks + c, right = k * chunks + c;
                if (j != k) total[3 + j - k] += p_cross(x0[left], x1[left], y0[right], y1[right]);
            }
        }
        for (size_t s = 0; s < 7; s++) total[s] = p_fold(total[s]); /* at most three products were added */
    }
    for (size_t s = 0; s < 6; s++) out[s] = p_reduce(total[s < 3 ? s : s + 1]);
}

/* Element c of quarter j, zero beyond the end. */
static inline uint64_t quarter(const uint64_t *v, size_t j, size_t c, size_t chunks, size_t count) {
    size_t at = j * chunks + c;
    return at < count ? v[at] : 0;
}

void p_first4_portable(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                       const uint64_t *z0, const uint64_t *z1, size_t count) {
    u128 total[24] = {0};
    size_t chunks = (count + 3) / 4;
    for (size_t c = 0; c < chunks; c++) {
        for (size_t j = 0; j < 4; j++) {
            uint64_t a = p_mul1(alpha[c], quarter(x0, j, c, chunks, count)), b = p_mul1(alpha[c], quarter(x1, j, c, chunks, count));
            for (size_t k = 0; k < 4; k++) {
                if (j != k) total[4 * j + k] += p_cross(a, b, quarter(y0, k, c, chunks, count), quarter(y1, k, c, chunks, count));
            }
            total[16 + j] += (u128)alpha[c] * quarter(z0, j, c, chunks, count);
            total[20 + j] += (u128)alpha[c] * quarter(z1, j, c, chunks, count);
        }
        for (size_t s = 0; s < 24; s++) total[s] = p_fold(total[s]);
    }
    for (size_t s = 0; s < 24; s++) out[s] = p_reduce(total[s]);
}

void p_fold4_portable(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t count) {
    size_t chunks = (count + 3) / 4;
    for (size_t c = 0; c < chunks; c++) {
        u128 total = 0;
        for (size_t j = 0; j < 4; j++) total += (u128)weights[j] * quarter(a, j, c, chunks, count);
        uint64_t folded = p_reduce(total);
        out[c] = alpha == NULL ? folded : p_mul1(folded, alpha[c]);
    }
}

/* ------------------------------------------------------------------------------------------- F_q */

void q_add_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    for (size_t i = 0; i < 2 * count; i += 2) q_store(out + i, q_add1(q_load(a + i), q_load(b + i)));
}

void q_sub_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    for (size_t i = 0; i < 2 * count; i += 2) q_store(out + i, q_sub1(q_load(a + i), q_load(b + i)));
}

void q_mul_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    for (size_t i = 0; i < 2 * count; i += 2) q_store(out + i, q_mul1(q_load(a + i), q_load(b + i)));
}

void q_neg_portable(uint64_t *out, const uint64_t *a, size_t count) {
    for (size_t i = 0; i < 2 * count; i += 2) q_store(out + i, q_neg1(q_load(a + i)));
}

void q_scale_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    u128 factor = q_load(b);
    for (size_t i = 0; i < 2 * count; i += 2) q_store(out + i, q_mul1(q_load(a + i), factor));
}

void q_sum_portable(uint64_t *out, const uint64_t *a, size_t count) {
    u128 low = 0, high = 0;
    for (size_t i = 0; i < 2 * count; i += 2) {
        low += a[i];
        high += a[i + 1];
    }
    q_store(out, q_add1(q_reduce(low), q_times_2_64(q_reduce(high))));
}

static inline u128 q_dot1(const uint64_t *a, const uint64_t *b, size_t count, size_t stride) {
    struct q_sums sums = {0, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < count; i++) q_accumulate(&sums, q_load(a + 2 * i), q_load(b + 2 * i * stride));
    return q_sums_reduce(&sums);
}

void q_dot_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) { q_store(out, q_dot1(a, b, count, 1)); }

void q_matmul_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns) {
    for (size_t j = 0; j < columns; j++) {
        for (size_t i = 0; i < rows; i++) {
            q_store(out + 2 * (i * columns + j), q_dot1(a + 2 * i * inner, b + 2 * j, inner, columns));
        }
    }
}

uint64_t q_sample_portable(uint64_t *out, const uint64_t *words, size_t count) {
    uint64_t rejected = 0;
    for (size_t i = 0; i < 2 * count; i += 2) q_store(out + i, q_sample1(words + i, &rejected));
    return rejected;
}

uint64_t q_is_canonical_portable(const uint64_t *a, size_t count) {
    uint64_t bad = 0;
    for (size_t i = 0; i < 2 * count; i += 2) {
        u128 v = q_load(a + i);
        bad |= (uint64_t)((v | (v + 1)) >> Q_BITS);
    }
    return bad ^ 1;
}

uint64_t q_mul_masked_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                               const uint64_t *k0, const uint64_t *k1, size_t count) {
    uint64_t rejected = 0;
    for (size_t i = 0; i < 2 * count; i += 2) {
        u128 z = q_mul_masked1(q_load(x0 + i), q_load(x1 + i), q_load(y0 + i), q_load(y1 + i), k0 + i, k1 + i, &rejected);
        q_store(out + i, z);
    }
    return rejected;
}

static inline u128 q_cross_dot(const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t count, size_t stride) {
    struct q_sums sums = {0, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < count; i++) {
        u128 y = q_load(y0 + 2 * i * stride);
        q_accumulate(&sums, q_load(x0 + 2 * i), q_add1(y, q_load(y1 + 2 * i * stride)));
        q_accumulate(&sums, q_load(x1 + 2 * i), y);
    }
    return q_sums_reduce(&sums);
}

uint64_t q_dot_masked_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                               const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length) {
    uint64_t rejected = 0;
    for (size_t g = 0; g < groups; g++) {
        size_t at = 2 * g * length;
        u128 total = q_cross_dot(x0 + at, x1 + at, y0 + at, y1 + at, length, 1);
        q_store(out + 2 * g, q_add1(total, q_mask(k0 + 2 * g, k1 + 2 * g, &rejected)));
    }
    return rejected;
}

uint64_t q_matmul_masked_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                  const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns) {
    uint64_t rejected = 0;
    for (size_t j = 0; j < columns; j++) {
        for (size_t i = 0; i < rows; i++) {
            size_t at = 2 * (i * columns + j), row = 2 * i * inner;
            u128 total = q_cross_dot(x0 + row, x1 + row, y0 + 2 * j, y1 + 2 * j, inner, columns);
            q_store(out + at, q_add1(total, q_mask(k0 + at, k1 + at, &rejected)));
        }
    }
    return rejected;
}

/* ------------------------------------------------------------------------------------------- K */

void k_mul_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = k_mul1(a[i], b[i]);
}

void k_neg_portable(uint64_t *out, const uint64_t *a, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = a[i];
}

void k_scale_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    uint64_t factor = b[0];
    for (size_t i = 0; i < count; i++) out[i] = k_mul1(a[i], factor);
}

void k_sum_portable(uint64_t *out, const uint64_t *a, size_t count) {
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) total ^= a[i];
    out[0] = total;
}

void k_dot_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    u128 total = 0;
    for (size_t i = 0; i < count; i++) total ^= k_wide(a[i], b[i]);
    out[0] = k_reduce(total);
}

void k_matmul_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns) {
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            u128 total = 0;
            for (size_t k = 0; k < inner; k++) total ^= k_wide(a[i * inner + k], b[k * columns + j]);
            out[i * columns + j] = k_reduce(total);
        }
    }
}

uint64_t k_sample_portable(uint64_t *out, const uint64_t *words, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = words[i];
    return 0;
}

uint64_t k_is_canonical_portable(const uint64_t *a, size_t count) {
    (void)a;
    (void)count;
    return 1;
}

uint64_t k_mul_masked_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                               const uint64_t *k0, const uint64_t *k1, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = k_reduce(k_cross(x0[i], x1[i], y0[i], y1[i])) ^ k0[i] ^ k1[i];
    return 0;
}

uint64_t k_dot_masked_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                               const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length) {
    for (size_t g = 0; g < groups; g++) {
        u128 total = 0;
        for (size_t i = g * length; i < (g + 1) * length; i++) total ^= k_cross(x0[i], x1[i], y0[i], y1[i]);
        out[g] = k_reduce(total) ^ k0[g] ^ k1[g];
    }
    return 0;
}

uint64_t k_matmul_masked_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                  const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns) {
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            size_t at = i * columns + j;
            u128 total = 0;
            for (size_t k = 0; k < inner; k++) {
                total ^= k_cross(x0[i * inner + k], x1[i * inner + k], y0[k * columns + j], y1[k * columns + j]);
            }
            out[at] = k_reduce(total) ^ k0[at] ^ k1[at];
        }
    }
    return 0;
}

void k_gram4_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t chunks) {
    u128 total[7] = {0, 0, 0, 0, 0, 0, 0};
    for (size_t c = 0; c < chunks; c++) {
        for (size_t j = 0; j < 4; j++) {
            for (size_t k = 0; k < 4; k++) {
                size_t left = j * chunks + c, right = k * chunks + c;
                if (j != k) total[3 + j - k] ^= k_cross(x0[left], x1[left], y0[right], y1[right]);
            }
        }
    }
    for (size_t s = 0; s < 6; s++) out[s] = k_reduce(total[s < 3 ? s : s + 1]);
}

/* ------------------------------------------------------------------------------------------- bits */

/* Byte c of a vector of words. */
static inline uint64_t byte_of(const uint64_t *v, size_t c) { return v[c / 8] >> (8 * (c % 8)) & 0xff; }

/* All ones or zero: bit j of `byte`. */
static inline uint64_t bit_mask(uint64_t byte, unsigned j) { return 0 - (byte >> j & 1); }

void bits_gram_portable(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
                        const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t words) {
    for (size_t c = 0; c < 8 * words; c++) {
        uint64_t xa = byte_of(x0, c), xb = byte_of(x1, c), q = byte_of(y0, c), p = q ^ byte_of(y1, c);
        uint64_t za = byte_of(z0, c), zb = byte_of(z1, c), a = alpha[c];
        for (unsigned j = 0; j < 8; j++) {
            uint64_t row = (p & bit_mask(xa, j)) ^ (q & bit_mask(xb, j));
            for (unsigned k = 0; k < 8; k++) out[8 * j + k] ^= a & bit_mask(row & ~(1u << j), k);
            out[64 + j] ^= a & bit_mask(za, j);
            out[72 + j] ^= a & bit_mask(zb, j);
        }
    }
}

void bits_fold_portable(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t words) {
    for (size_t c = 0; c < 8 * words; c++) {
        uint64_t byte = byte_of(a, c), total = 0;
        for (unsigned j = 0; j < 8; j++) total ^= weights[j] & bit_mask(byte, j);
        out[c] = alpha == NULL ? total : k_mul1(total, alpha[c]);
    }
}

void bits_xor_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = a[i] ^ b[i];
}

void bits_and_portable(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = a[i] & b[i];
}

void bits_not_portable(uint64_t *out, const uint64_t *a, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = ~a[i];
}

uint64_t bits_and_masked_portable(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                  const uint64_t *k0, const uint64_t *k1, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = (x0[i] & (y0[i] ^ y1[i])) ^ (x1[i] & y0[i]) ^ k0[i] ^ k1[i];
    return 0;
}

void to_planes_portable(uint64_t *out, const uint64_t *in, size_t count, size_t width) {
    size_t words = bits_words(count);
    for (size_t w = 0; w < words; w++) {
        uint64_t block[64] = {0};
        size_t here = count - 64 * w < 64 ? count - 64 * w : 64;
        memcpy(block, in + 64 * w, here * sizeof block[0]);
        bits_transpose64(block);
        for (size_t j = 0; j < width; j++) out[j * words + w] = block[j];
    }
}

void from_planes_portable(uint64_t *out, const uint64_t *in, size_t count, size_t width) {
    size_t words = bits_words(count);
    for (size_t w = 0; w < words; w++) {
        uint64_t block[64] = {0};
        size_t here = count - 64 * w < 64 ? count - 64 * w : 64;
        for (size_t j = 0; j < width; j++) block[j] = in[j * words + w];
        bits_transpose64(block);
        memcpy(out + 64 * w, block, here * sizeof block[0]);
    }
}

const struct field_kernels field_portable = {
    .name = "portable",
    .p = FIELD_P_PORTABLE,
    .q = FIELD_Q_PORTABLE,
    .k = FIELD_K_PORTABLE,
    .bits_gram = bits_gram_portable, .bits_fold = bits_fold_portable,
    FIELD_BITS_PORTABLE,
};
