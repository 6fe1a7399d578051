/* Preloaded before the C library: makes the k-th system call on files below a folder fail.
 *
 * It counts open, write, fsync, close, rename, unlink and truncation, with all variants, for paths
 * below the folder, the folder itself and descriptors opened there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { FAIL = 1, FROM_NOW_ON = 2, SHORT = 3, KILL = 4, SHORT_THEN_KILL = 5 };
enum { FDS = 1024, KINDS = 7 };
enum kind { OPEN, WRITE, FSYNC, CLOSE, RENAME, UNLINK, TRUNCATE };

static char folder[4096];
static char mine[FDS];
static long calls, failing;
static int mode, code, hits;
static long by_kind[KINDS];

/* The call number `at`, counted from 1, fails with `error`; 0: none. */
void fm_test_arm(const char *below, long at, int how, int error)
{
    strncpy(folder, below, sizeof folder - 1);
    calls = 0;
    hits = 0;
    failing = at;
    mode = how;
    code = error;
}

void fm_test_disarm(void) { folder[0] = 0; }
long fm_test_calls(void) { return calls; }
long fm_test_hits(void) { return hits; }
long fm_test_calls_of(int kind) { return by_kind[kind]; }

static int is_below(const char *path) { return folder[0] && !strncmp(path, folder, strlen(folder)); }
static int is_mine(int fd) { return folder[0] && fd >= 0 && fd < FDS && mine[fd]; }

/* The mode of this call, or 0. */
static int fate(enum kind kind)
{
    calls++;
    by_kind[kind]++;
    if (failing == 0) return 0;
    if (mode == FROM_NOW_ON) {
        /* A disk that is full, or broken: names can still be removed. */
        if (calls < failing || kind == UNLINK || kind == CLOSE) return 0;
        hits++;
        return FAIL;
    }
    if (calls != failing) return 0;
    if ((mode == SHORT || mode == SHORT_THEN_KILL) && kind != WRITE) return 0;
    hits++;
    if (mode == KILL) _exit(99);
    return mode;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAILS(kind)                                                                               \
    if (fate(kind) == FAIL) {                                                                     \
        errno = code;                                                                             \
        return -1;                                                                                \
    }

static int remember(int fd)
{
    if (fd >= 0 && fd < FDS) mine[fd] = 1;
    return fd;
}

#define OPEN_LIKE(name)                                                                           \
    int name(const char *path, int flags, ...)                                                    \
    {                                                                                             \
        va_list rest;                                                                             \
        va_start(rest, flags);                                                                    \
        mode_t bits = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                   \
        va_end(rest);                                                                             \
        if (!is_below(path)) return NEXT(name)(path, flags, bits);                                \
        FAILS(OPEN)                                                                               \
        return remember(NEXT(name)(path, flags, bits));                                           \
    }
OPEN_LIKE(open)
OPEN_LIKE(open64)

#define OPENAT_LIKE(name)                                                                         \
    int name(int at, const char *path, int flags, ...)                                            \
    {                                                                                             \
        va_list rest;                                                                             \
        va_start(rest, flags);                                                                    \
        mode_t bits = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                   \
        va_end(rest);                                                                             \
        if (!is_below(path)) return NEXT(name)(at, path, flags, bits);                            \
        FAILS(OPEN)                                                                               \
        return remember(NEXT(name)(at, path, flags, bits));                                       \
    }
OPENAT_LIKE(openat)
OPENAT_LIKE(openat64)

/* A short write writes half of the bytes, at least one. */
#define WRITE_BODY(call, half)                                                                    \
    if (!is_mine(fd)) return call;                                                                \
    switch (fate(WRITE)) {                                                                        \
    case FAIL: errno = code; return -1;                                                           \
    case SHORT: return half;                                                                      \
    case SHORT_THEN_KILL: half; _exit(99);                                                        \
    default: return call;                                                                         \
    }

ssize_t write(int fd, const void *data, size_t n)
{
    WRITE_BODY(NEXT(write)(fd, data, n), NEXT(write)(fd, data, n / 2 + 1 < n ? n / 2 + 1 : n))
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    WRITE_BODY(NEXT(pwrite)(fd, data, n, at),
               NEXT(pwrite)(fd, data, n / 2 + 1 < n ? n / 2 + 1 : n, at))
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    WRITE_BODY(NEXT(pwrite64)(fd, data, n, at),
               NEXT(pwrite64)(fd, data, n / 2 + 1 < n ? n / 2 + 1 : n, at))
}

int fsync(int fd)
{
    if (is_mine(fd)) FAILS(FSYNC)
    return NEXT(fsync)(fd);
}

int fdatasync(int fd)
{
    if (is_mine(fd)) FAILS(FSYNC)
    return NEXT(fdatasync)(fd);
}

/* Only the report is a failure: the descriptor is closed, as on Linux. */
int close(int fd)
{
    if (!is_mine(fd)) return NEXT(close)(fd);
    const int fails = fate(CLOSE) == FAIL;
    mine[fd] = 0;
    const int result = NEXT(close)(fd);
    if (!fails) return result;
    errno = code;
    return -1;
}

int ftruncate(int fd, off_t n)
{
    if (is_mine(fd)) FAILS(TRUNCATE)
    return NEXT(ftruncate)(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    if (is_mine(fd)) FAILS(TRUNCATE)
    return NEXT(ftruncate64)(fd, n);
}

int rename(const char *from, const char *to)
{
    if (is_below(to)) FAILS(RENAME)
    return NEXT(rename)(from, to);
}

int renameat(int a, const char *from, int b, const char *to)
{
    if (is_below(to)) FAILS(RENAME)
    return NEXT(renameat)(a, from, b, to);
}

int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
    if (is_below(to)) FAILS(RENAME)
    return NEXT(renameat2)(a, from, b, to, flags);
}

int unlink(const char *path)
{
    if (is_below(path)) FAILS(UNLINK)
    return NEXT(unlink)(path);
}

int unlinkat(int at, const char *path, int flags)
{
    if (is_below(path)) FAILS(UNLINK)
    return NEXT(unlinkat)(at, path, flags);
}
