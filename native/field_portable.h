/* The portable kernels by name, for the tables of the siblings: what an instruction set does not improve points here. */
#ifndef MPCD_FIELD_PORTABLE_H
#define MPCD_FIELD_PORTABLE_H

#include "field.h"
#include "field_arith.h"

field_binary p_add_portable, p_sub_portable, p_mul_portable, p_scale_portable, p_dot_portable;
field_binary q_add_portable, q_sub_portable, q_mul_portable, q_scale_portable, q_dot_portable;
field_unary p_neg_portable, p_sum_portable, q_neg_portable, q_sum_portable;
field_product p_matmul_portable, q_matmul_portable;
field_counting p_sample_portable, q_sample_portable;
field_checking p_is_canonical_portable, q_is_canonical_portable;
field_masked p_mul_masked_portable, q_mul_masked_portable;
field_masked_groups p_dot_masked_portable, q_dot_masked_portable;
field_masked_product p_matmul_masked_portable, q_matmul_masked_portable;
field_binary bits_xor_portable, bits_and_portable;
field_unary bits_not_portable;
field_masked bits_and_masked_portable;
field_binary k_mul_portable, k_scale_portable, k_dot_portable;
field_unary k_neg_portable, k_sum_portable;
field_product k_matmul_portable;
field_counting k_sample_portable;
field_checking k_is_canonical_portable;
field_masked k_mul_masked_portable;
field_masked_groups k_dot_masked_portable;
field_masked_product k_matmul_masked_portable;
field_gram4 p_gram4_portable, k_gram4_portable;
field_bits_gram p_first4_portable;
field_bits_fold p_fold4_portable;
field_bits_gram bits_gram_portable;
field_bits_fold bits_fold_portable;
field_transpose to_planes_portable, from_planes_portable;

/* AVX-512 byte masks did not beat these (streamed planes), so that its table points here. */
field_transpose to_planes_avx2, from_planes_avx2;

/* field_clmul512.c, for the avx512 table. */
field_binary k_mul_avx512, k_scale_avx512, k_dot_avx512;
field_product k_matmul_avx512;
field_masked k_mul_masked_avx512;
field_masked_groups k_dot_masked_avx512;
field_masked_product k_matmul_masked_avx512;
field_gram4 k_gram4_avx512;
field_bits_gram bits_gram_avx512;
field_bits_fold bits_fold_avx512;

/* field_clmul.c, for the avx2 table. */
field_binary k_mul_clmul, k_scale_clmul, k_dot_clmul;
field_product k_matmul_clmul;
field_masked k_mul_masked_clmul;
field_masked_groups k_dot_masked_clmul;
field_masked_product k_matmul_masked_clmul;
field_gram4 k_gram4_clmul;
field_bits_gram bits_gram_avx2;
field_bits_fold bits_fold_clmul;

#define FIELD_P_PORTABLE                                                                                                       \
    {                                                                                                                          \
        .add = p_add_portable, .sub = p_sub_portable, .mul = p_mul_portable, .neg = p_neg_portable, .scale = p_scale_portable, \
        .sum = p_sum_portable, .dot = p_dot_portable, .matmul = p_matmul_portable, .sample = p_sample_portable,                \
        .is_canonical = p_is_canonical_portable, .mul_masked = p_mul_masked_portable, .dot_masked = p_dot_masked_portable,     \
        .matmul_masked = p_matmul_masked_portable, .gram4 = p_gram4_portable,                                                  \
        .first4 = p_first4_portable, .fold4 = p_fold4_portable,                                                                \
    }

#define FIELD_Q_PORTABLE                                                                                                       \
    {                                                                                                                          \
        .add = q_add_portable, .sub = q_sub_portable, .mul = q_mul_portable, .neg = q_neg_portable, .scale = q_scale_portable, \
        .sum = q_sum_portable, .dot = q_dot_portable, .matmul = q_matmul_portable, .sample = q_sample_portable,                \
        .is_canonical = q_is_canonical_portable, .mul_masked = q_mul_masked_portable, .dot_masked = q_dot_masked_portable,     \
        .matmul_masked = q_matmul_masked_portable,                                                                             \
    }

#define FIELD_K_PORTABLE                                                                                                       \
    {                                                                                                                          \
        .add = bits_xor_portable, .sub = bits_xor_portable, .mul = k_mul_portable, .neg = k_neg_portable,                      \
        .scale = k_scale_portable, .sum = k_sum_portable, .dot = k_dot_portable, .matmul = k_matmul_portable,                  \
        .sample = k_sample_portable, .is_canonical = k_is_canonical_portable, .mul_masked = k_mul_masked_portable,             \
        .dot_masked = k_dot_masked_portable, .matmul_masked = k_matmul_masked_portable, .gram4 = k_gram4_portable,             \
    }

#define FIELD_BITS_PORTABLE                                                                                              \
    .bits_xor = bits_xor_portable, .bits_and = bits_and_portable, .bits_not = bits_not_portable,                         \
    .bits_and_masked = bits_and_masked_portable, .to_planes = to_planes_portable, .from_planes = from_planes_portable

#endif
