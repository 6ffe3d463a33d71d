/* Timers in a heap, and latencies sorted into a line of JSON. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    double at;
    int what;
    void *whom;
} Timer;

static Timer *timers;
static size_t timer_count, timer_room;

static void timer_set(double at, int what, void *whom) {
    if (timer_count == timer_room) timers = realloc(timers, (timer_room = timer_room ? timer_room * 2 : 1024) * sizeof *timers);
    size_t i = timer_count++;
    for (; i && timers[(i - 1) / 2].at > at; i = (i - 1) / 2) timers[i] = timers[(i - 1) / 2];
    timers[i] = (Timer){at, what, whom};
}

static Timer timer_take(void) {
    Timer first = timers[0], last = timers[--timer_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= timer_count) break;
        if (child + 1 < timer_count && timers[child + 1].at < timers[child].at) child++;
        if (timers[child].at >= last.at) break;
        timers[i] = timers[child], i = child;
    }
    timers[i] = last;
    return first;
}

/* Seconds, kept to be sorted. */
typedef struct {
    float *values;
    size_t count, room;
} Sample;

static void sample_add(Sample *sample, double seconds) {
    if (sample->count == sample->room)
        sample->values = realloc(sample->values, (sample->room = sample->room ? sample->room * 2 : 4096) * sizeof(float));
    sample->values[sample->count++] = seconds;
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* As a member of a JSON object: milliseconds, -1 where there is nothing. */
static void sample_print(const char *name, Sample *sample, const char *after) {
    static const struct { const char *name; double share; } at[] = {{"p50", .5}, {"p95", .95}, {"p99", .99}, {"max", 1}};
    qsort(sample->values, sample->count, sizeof(float), by_size);
    printf("\"%s\":{\"n\":%zu", name, sample->count);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        printf(",\"%s\":%.3f", at[i].name,
               sample->count ? sample->values[(size_t)((sample->count - 1) * at[i].share)] * 1e3 : -1);
    printf("}%s", after);
}
