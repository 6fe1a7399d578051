#define _POSIX_C_SOURCE 200809L
#include "fm_team.h"

#include <stdlib.h>
#include <time.h>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#define FM_THREADS 1
#else
#define FM_THREADS 0 /* one thread: plans give the same results with any number */
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define FM_PAUSE() _mm_pause()
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define FM_PAUSE() __asm__ volatile("isb")
#else
#define FM_PAUSE() ((void)0)
#endif

unsigned long fm_flush_subnormals(void)
{
#if defined(__x86_64__) || defined(_M_X64)
    unsigned int before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* flush to zero, denormals are zero */
    return before;
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
    unsigned long before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (1ul << 24)));
    return before;
#else
    return 0;
#endif
}

void fm_flush_restore(unsigned long before)
{
#if defined(__x86_64__) || defined(_M_X64)
    /* Restores only the mode; exception flags stay. */
    _mm_setcsr((_mm_getcsr() & ~0x8040u) | ((unsigned int)before & 0x8040u));
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

#if FM_THREADS

double fm_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void fm_flag_set(fm_flag *flag, long long value)
{
    __atomic_store_n(&flag->value, value, __ATOMIC_RELAXED);
}

long long fm_flag_get(const fm_flag *flag) { return __atomic_load_n(&flag->value, __ATOMIC_RELAXED); }

#define FM_LINE 128 /* bytes: processors fetch two lines of 64 at a time */
#define FM_MAX_TEAM 256
#define FM_SPIN_SECONDS 30e-6
#define FM_SPINS 64 /* spins between two looks at the clock */

struct fm_team {
    _Alignas(FM_LINE) int arrived; /* threads at the barrier */
    _Alignas(FM_LINE) unsigned generation; /* barriers passed */
    int active; /* threads that a barrier waits for; changes with the generation */
    int next; /* value of `active` after the next barrier */
    _Alignas(FM_LINE) int sleepers;
    long long slept; /* nanoseconds */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int most; /* number of threads; 0 until all are started */
    int ended; /* thread 0 has left */
    /* Whether each thread is to rest: set before a barrier ends, reset by the thread itself. */
    char out[FM_MAX_TEAM];
    fm_team_body body;
    void *context;
};

typedef struct {
    fm_team *team;
    int thread;
} member;

int fm_team_most(const fm_team *team) { return team->most; }

int fm_team_size(const fm_team *team) { return __atomic_load_n(&team->active, __ATOMIC_ACQUIRE); }

void fm_team_choose(fm_team *team, int active)
{
    __atomic_store_n(&team->next, active, __ATOMIC_RELAXED);
}

double fm_team_slept(const fm_team *team)
{
    return 1e-9 * (double)__atomic_load_n(&team->slept, __ATOMIC_RELAXED);
}

int fm_team_rest(fm_team *team, int thread)
{
    /* `active` does not tell: it may have been lowered and raised since the barrier. */
    if (!team->out[thread]) return FM_TEAM_ACTIVE;
    int active;
    pthread_mutex_lock(&team->mutex);
    while (!(active = fm_team_size(team) > thread) && !team->ended)
        pthread_cond_wait(&team->wake, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
    team->out[thread] = 0;
    return active ? FM_TEAM_RESTED : FM_TEAM_ENDED;
}

void fm_team_barrier(fm_team *team)
{
    const int active = fm_team_size(team);
    if (active == 1 && __atomic_load_n(&team->next, __ATOMIC_RELAXED) == 1) return;
    const unsigned generation = __atomic_load_n(&team->generation, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_ACQ_REL) == active) {
        const int next = __atomic_load_n(&team->next, __ATOMIC_RELAXED);
        const int more = next > active;
        if (more) pthread_mutex_lock(&team->mutex);
        __atomic_store_n(&team->arrived, 0, __ATOMIC_RELAXED);
        for (int thread = next; thread < active; thread++) team->out[thread] = 1;
        __atomic_store_n(&team->active, next, __ATOMIC_RELEASE);
        /* This and the two steps of the sleeper below have one total order: either the sleeper sees
         * the new generation, or this thread sees the sleeper. */
        __atomic_add_fetch(&team->generation, 1, __ATOMIC_SEQ_CST);
        if (more || __atomic_load_n(&team->sleepers, __ATOMIC_SEQ_CST) > 0) {
            if (!more) pthread_mutex_lock(&team->mutex);
            pthread_cond_broadcast(&team->wake);
            pthread_mutex_unlock(&team->mutex);
        }
        return;
    }
    double end = 0;
    do {
        for (int spin = 0; spin < FM_SPINS; spin++) {
            if (__atomic_load_n(&team->generation, __ATOMIC_ACQUIRE) != generation) return;
            FM_PAUSE();
        }
        if (end == 0) end = fm_seconds() + FM_SPIN_SECONDS;
    } while (fm_seconds() < end);

    pthread_mutex_lock(&team->mutex);
    __atomic_add_fetch(&team->sleepers, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&team->generation, __ATOMIC_SEQ_CST) == generation)
        pthread_cond_wait(&team->wake, &team->mutex);
    __atomic_sub_fetch(&team->sleepers, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&team->mutex);
    const double waited = fm_seconds() - end + FM_SPIN_SECONDS;
    __atomic_add_fetch(&team->slept, (long long)(1e9 * waited), __ATOMIC_RELAXED);
}

static void *start(void *argument)
{
    const member *self = argument;
    fm_team *team = self->team;
    pthread_mutex_lock(&team->mutex);
    while (team->most == 0) pthread_cond_wait(&team->wake, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
    const unsigned long before = fm_flush_subnormals();
    team->body(team, self->thread, team->context);
    fm_flush_restore(before);
    return NULL;
}

void fm_team_run(int threads, int active, fm_team_body body, void *context)
{
    fm_team team = {.body = body, .context = context};
    pthread_t handles[FM_MAX_TEAM];
    member members[FM_MAX_TEAM];
    int started = 1;
    const unsigned long before = fm_flush_subnormals();

    if (threads > FM_MAX_TEAM) threads = FM_MAX_TEAM;
    if (threads > 1) {
        /* Signals go to the calling thread, where Python's handlers run. */
        sigset_t all, kept;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &kept);
        pthread_mutex_init(&team.mutex, NULL);
        pthread_cond_init(&team.wake, NULL);
        for (; started < threads; started++) {
            members[started] = (member){&team, started};
            if (pthread_create(&handles[started], NULL, start, &members[started])) break;
        }
        pthread_sigmask(SIG_SETMASK, &kept, NULL);
        pthread_mutex_lock(&team.mutex);
        team.active = team.next = active < started ? active : started;
        for (int i = team.active; i < started; i++) team.out[i] = 1;
        team.most = started;
        pthread_cond_broadcast(&team.wake);
        pthread_mutex_unlock(&team.mutex);
    } else {
        team.most = team.active = team.next = 1;
    }
    body(&team, 0, context);
    if (threads > 1) {
        pthread_mutex_lock(&team.mutex);
        team.ended = 1;
        pthread_cond_broadcast(&team.wake);
        pthread_mutex_unlock(&team.mutex);
    }
    for (int i = 1; i < started; i++) pthread_join(handles[i], NULL);
    if (threads > 1) {
        pthread_cond_destroy(&team.wake);
        pthread_mutex_destroy(&team.mutex);
    }
    fm_flush_restore(before);
}

#else

struct fm_team {
    int unused;
};

double fm_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }
void fm_flag_set(fm_flag *flag, long long value) { flag->value = value; }
long long fm_flag_get(const fm_flag *flag) { return flag->value; }
int fm_team_most(const fm_team *team)
{
    (void)team;
    return 1;
}
int fm_team_size(const fm_team *team)
{
    (void)team;
    return 1;
}
void fm_team_choose(fm_team *team, int active)
{
    (void)team;
    (void)active;
}
int fm_team_rest(fm_team *team, int thread)
{
    (void)team;
    (void)thread;
    return FM_TEAM_ACTIVE;
}
double fm_team_slept(const fm_team *team)
{
    (void)team;
    return 0;
}
void fm_team_barrier(fm_team *team) { (void)team; }
void fm_team_run(int threads, int active, fm_team_body body, void *context)
{
    fm_team team = {0};
    const unsigned long before = fm_flush_subnormals();
    (void)threads;
    (void)active;
    body(&team, 0, context);
    fm_flush_restore(before);
}

#endif
