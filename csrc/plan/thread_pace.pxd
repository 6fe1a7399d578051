# The number of threads that work on the steps of a run, chosen by the time that steps take.
#
# On an idle machine all threads work. If another program needs a processor, the thread that waits
# for it holds up all others at the next barrier, and fewer threads may be faster. Time that threads
# slept at barriers indicates this. Then a trial halves the number of threads, and keeps the lower
# number if steps take less time. Later trials double the number again. Each trial without a gain
# doubles the pause before the next one. The number of threads does not change the bits of results.

cdef extern from "fm_team.h" nogil:
    double fm_seconds()

cdef enum:
    # A stretch is the unit of timing: at least STRETCH_STEPS steps and STRETCH milliseconds, a few
    # time slices of the scheduler.
    STRETCH_STEPS = 4
    STRETCH = 20
    # A trial follows DISTURBED consecutive stretches in which the other threads slept at least
    # SLEPT percent of the time. With less sleep, half the threads cannot be faster.
    DISTURBED = 2
    SLEPT = 25
    SHORTEST_PAUSE = 100        # milliseconds between trials
    LONGEST_PAUSE = 2000


# Only thread 0 reads and writes it. It lasts from run to run.
cdef struct Pace:
    int active                  # number of threads that work now
    int trial_of                # number of threads before a trial; 0: no trial
    double kept                 # seconds per step with that number
    int disturbed               # number of consecutive disturbed stretches
    double taken                # seconds per step in them
    double began                # start of this stretch
    double slept                # time slept before this stretch, on the clock of this run
    double seen                 # time slept up to the last step
    Py_ssize_t steps            # steps of this stretch
    double pause                # milliseconds
    double next_trial
    double ended                # end of the previous run
    int shaken                  # for tests: steps between two changes; 0: changes by time


cdef inline void begin_pace(Pace *pace, int most) noexcept nogil:
    """Start a run of at most `most` threads. A stretch continues from the previous run."""
    cdef double now = fm_seconds()
    if not 1 <= pace.active <= most or pace.trial_of > most:
        pace.active = most
        pace.trial_of = 0
        pace.disturbed = 0
        pace.steps = 0
    pace.began = now - (pace.ended - pace.began) if pace.steps > 0 else now
    pace.slept = pace.slept - pace.seen if pace.steps > 0 else 0
    pace.seen = 0


cdef inline void _try(Pace *pace, int active, double seconds) noexcept nogil:
    pace.trial_of = pace.active
    pace.kept = seconds
    pace.active = active
    pace.disturbed = 0


cdef inline int next_pace(Pace *pace, int most, double slept) noexcept nogil:
    """Return the number of threads for the next step, after a step."""
    cdef double now, seconds, lost
    pace.steps += 1
    pace.seen = slept
    if pace.shaken > 0:
        if pace.steps % pace.shaken == 0:
            pace.active = pace.active % most + 1
        return pace.active
    if pace.steps < STRETCH_STEPS:
        return pace.active
    now = fm_seconds()
    if now - pace.began < 1e-3 * STRETCH:
        return pace.active
    seconds = (now - pace.began) / <double>pace.steps
    lost = 0
    if pace.active > 1:
        lost = (slept - pace.slept) / ((now - pace.began) * (pace.active - 1))
    if lost < 1e-2 * SLEPT:
        pace.disturbed = 0
    else:
        pace.disturbed += 1
        if pace.disturbed > 1:
            seconds = 0.5 * (seconds + pace.taken)
        pace.taken = seconds
    if pace.trial_of:
        if seconds < pace.kept:
            pace.pause = SHORTEST_PAUSE
        else:
            pace.active = pace.trial_of
            pace.pause = min(<double>LONGEST_PAUSE, max(<double>SHORTEST_PAUSE, 2 * pace.pause))
        pace.trial_of = 0
        pace.disturbed = 0
        pace.next_trial = now + 1e-3 * pace.pause
    elif now >= pace.next_trial:
        if pace.disturbed >= DISTURBED:
            _try(pace, (pace.active + 1) // 2, seconds)
        elif pace.active < most and pace.disturbed == 0:
            _try(pace, min(most, 2 * pace.active), seconds)
    pace.steps = 0
    pace.began = now
    pace.slept = slept
    return pace.active
