/* Kernels over F_p (p = 2^61 - 1), F_q (q = 2^127 - 1) and GF(2) words: types, the kernel table, the public functions.
 *
 * Theory of operation.  Portable C is the meaning of every kernel.  An ISA's file holds siblings with the same signature where they
 * were measured to win, and one constant table; what it does not override points to the portable function.  `field_dispatch.c` picks a
 * table once when the library is loaded and forwards every public function to it.
 *
 * Vectors.  F_p: one word per element, canonical in [0, p).  F_q: two words per element, low limb first, canonical in [0, q).
 * K = GF(2^64): one word per element, bit i for x^i, every word an element; the verification of ANDs runs over it.
 * GF(2): packed words.  Bit planes: plane j is `words` words and starts at word j * words; bit e % 64 of its word e / 64 is bit j of
 * element e.  `out` may be one of the inputs in the element-wise kernels and must not overlap them in all the others.
 *
 * Rules.  No allocation, no I/O, no state; lengths come from the caller, who has checked them.  Constant time: no branch and no index
 * depends on the content of a vector, only on lengths.  Counts of rejected words or of values out of range are summed without a
 * branch and are for the caller to judge.
 *
 * Masks.  F(k) takes one raw random word (F_p) or two (F_q), keeps the low 61 (127) bits, and is exactly uniform on the field unless
 * they are all ones: that one value is replaced by zero and counted, and the caller draws again.
 */
#ifndef MPCD_FIELD_H
#define MPCD_FIELD_H

#include <stddef.h>
#include <stdint.h>

typedef void field_unary(uint64_t *out, const uint64_t *a, size_t count);
typedef void field_binary(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
typedef void field_product(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns);
typedef uint64_t field_counting(uint64_t *out, const uint64_t *words, size_t count);
typedef uint64_t field_checking(const uint64_t *a, size_t count);
typedef uint64_t field_masked(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                              const uint64_t *k0, const uint64_t *k1, size_t count);
typedef uint64_t field_masked_groups(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                     const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length);
typedef uint64_t field_masked_product(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                      const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns);
typedef void field_gram4(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t chunks);
typedef void field_bits_gram(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
                             const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t words);
typedef void field_bits_fold(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t words);
typedef void field_transpose(uint64_t *out, const uint64_t *in, size_t count, size_t width);

/* The kernels of one field; in K, - is + and no mask is ever replaced. */
struct field_prime_kernels {
    field_binary *add, *sub, *mul;
    field_unary *neg;
    field_binary *scale;            /* b is one element */
    field_unary *sum;               /* out is one element */
    field_binary *dot;              /* out is one element */
    field_product *matmul;          /* a (rows, inner), b (inner, columns), row-major */
    field_counting *sample;         /* out = F(words); returns how many were replaced */
    field_checking *is_canonical;   /* 1 or 0 */
    field_masked *mul_masked;       /* z = x0 (y0 + y1) + x1 y0 + F(k0) - F(k1); returns how many masks were replaced */
    field_masked_groups *dot_masked; /* the same, summed over each group of `length`, one pair of masks per group */
    field_masked_product *matmul_masked; /* the same for matrices, one pair of masks per output element */
    /* Vectors of 4 * chunks elements, chunk c is element c of each quarter; out[0..5]: sum of x0_cj (y0_ck + y1_ck) + x1_cj y0_ck over
     * all c and j - k = -3, -2, -1, 1, 2, 3.  Not for F_q (NULL). */
    field_gram4 *gram4;
    /* The same chunks with the last quarters maybe short: `count` elements, (count + 3) / 4 chunks, a coefficient alpha[c] each; for F_p
     * alone (else NULL).  out[24]: [4 j + k], j != k, sum of alpha[c] (x0_cj (y0_ck + y1_ck) + x1_cj y0_ck), [16 + j] of alpha[c] z0_cj,
     * [20 + j] of z1.  fold4: out[c] = alpha[c] * sum over j of weights[j] a_cj, without alpha when that is NULL. */
    field_bits_gram *first4;
    field_bits_fold *fold4;
};

/* All kernels of one instruction set. */
struct field_kernels {
    const char *name;
    struct field_prime_kernels p, q, k;
    /* Chunk c is byte c of the vectors, c < 8 * words, with a coefficient alpha[c] in K.  Added (XOR) to out[80]:
     *   out[8 j + k], j != k = sum of alpha[c] (x0_cj & (y0_ck ^ y1_ck) ^ x1_cj & y0_ck), out[64 + j] = sum of alpha[c] z0_cj, out[72 + j] of z1. */
    field_bits_gram *bits_gram;
    field_bits_fold *bits_fold;     /* out[c] = alpha[c] * sum of weights[j] over the bits j of byte c; without alpha when that is NULL */
    field_binary *bits_xor, *bits_and;
    field_unary *bits_not;
    field_masked *bits_and_masked;  /* z = x0 & (y0 ^ y1) ^ x1 & y0 ^ k0 ^ k1; returns 0 */
    field_transpose *to_planes;     /* in: `count` words, out: `width` planes */
    field_transpose *from_planes;   /* in: `width` planes, out: `count` words; unused bits of the planes are ignored */
};

extern const struct field_kernels field_portable;
#if defined(__x86_64__)
extern const struct field_kernels field_avx2;
extern const struct field_kernels field_avx512;
#endif

/* ---- what the extension and the C tests call; everything above stays hidden in the library ---- */

/* Which table is in use; the names of those that this machine can run, in the order of preference; NULL when index is past the end. */
const char *field_active(void);
const char *field_available(size_t index);
/* Use the table of that name from now on; 0 when this machine cannot run it (nothing changes), else 1. */
int field_force(const char *name);

field_binary field_p_add, field_p_sub, field_p_mul, field_p_scale, field_p_dot;
field_binary field_q_add, field_q_sub, field_q_mul, field_q_scale, field_q_dot;
field_unary field_p_neg, field_p_sum, field_q_neg, field_q_sum;
field_product field_p_matmul, field_q_matmul;
field_counting field_p_sample, field_q_sample;
field_checking field_p_is_canonical, field_q_is_canonical;
field_masked field_p_mul_masked, field_q_mul_masked;
field_masked_groups field_p_dot_masked, field_q_dot_masked;
field_masked_product field_p_matmul_masked, field_q_matmul_masked;
field_binary field_bits_xor, field_bits_and;
field_unary field_bits_not;
field_masked field_bits_and_masked;
field_binary field_k_add, field_k_sub, field_k_mul, field_k_scale, field_k_dot;
field_unary field_k_neg, field_k_sum;
field_product field_k_matmul;
field_counting field_k_sample;
field_checking field_k_is_canonical;
field_masked field_k_mul_masked;
field_masked_groups field_k_dot_masked;
field_masked_product field_k_matmul_masked;
field_gram4 field_p_gram4, field_k_gram4;
field_bits_gram field_p_first4;
field_bits_fold field_p_fold4;
field_bits_gram field_bits_gram_k;
field_bits_fold field_bits_fold_k;
field_transpose field_to_planes, field_from_planes;

/* Conversions, portable only.  Signed values are centred: -(m - 1) / 2 ... (m - 1) / 2.  The counts are of values out of range, whose
 * results are zero.  Floats are scaled by 2^fraction_bits and rounded half to even, once; 0 <= fraction_bits <= 200. */
void field_p_from_int64(uint64_t *out, const int64_t *in, size_t count);
void field_q_from_int64(uint64_t *out, const int64_t *in, size_t count);
uint64_t field_p_to_int64(int64_t *out, const uint64_t *in, size_t count);
uint64_t field_q_to_int64(int64_t *out, const uint64_t *in, size_t count);
uint64_t field_p_from_float64(uint64_t *out, const double *in, size_t count, unsigned fraction_bits);
uint64_t field_q_from_float64(uint64_t *out, const double *in, size_t count, unsigned fraction_bits);
void field_p_to_float64(double *out, const uint64_t *in, size_t count, unsigned fraction_bits);
void field_q_to_float64(double *out, const uint64_t *in, size_t count, unsigned fraction_bits);

#endif
