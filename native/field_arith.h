/* Constant-time arithmetic on single elements; the building blocks of the portable kernels and of the tails of their siblings. */
#ifndef MPCD_FIELD_ARITH_H
#define MPCD_FIELD_ARITH_H

#include <stddef.h>
#include <stdint.h>

__extension__ typedef unsigned __int128 u128;

/* ------------------------------------------------------------------------------------------- F_p, p = 2^61 - 1 */

#define P_BITS 61
#define P_MODULUS ((UINT64_C(1) << P_BITS) - 1)
/* Masked products, each below 2^124, that fit an accumulator together with a folded one. */
#define P_LAZY 8

/* s < 2p: subtract p unless that is negative. */
static inline uint64_t p_once(uint64_t s) {
    uint64_t t = s - P_MODULUS;
    return t + (P_MODULUS & (0 - (t >> 63)));
}

/* Congruent and shorter: below 2^61 + 2^67 for any input. */
static inline u128 p_fold(u128 t) { return (t & P_MODULUS) + (t >> P_BITS); }

/* Canonical form of any t. */
static inline uint64_t p_reduce(u128 t) {
    uint64_t s = (uint64_t)p_fold(p_fold(t)); /* at most p + 2^6 */
    return p_once(s);
}

static inline uint64_t p_add1(uint64_t a, uint64_t b) { return p_once(a + b); }

static inline uint64_t p_neg1(uint64_t a) { return p_once(P_MODULUS - a); }

static inline uint64_t p_sub1(uint64_t a, uint64_t b) { return p_once(a + (P_MODULUS - b)); }

static inline uint64_t p_mul1(uint64_t a, uint64_t b) {
    u128 t = (u128)a * b; /* below 2^122, so both parts of the sum are below 2^61 */
    return p_once(((uint64_t)t & P_MODULUS) + (uint64_t)(t >> P_BITS));
}

/* F(word): see field.h. */
static inline uint64_t p_sample1(uint64_t word, uint64_t *rejected) {
    uint64_t v = word & P_MODULUS;
    uint64_t bad = (v + 1) >> P_BITS;
    *rejected += bad;
    return v & (bad - 1);
}

/* x0 (y0 + y1) + x1 y0, below 2^124 - 2^62. */
static inline u128 p_cross(uint64_t x0, uint64_t x1, uint64_t y0, uint64_t y1) { return (u128)x0 * (y0 + y1) + (u128)x1 * y0; }

/* F(k0) - F(k1) + p, in [1, 2p). */
static inline uint64_t p_mask(uint64_t k0, uint64_t k1, uint64_t *rejected) {
    return p_sample1(k0, rejected) + (P_MODULUS - p_sample1(k1, rejected));
}

static inline uint64_t p_mul_masked1(uint64_t x0, uint64_t x1, uint64_t y0, uint64_t y1, uint64_t k0, uint64_t k1, uint64_t *rejected) {
    u128 t = p_cross(x0, x1, y0, y1) + p_mask(k0, k1, rejected);              /* below 2^124 */
    uint64_t s = ((uint64_t)t & P_MODULUS) + (uint64_t)(t >> P_BITS);         /* below 2^61 + 2^63 */
    return p_once((s & P_MODULUS) + (s >> P_BITS));
}

/* ----------------------------------------------------------------------------------------- F_q, q = 2^127 - 1 */

#define Q_BITS 127
#define Q_MODULUS ((((u128)1) << Q_BITS) - 1)

static inline u128 q_load(const uint64_t *a) { return (u128)a[1] << 64 | a[0]; }

static inline void q_store(uint64_t *out, u128 v) {
    out[0] = (uint64_t)v;
    out[1] = (uint64_t)(v >> 64);
}

/* s < 2q. */
static inline u128 q_once(u128 s) {
    u128 t = s - Q_MODULUS;
    uint64_t negative = 0 - (uint64_t)(t >> 127);
    return t + (((u128)(negative >> 1) << 64) | negative);
}

/* Congruent to any t, at most q + 1. */
static inline u128 q_fold(u128 t) { return (t & Q_MODULUS) + (t >> Q_BITS); }

static inline u128 q_reduce(u128 t) { return q_once(q_fold(t)); }

static inline u128 q_add1(u128 a, u128 b) { return q_once(a + b); }

static inline u128 q_neg1(u128 a) { return q_once(Q_MODULUS - a); }

static inline u128 q_sub1(u128 a, u128 b) { return q_once(a + (Q_MODULUS - b)); }

/* A product or a sum of products, as low + 2^64 middle + 2^128 high, each part with a word for its overflow. */
struct q_sums {
    u128 low, middle, high;
    uint64_t low_over, middle_over, high_over;
};

static inline void q_accumulate(struct q_sums *s, u128 a, u128 b) {
    uint64_t a0 = (uint64_t)a, a1 = (uint64_t)(a >> 64), b0 = (uint64_t)b, b1 = (uint64_t)(b >> 64);
    u128 low = (u128)a0 * b0, middle = (u128)a0 * b1 + (u128)a1 * b0, high = (u128)a1 * b1; /* a1, b1 below 2^63: no overflow */
    s->low += low;
    s->low_over += s->low < low;
    s->middle += middle;
    s->middle_over += s->middle < middle;
    s->high += high;
    s->high_over += s->high < high;
}

/* value + 2^128 over, canonical; over below 2^63. */
static inline u128 q_reduce_over(u128 value, uint64_t over) { return q_reduce(q_reduce(value) + ((u128)over << 1)); }

/* 2^64 v for canonical v: rotate within 127 bits. */
static inline u128 q_times_2_64(u128 v) { return q_once((v << 64 & Q_MODULUS) | (v >> 63)); }

static inline u128 q_sums_reduce(const struct q_sums *s) {
    u128 low = q_reduce_over(s->low, s->low_over);
    u128 middle = q_times_2_64(q_reduce_over(s->middle, s->middle_over));
    u128 high = q_reduce_over(s->high, s->high_over);
    return q_add1(q_add1(low, middle), q_add1(high, high)); /* 2^128 = 2 */
}

/* Bits 127.. of a value of 256 bits given as two halves. */
static inline u128 q_shift_127(u128 low, u128 high) { return high << 1 | low >> 127; }

/* Full product of values below 2^127, in halves; the high one is below 2^126. */
static inline u128 q_wide(u128 a, u128 b, u128 *high) {
    uint64_t a0 = (uint64_t)a, a1 = (uint64_t)(a >> 64), b0 = (uint64_t)b, b1 = (uint64_t)(b >> 64);
    u128 low = (u128)a0 * b0, middle = (u128)a0 * b1 + (u128)a1 * b0;
    u128 sum = low + (middle << 64);
    *high = (u128)a1 * b1 + (middle >> 64) + (sum < low);
    return sum;
}

static inline u128 q_mul1(u128 a, u128 b) {
    u128 high, low = q_wide(a, b, &high);
    return q_reduce((low & Q_MODULUS) + q_shift_127(low, high)); /* both at most q */
}

static inline u128 q_sample1(const uint64_t *words, uint64_t *rejected) {
    u128 v = q_load(words) & Q_MODULUS;
    uint64_t bad = (uint64_t)((v + 1) >> Q_BITS);
    uint64_t keep = bad - 1;
    *rejected += bad;
    return v & ((u128)keep << 64 | keep);
}

/* F(k0) - F(k1), canonical. */
static inline u128 q_mask(const uint64_t *k0, const uint64_t *k1, uint64_t *rejected) {
    u128 plus = q_sample1(k0, rejected), minus = q_sample1(k1, rejected);
    return q_sub1(plus, minus);
}

static inline u128 q_mul_masked1(u128 x0, u128 x1, u128 y0, u128 y1, const uint64_t *k0, const uint64_t *k1, uint64_t *rejected) {
    u128 high, high_1, low = q_wide(x0, q_add1(y0, y1), &high), low_1 = q_wide(x1, y0, &high_1);
    low += low_1;
    high += high_1 + (low < low_1);                                      /* the sum is below 2^255 - 2^130 */
    u128 s = (low & Q_MODULUS) + q_fold(q_shift_127(low, high));         /* at most 2q + 1 */
    return q_reduce(q_fold(s) + q_mask(k0, k1, rejected));               /* at most q + 1 + q - 1 */
}

/* ----------------------------------------------------------------------------------------- K = GF(2^64), x^64 + x^4 + x^3 + x + 1 */

/* Low 64 bits of the carry-less product.  Four integer products of every fourth bit each leave room for the carries, which the masks
 * remove (T. Pornin, BearSSL ghash_ctmul64): constant time wherever integer multiplication is. */
static inline uint64_t k_low(uint64_t a, uint64_t b) {
    const uint64_t m0 = UINT64_C(0x1111111111111111), m1 = m0 << 1, m2 = m0 << 2, m3 = m0 << 3;
    uint64_t a0 = a & m0, a1 = a & m1, a2 = a & m2, a3 = a & m3, b0 = b & m0, b1 = b & m1, b2 = b & m2, b3 = b & m3;
    uint64_t c0 = (a0 * b0) ^ (a1 * b3) ^ (a2 * b2) ^ (a3 * b1), c1 = (a0 * b1) ^ (a1 * b0) ^ (a2 * b3) ^ (a3 * b2);
    uint64_t c2 = (a0 * b2) ^ (a1 * b1) ^ (a2 * b0) ^ (a3 * b3), c3 = (a0 * b3) ^ (a1 * b2) ^ (a2 * b1) ^ (a3 * b0);
    return (c0 & m0) | (c1 & m1) | (c2 & m2) | (c3 & m3);
}

static inline uint64_t k_reverse(uint64_t v) {
    v = (v >> 1 & UINT64_C(0x5555555555555555)) | (v & UINT64_C(0x5555555555555555)) << 1;
    v = (v >> 2 & UINT64_C(0x3333333333333333)) | (v & UINT64_C(0x3333333333333333)) << 2;
    v = (v >> 4 & UINT64_C(0x0F0F0F0F0F0F0F0F)) | (v & UINT64_C(0x0F0F0F0F0F0F0F0F)) << 4;
    v = (v >> 8 & UINT64_C(0x00FF00FF00FF00FF)) | (v & UINT64_C(0x00FF00FF00FF00FF)) << 8;
    v = (v >> 16 & UINT64_C(0x0000FFFF0000FFFF)) | (v & UINT64_C(0x0000FFFF0000FFFF)) << 16;
    return v >> 32 | v << 32;
}

/* The whole carry-less product; the high half is the low half of the product of the reversed factors, reversed. */
static inline u128 k_wide(uint64_t a, uint64_t b) {
    return (u128)(k_reverse(k_low(k_reverse(a), k_reverse(b))) >> 1) << 64 | k_low(a, b);
}

static inline uint64_t k_reduce(u128 t) {
    uint64_t high = (uint64_t)(t >> 64), over = high >> 63 ^ high >> 61 ^ high >> 60; /* high * (x^4 + x^3 + x) above bit 63 */
    high ^= over;
    return (uint64_t)t ^ high ^ high << 1 ^ high << 3 ^ high << 4;
}

static inline uint64_t k_mul1(uint64_t a, uint64_t b) { return k_reduce(k_wide(a, b)); }

/* Unreduced x0 (y0 + y1) + x1 y0. */
static inline u128 k_cross(uint64_t x0, uint64_t x1, uint64_t y0, uint64_t y1) { return k_wide(x0, y0 ^ y1) ^ k_wide(x1, y0); }

/* ----------------------------------------------------------------------------------------- bits */

/* One stage: swap bits `mask << distance` of the upper word of each pair with bits `mask` of the lower one. */
static inline void bits_exchange(uint64_t block[64], unsigned distance, uint64_t mask) {
    for (unsigned start = 0; start < 64; start += 2 * distance) {
        for (unsigned k = start; k < start + distance; k++) {
            uint64_t swap = ((block[k] >> distance) ^ block[k + distance]) & mask;
            block[k] ^= swap << distance;
            block[k + distance] ^= swap;
        }
    }
}

/* Transpose in place: bit e of word j becomes bit j of word e (Hacker's Delight, 7-3, with the lowest bit first). */
static inline void bits_transpose64(uint64_t block[64]) {
    bits_exchange(block, 32, UINT64_C(0x00000000FFFFFFFF));
    bits_exchange(block, 16, UINT64_C(0x0000FFFF0000FFFF));
    bits_exchange(block, 8, UINT64_C(0x00FF00FF00FF00FF));
    bits_exchange(block, 4, UINT64_C(0x0F0F0F0F0F0F0F0F));
    bits_exchange(block, 2, UINT64_C(0x3333333333333333));
    bits_exchange(block, 1, UINT64_C(0x5555555555555555));
}

static inline size_t bits_words(size_t count) { return count / 64 + (count % 64 != 0); }

#endif
