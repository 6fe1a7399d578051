/* A team of threads that lives as long as one call, and its barrier.
 *
 * fm_team_run starts threads - 1 threads, runs `body` on all threads (the caller is thread 0) and
 * returns when all have returned. Nothing remains: no pool that breaks after a fork, no thread that
 * spins between calls. If threads cannot be created, the team is smaller, so `body` must call
 * fm_team_size. Memory order: writes before a barrier are visible after it.
 *
 * Some threads may rest for a while: the first fm_team_size threads continue. If that may change,
 * each thread but 0 calls fm_team_rest at its start and after every barrier.
 */
#ifndef FM_TEAM_H
#define FM_TEAM_H

typedef struct fm_team fm_team;
typedef void (*fm_team_body)(fm_team *team, int thread, void *context);

/* `active` of the threads start to work, at least one. */
void fm_team_run(int threads, int active, fm_team_body body, void *context);
/* The number of threads of the team, and of active threads until the next barrier. */
int fm_team_most(const fm_team *team);
int fm_team_size(const fm_team *team);
/* Called by thread 0: sets the number of active threads from the next barrier on. */
void fm_team_choose(fm_team *team, int active);
/* Sleeps until the thread is active. */
enum fm_team_state { FM_TEAM_ACTIVE, FM_TEAM_RESTED, FM_TEAM_ENDED /* thread 0 has left */ };
int fm_team_rest(fm_team *team, int thread);
/* Seconds that all threads waited at barriers, counting only waits in which a thread slept. */
double fm_team_slept(const fm_team *team);
/* Returns when every active thread has called it. Spins for a few tens of microseconds, then
 * sleeps: with fewer processors than threads, another thread needs the processor. */
void fm_team_barrier(fm_team *team);

/* Treats subnormal numbers as zero in this thread from now on: they slow some processors down a
 * hundredfold and carry no information in a gradient. Returns the argument of fm_flush_restore. */
unsigned long fm_flush_subnormals(void);
void fm_flush_restore(unsigned long before);

/* A number that threads write and read without a lock. */
typedef struct {
    long long value; /* only through the functions below */
} fm_flag;
void fm_flag_set(fm_flag *flag, long long value);
long long fm_flag_get(const fm_flag *flag);

/* Seconds on a clock that never goes back. */
double fm_seconds(void);

#endif
