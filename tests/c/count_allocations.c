/* Preloaded before the C library: counts the calls that allocate memory. */
#include <stddef.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t n);

static long calls;

static void count(void) { __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED); }

long fm_test_allocations(void) { return __atomic_load_n(&calls, __ATOMIC_RELAXED); }

void *malloc(size_t n)
{
    count();
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t n)
{
    count();
    return __libc_realloc(old, n);
}
