/* perf_event_open(2) and what it opens, for machines whose kernel counts no energy.
 *
 * Preloaded into a process, it answers that one system call for the units that are folders below
 * WATTEST_FAKE_PERF: UNIT/EVENT-CPU/energy_uj holds microjoules, as in a powercap zone, and
 * UNIT/errno the number of an error. The descriptor counts from 0 on, in units of 2^-32 J. One
 * whose counter has vanished has been given up by the kernel; one of a folder fails. */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_COUNTERS = 1024 };

typedef struct { char path[PATH_MAX]; double start; } Counter;

static Counter *counters[MAX_COUNTERS];

static int microjoules(const char *path, double *value) {
    FILE *file = fopen(path, "r");
    if (file == NULL) return -1;
    int found = fscanf(file, "%lf", value);
    fclose(file);
    return found == 1 ? 0 : -1;
}

static long open_event(const struct perf_event_attr *event, int cpu) {
    const char *stage = getenv("WATTEST_FAKE_PERF");
    char path[PATH_MAX];
    double number;
    if (stage == NULL) { errno = ENOSYS; return -1; }
    if (event->size != PERF_ATTR_SIZE_VER0) { errno = E2BIG; return -1; }
    snprintf(path, sizeof path, "%s/%u/errno", stage, event->type);
    if (microjoules(path, &number) == 0) { errno = (int)number; return -1; }
    Counter *counter = malloc(sizeof *counter);
    snprintf(counter->path, sizeof counter->path, "%s/%u/%llu-%d/energy_uj", stage, event->type,
             (unsigned long long)event->config, cpu);
    int is_there = microjoules(counter->path, &counter->start) == 0;
    int fd = is_there ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fd >= MAX_COUNTERS) {
        free(counter);
        errno = is_there ? EMFILE : ENOENT;
        return -1;
    }
    counters[fd] = counter;
    return fd;
}

static ssize_t count(const Counter *counter, void *buffer, size_t size) {
    double now;
    if (size < sizeof(uint64_t)) { errno = ENOSPC; return -1; }
    if (access(counter->path, F_OK) != 0) return 0;
    if (microjoules(counter->path, &now) != 0) { errno = EIO; return -1; }
    uint64_t value = (uint64_t)((now - counter->start) * 1e-6 * 4294967296.0);
    memcpy(buffer, &value, sizeof value);
    return sizeof value;
}

long syscall(long number, ...) {
    static long (*next)(long, ...);
    long given[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++) given[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_perf_event_open)
        return open_event((const struct perf_event_attr *)given[0], (int)given[2]);
    if (next == NULL) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return next(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

ssize_t read(int fd, void *buffer, size_t size) {
    static ssize_t (*next)(int, void *, size_t);
    const Counter *counter = fd >= 0 && fd < MAX_COUNTERS ? counters[fd] : NULL;
    if (counter != NULL) return count(counter, buffer, size);
    if (next == NULL) next = (ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    return next(fd, buffer, size);
}

int close(int fd) {
    static int (*next)(int);
    if (fd >= 0 && fd < MAX_COUNTERS) {
        free(counters[fd]);
        counters[fd] = NULL;
    }
    if (next == NULL) next = (int (*)(int))dlsym(RTLD_NEXT, "close");
    return next(fd);
}
