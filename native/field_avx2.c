/* AVX2 siblings.  See field.h. */
#include "field_portable.h"

const struct field_kernels field_avx2 = {
    .name = "avx2",
    .p = FIELD_P_PORTABLE,
    .q = FIELD_Q_PORTABLE,
    FIELD_BITS_PORTABLE,
};
