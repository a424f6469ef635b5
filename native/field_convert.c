/* Conversion between field elements and int64 or float64, portable only; constant time like the kernels.  See field.h. */
#include "field_portable.h"

#include <string.h>

#define FRACTION_BITS_MAX 200u

/* ------------------------------------------------------------------------------------------- integers */

/* All ones for a negative value. */
static inline uint64_t sign_mask(int64_t v) { return 0 - ((uint64_t)v >> 63); }

static inline uint64_t select64(uint64_t mask, uint64_t yes, uint64_t no) { return (yes & mask) | (no & ~mask); }

static inline u128 select128(uint64_t mask, u128 yes, u128 no) {
    u128 wide = (u128)mask << 64 | mask;
    return (yes & wide) | (no & ~wide);
}

static inline uint64_t nonzero64(uint64_t v) { return (v | (0 - v)) >> 63; }

static inline int64_t as_int64(uint64_t bits) {
    int64_t v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

void field_p_from_int64(uint64_t *out, const int64_t *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t negative = sign_mask(in[i]);
        uint64_t r = p_reduce(((uint64_t)in[i] ^ negative) - negative);
        out[i] = select64(negative, p_neg1(r), r);
    }
}

void field_q_from_int64(uint64_t *out, const int64_t *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t negative = sign_mask(in[i]);
        u128 r = ((uint64_t)in[i] ^ negative) - negative;
        q_store(out + 2 * i, select128(negative, q_neg1(r), r));
    }
}

uint64_t field_p_to_int64(int64_t *out, const uint64_t *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t negative = 0 - (in[i] >> (P_BITS - 1));
        out[i] = as_int64(in[i] - (P_MODULUS & negative));
    }
    return 0;
}

/* Sign mask and magnitude of a centred element. */
static inline u128 q_magnitude(u128 v, uint64_t *negative) {
    *negative = 0 - (uint64_t)(v >> (Q_BITS - 1));
    return select128(*negative, Q_MODULUS - v, v);
}

uint64_t field_q_to_int64(int64_t *out, const uint64_t *in, size_t count) {
    uint64_t outside = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t negative;
        u128 magnitude = q_magnitude(q_load(in + 2 * i), &negative);
        uint64_t high = (uint64_t)(magnitude >> 64), low = (uint64_t)magnitude;
        uint64_t bad = nonzero64(high | ((low - (negative & 1)) >> 63 & nonzero64(low)));
        outside += bad;
        out[i] = as_int64(((low ^ negative) - negative) & (bad - 1));
    }
    return outside;
}

/* ------------------------------------------------------------------------------------------- floats */

/* v shifted by a secret distance below 128; the bits that leave on the right are or-ed into *lost. */
static inline u128 shift_left(u128 v, unsigned distance) {
    for (unsigned k = 0; k < 7; k++) v = select128(0 - (uint64_t)(distance >> k & 1), v << (1u << k), v);
    return v;
}

static inline u128 shift_right(u128 v, unsigned distance, uint64_t *lost) {
    for (unsigned k = 0; k < 7; k++) {
        uint64_t take = 0 - (uint64_t)(distance >> k & 1);
        u128 gone = v & ((((u128)1) << (1u << k)) - 1);
        *lost |= take & ((uint64_t)gone | (uint64_t)(gone >> 64));
        v = select128(take, v >> (1u << k), v);
    }
    return v;
}

/* 1 if a < b, for small values. */
static inline uint64_t below(unsigned a, unsigned b) { return (uint64_t)((a - b) >> 31); }

/* |in| 2^fraction_bits rounded half to even, at most 2^126; *bad is set for what is larger or no number. */
static inline u128 float_magnitude(uint64_t bits, unsigned fraction_bits, uint64_t *bad) {
    unsigned exponent = (unsigned)(bits >> 52 & 0x7ff);
    uint64_t normal = nonzero64(exponent);
    u128 mantissa = (bits & ((UINT64_C(1) << 52) - 1)) | normal << 52;
    /* value = mantissa 2^(exponent - 1075) for normal numbers, with exponent 1 for the others; 1075 = bias + 52.
       Put the mantissa at the bottom of 128 bits with two guard bits, then shift left by up to 126 - 53 or right by up to 55. */
    unsigned power = exponent + (unsigned)(normal ^ 1) + fraction_bits; /* value = mantissa 2^(power - 1075) */
    uint64_t right = below(power, 1075);
    unsigned right_mask = 0u - (unsigned)right;
    unsigned distance = ((power - 1075) & ~right_mask) | ((1075 - power) & right_mask);
    uint64_t far = below(63, distance); /* right: all is lost; left: too large unless zero */
    unsigned step = distance & (0u - (unsigned)(far ^ 1));
    uint64_t lost = 0;
    u128 shifted = shift_right(mantissa << 2, step, &lost);
    uint64_t keep = far - 1;
    lost |= (uint64_t)(mantissa) & ~keep;
    shifted &= (u128)keep << 64 | keep;
    uint64_t guard = (uint64_t)shifted & 3, whole_odd = (uint64_t)shifted >> 2 & 1;
    uint64_t half = guard >> 1, rest = (guard & 1) | nonzero64(lost);
    u128 rounded = (shifted >> 2) + (half & (rest | whole_odd));
    u128 larger = shift_left(mantissa, distance & 127);
    uint64_t too_large = (right ^ 1) & below(126 - 53, distance) & nonzero64((uint64_t)mantissa);
    *bad = too_large | (below(0x7fe, exponent)); /* 0x7ff: infinity or not a number */
    return select128(0 - right, rounded, larger);
}

uint64_t field_p_from_float64(uint64_t *out, const double *in, size_t count, unsigned fraction_bits) {
    uint64_t outside = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits, bad;
        memcpy(&bits, in + i, sizeof bits);
        u128 magnitude = float_magnitude(bits, fraction_bits, &bad);
        bad |= nonzero64((uint64_t)(magnitude >> (P_BITS - 1)) | (uint64_t)(magnitude >> 64));
        uint64_t v = (uint64_t)magnitude & (bad - 1);
        outside += bad;
        out[i] = select64(0 - (bits >> 63), p_neg1(v), v);
    }
    return outside;
}

uint64_t field_q_from_float64(uint64_t *out, const double *in, size_t count, unsigned fraction_bits) {
    uint64_t outside = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits, bad;
        memcpy(&bits, in + i, sizeof bits);
        u128 magnitude = float_magnitude(bits, fraction_bits, &bad);
        bad |= (uint64_t)(magnitude >> (Q_BITS - 1)) & 1;
        uint64_t keep = bad - 1;
        u128 v = magnitude & ((u128)keep << 64 | keep);
        outside += bad;
        q_store(out + 2 * i, select128(0 - (bits >> 63), q_neg1(v), v));
    }
    return outside;
}

/* 2^power for -1000 <= power <= 1000. */
static inline double power_of_two(int power) {
    uint64_t bits = (uint64_t)(power + 1023) << 52;
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

void field_p_to_float64(double *out, const uint64_t *in, size_t count, unsigned fraction_bits) {
    double unit = power_of_two(-(int)fraction_bits);
    for (size_t i = 0; i < count; i++) {
        uint64_t negative = 0 - (in[i] >> (P_BITS - 1));
        out[i] = (double)as_int64(in[i] - (P_MODULUS & negative)) * unit;
    }
}

void field_q_to_float64(double *out, const uint64_t *in, size_t count, unsigned fraction_bits) {
    for (size_t i = 0; i < count; i++) {
        uint64_t negative;
        u128 v = q_magnitude(q_load(in + 2 * i), &negative);
        /* Move the leading bit to bit 125, keep the top 62 bits with a sticky one below, so that the conversion rounds once. */
        unsigned shift = 0;
        for (unsigned k = 7; k-- > 0;) {
            unsigned distance = 1u << k;
            uint64_t empty = nonzero64((uint64_t)(v >> (126 - distance)) | (uint64_t)(v >> (126 - distance) >> 64)) - 1;
            v = select128(empty, v << distance, v);
            shift += distance & (unsigned)empty;
        }
        uint64_t top = (uint64_t)(v >> 64) | nonzero64((uint64_t)v);
        int64_t signed_top = as_int64((top ^ negative) - negative);
        out[i] = (double)signed_top * power_of_two(64 - (int)shift - (int)fraction_bits);
    }
}
