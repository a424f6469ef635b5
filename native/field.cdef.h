const char *field_active(void);
const char *field_available(size_t index);
int field_force(const char *name);

void field_p_add(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_p_sub(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_p_mul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_p_scale(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_p_dot(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_p_neg(uint64_t *out, const uint64_t *a, size_t count);
void field_p_sum(uint64_t *out, const uint64_t *a, size_t count);
void field_p_matmul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns);
uint64_t field_p_sample(uint64_t *out, const uint64_t *words, size_t count);
uint64_t field_p_is_canonical(const uint64_t *a, size_t count);
uint64_t field_p_mul_masked(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
    const uint64_t *k0, const uint64_t *k1, size_t count);
uint64_t field_p_dot_masked(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
    const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length);
uint64_t field_p_matmul_masked(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
    const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns);
void field_p_from_int64(uint64_t *out, const int64_t *in, size_t count);
uint64_t field_p_to_int64(int64_t *out, const uint64_t *in, size_t count);
uint64_t field_p_from_float64(uint64_t *out, const double *in, size_t count, unsigned int fraction_bits);
void field_p_to_float64(double *out, const uint64_t *in, size_t count, unsigned int fraction_bits);

void field_q_add(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_q_sub(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_q_mul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_q_scale(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_q_dot(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_q_neg(uint64_t *out, const uint64_t *a, size_t count);
void field_q_sum(uint64_t *out, const uint64_t *a, size_t count);
void field_q_matmul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns);
uint64_t field_q_sample(uint64_t *out, const uint64_t *words, size_t count);
uint64_t field_q_is_canonical(const uint64_t *a, size_t count);
uint64_t field_q_mul_masked(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
    const uint64_t *k0, const uint64_t *k1, size_t count);
uint64_t field_q_dot_masked(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
    const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length);
uint64_t field_q_matmul_masked(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
    const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns);
void field_q_from_int64(uint64_t *out, const int64_t *in, size_t count);
uint64_t field_q_to_int64(int64_t *out, const uint64_t *in, size_t count);
uint64_t field_q_from_float64(uint64_t *out, const double *in, size_t count, unsigned int fraction_bits);
void field_q_to_float64(double *out, const uint64_t *in, size_t count, unsigned int fraction_bits);

void field_k_add(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_k_sub(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_k_mul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_k_scale(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_k_dot(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_k_neg(uint64_t *out, const uint64_t *a, size_t count);
void field_k_sum(uint64_t *out, const uint64_t *a, size_t count);
void field_k_matmul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns);
uint64_t field_k_sample(uint64_t *out, const uint64_t *words, size_t count);
uint64_t field_k_is_canonical(const uint64_t *a, size_t count);
uint64_t field_k_mul_masked(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
    const uint64_t *k0, const uint64_t *k1, size_t count);
uint64_t field_k_dot_masked(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
    const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length);
uint64_t field_k_matmul_masked(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
    const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns);
void field_p_gram4(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t chunks);
void field_p_first4(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
    const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t count);
void field_p_fold4(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t count);
void field_k_gram4(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t chunks);
void field_bits_gram_k(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
    const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t words);
void field_bits_fold_k(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t words);

void field_bits_xor(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_bits_and(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count);
void field_bits_not(uint64_t *out, const uint64_t *a, size_t count);
uint64_t field_bits_and_masked(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
    const uint64_t *k0, const uint64_t *k1, size_t count);
void field_to_planes(uint64_t *out, const uint64_t *in, size_t count, size_t width);
void field_from_planes(uint64_t *out, const uint64_t *in, size_t count, size_t width);
