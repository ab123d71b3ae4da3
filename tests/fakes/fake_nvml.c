/* A libnvidia-ml.so.1 that plays a script, for machines without a GPU.
 *
 * WATTEST_FAKE_NVML names the script; fakes/nvml.py writes it and knows the same truth. Times in
 * the script are seconds after `epoch_ns` (CLOCK_MONOTONIC); the power of a GPU is piecewise linear
 * between its points, so that energy over any span is exact. Struct layouts follow nvml.h. */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
       INSUFFICIENT_SIZE = 7, NO_SCRIPT = 999 };
enum { MAX_GPUS = 64, MAX_RULES = 64, MAX_PROCESSES = 16, MAX_FIELDS = 8 };

typedef struct { char call[24]; double from, to, value; } Rule;
typedef struct { unsigned field; double at, rate; } Field;

typedef struct {
    char name[96], uuid[96], pci[32];
    double *times, *watts, *joules;
    int points;
    double counter_period, counter_start, power_period, power_sampled, average_window, limit;
    double counter_scale, reset_at, freeze_from, freeze_to, temperature, utilization;
    int has_counter, has_fields, mig;
    Rule errors[MAX_RULES], delays[MAX_RULES];
    int error_count, delay_count;
    unsigned pids[MAX_PROCESSES];
    int process_count;
    Field fields[MAX_FIELDS];
    int field_count;
} Gpu;

typedef struct { char legacy[16]; unsigned numbers[5]; char busId[32]; } PciInfo;
typedef union { double d; unsigned ui; unsigned long ul; unsigned long long ull; } Value;
typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType, nvmlReturn;
    Value value;
} FieldValue;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } Process;

static Gpu gpus[MAX_GPUS];
static int gpu_count, init_error, initialized;
static long long epoch_ns;
static char trigger[4096];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)(t.tv_sec * 1000000000LL + t.tv_nsec - epoch_ns) / 1e9;
}

static double energy(const Gpu *g, double t) {
    int low = 0, high = g->points - 1;
    if (t <= g->times[0]) return (t - g->times[0]) * g->watts[0];
    if (t >= g->times[high]) return g->joules[high] + (t - g->times[high]) * g->watts[high];
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (g->times[middle] <= t) low = middle; else high = middle;
    }
    double span = g->times[high] - g->times[low], part = t - g->times[low];
    double slope = (g->watts[high] - g->watts[low]) / span;
    return g->joules[low] + part * (g->watts[low] + slope * part / 2);
}

static double mean(const Gpu *g, double from, double to) {
    return (energy(g, to) - energy(g, from)) / (to - from);
}

static double last_update(double t, double period) {
    return period > 0 ? (double)(long long)(t / period) * period : t;
}

static double counter(const Gpu *g) {
    double t = now(), base = g->counter_start;
    if (t >= g->freeze_from && t < g->freeze_to) t = g->freeze_from;
    t = last_update(t, g->counter_period);
    if (t >= g->reset_at) return energy(g, t) - energy(g, g->reset_at);
    return base + energy(g, t);
}

static double instant(const Gpu *g) {
    double t = last_update(now(), g->power_period);
    return mean(g, t - g->power_sampled, t);
}

static double average(const Gpu *g) {
    double t = last_update(now(), g->power_period);
    return mean(g, t - g->average_window, t);
}

static int answer(const Gpu *g, const char *call) {
    double t = now();
    if (!initialized) return UNINITIALIZED;
    for (int i = 0; i < g->delay_count; i++) {
        const Rule *r = &g->delays[i];
        if ((!strcmp(r->call, call) || !strcmp(r->call, "all")) && t >= r->from && t < r->to)
            usleep((useconds_t)(r->value * 1e6));
    }
    if (*trigger && access(trigger, F_OK)) return OK;
    for (int i = 0; i < g->error_count; i++) {
        const Rule *r = &g->errors[i];
        if ((!strcmp(r->call, call) || !strcmp(r->call, "all")) && t >= r->from && t < r->to)
            return (int)r->value;
    }
    return OK;
}

static void add_point(Gpu *g, double t, double w) {
    int n = g->points++;
    if (n % 256 == 0) {
        g->times = realloc(g->times, (size_t)(n + 256) * sizeof(double));
        g->watts = realloc(g->watts, (size_t)(n + 256) * sizeof(double));
        g->joules = realloc(g->joules, (size_t)(n + 256) * sizeof(double));
    }
    g->times[n] = t;
    g->watts[n] = w;
    g->joules[n] = n ? g->joules[n - 1] + (t - g->times[n - 1]) * (w + g->watts[n - 1]) / 2 : 0;
}

static void read_gpu_line(Gpu *g, const char *key, const char *rest) {
    double a = 0, b = 0, c = 0;
    char call[24] = "";
    int numbers = sscanf(rest, "%lf %lf %lf", &a, &b, &c);
    if (!strcmp(key, "name")) snprintf(g->name, sizeof g->name, "%s", rest);
    else if (!strcmp(key, "uuid")) snprintf(g->uuid, sizeof g->uuid, "%s", rest);
    else if (!strcmp(key, "pci")) snprintf(g->pci, sizeof g->pci, "%s", rest);
    else if (!strcmp(key, "point") && numbers == 2) add_point(g, a, b);
    else if (!strcmp(key, "counter")) {
        g->has_counter = 1;
        g->counter_period = a;
        g->counter_start = b;
    }
    else if (!strcmp(key, "scale")) g->counter_scale = a;
    else if (!strcmp(key, "power")) {
        g->power_period = a;
        g->power_sampled = b;
        g->average_window = c;
    }
    else if (!strcmp(key, "fields")) g->has_fields = (int)a;
    else if (!strcmp(key, "limit")) g->limit = a;
    else if (!strcmp(key, "reset")) g->reset_at = a;
    else if (!strcmp(key, "freeze")) { g->freeze_from = a; g->freeze_to = b; }
    else if (!strcmp(key, "temperature")) g->temperature = a;
    else if (!strcmp(key, "utilization")) g->utilization = a;
    else if (!strcmp(key, "mig")) g->mig = (int)a;
    else if (!strcmp(key, "process") && g->process_count < MAX_PROCESSES)
        g->pids[g->process_count++] = (unsigned)a;
    else if (!strcmp(key, "throttle") && g->field_count < MAX_FIELDS)
        g->fields[g->field_count++] = (Field){(unsigned)a, b, c};
    else if (!strcmp(key, "error") && g->error_count < MAX_RULES) {
        sscanf(rest, "%23s %lf %lf %lf", call, &a, &b, &c);
        g->errors[g->error_count] = (Rule){"", a, b, c};
        strcpy(g->errors[g->error_count++].call, call);
    } else if (!strcmp(key, "slow") && g->delay_count < MAX_RULES) {
        sscanf(rest, "%23s %lf %lf %lf", call, &a, &b, &c);
        g->delays[g->delay_count] = (Rule){"", a, b, c};
        strcpy(g->delays[g->delay_count++].call, call);
    }
}

static int read_script(void) {
    const char *path = getenv("WATTEST_FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[4096], key[24];
    int length;
    if (!file) return NO_SCRIPT;
    memset(gpus, 0, sizeof gpus);
    gpu_count = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%23s %n", key, &length) != 1) continue;
        const char *rest = line + length;
        if (!strcmp(key, "epoch_ns")) epoch_ns = atoll(rest);
        else if (!strcmp(key, "init_error")) init_error = atoi(rest);
        else if (!strcmp(key, "trigger")) snprintf(trigger, sizeof trigger, "%s", rest);
        else if (!strcmp(key, "gpu") && gpu_count < MAX_GPUS) {
            gpus[gpu_count].counter_scale = 1;
            gpus[gpu_count].reset_at = gpus[gpu_count].freeze_from = 1e18;
            gpu_count++;
        } else if (gpu_count) read_gpu_line(&gpus[gpu_count - 1], key, rest);
    }
    fclose(file);
    return OK;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    pthread_mutex_lock(&mutex);
    int fault = initialized ? OK : read_script();
    if (!fault) fault = init_error;
    if (!fault) initialized++;
    pthread_mutex_unlock(&mutex);
    return fault;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) {
    pthread_mutex_lock(&mutex);
    initialized--;
    pthread_mutex_unlock(&mutex);
    return OK;
}
const char *nvmlErrorString(int code) { (void)code; return "fake error"; }

int nvmlDeviceGetCount_v2(unsigned *n) {
    *n = (unsigned)gpu_count;
    return initialized ? OK : UNINITIALIZED;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned i, Gpu **g) {
    if (i >= (unsigned)gpu_count) return INVALID;
    *g = &gpus[i];
    return answer(*g, "handle");
}
int nvmlDeviceGetIndex(Gpu *g, unsigned *i) { *i = (unsigned)(g - gpus); return OK; }
int nvmlDeviceGetName(Gpu *g, char *s, unsigned n) { snprintf(s, n, "%s", g->name); return OK; }
int nvmlDeviceGetUUID(Gpu *g, char *s, unsigned n) {
    snprintf(s, n, "%s", g->uuid);
    return answer(g, "uuid");
}
int nvmlDeviceGetPciInfo_v3(Gpu *g, PciInfo *info) {
    if (!g->pci[0]) return NOT_SUPPORTED;
    memset(info, 0, sizeof *info);
    snprintf(info->busId, sizeof info->busId, "%s", g->pci);
    return OK;
}
int nvmlDeviceGetVbiosVersion(Gpu *g, char *s, unsigned n) {
    (void)g;
    snprintf(s, n, "00.00.FA.4E.00");
    return OK;
}
int nvmlSystemGetDriverVersion(char *s, unsigned n) { snprintf(s, n, "000.00-fake"); return OK; }
int nvmlSystemGetNVMLVersion(char *s, unsigned n) { snprintf(s, n, "00.fake"); return OK; }
int nvmlSystemGetCudaDriverVersion(int *v) { *v = 12080; return OK; }
int nvmlSystemGetCudaDriverVersion_v2(int *v) { return nvmlSystemGetCudaDriverVersion(v); }
int nvmlDeviceGetPersistenceMode(Gpu *g, int *mode) { (void)g; *mode = 1; return OK; }
int nvmlDeviceGetComputeMode(Gpu *g, int *mode) { (void)g; *mode = 0; return OK; }
int nvmlDeviceGetMigMode(Gpu *g, unsigned *current, unsigned *pending) {
    if (g->mig < 0) return NOT_SUPPORTED;
    *current = *pending = (unsigned)g->mig;
    return OK;
}
int nvmlDeviceGetEnforcedPowerLimit(Gpu *g, unsigned *mw) {
    if (g->limit <= 0) return NOT_SUPPORTED;
    *mw = (unsigned)(g->limit * 1e3);
    return OK;
}
int nvmlDeviceGetPowerManagementDefaultLimit(Gpu *g, unsigned *mw) {
    return nvmlDeviceGetEnforcedPowerLimit(g, mw);
}

int nvmlDeviceGetTotalEnergyConsumption(Gpu *g, unsigned long long *mj) {
    int fault = answer(g, "counter");
    if (fault) return fault;
    if (!g->has_counter) return NOT_SUPPORTED;
    *mj = (unsigned long long)(counter(g) * g->counter_scale * 1e3);
    return OK;
}
int nvmlDeviceGetPowerUsage(Gpu *g, unsigned *mw) {
    int fault = answer(g, "power");
    if (!fault) *mw = (unsigned)(instant(g) * 1e3);
    return fault;
}

static void fill(const Gpu *g, FieldValue *f) {
    f->nvmlReturn = NOT_SUPPORTED;
    if ((f->fieldId == 186 || f->fieldId == 185) && f->scopeId == 0 && g->has_fields) {
        f->nvmlReturn = answer(g, f->fieldId == 186 ? "instant" : "average");
        f->valueType = 1;
        f->value.ui = (unsigned)((f->fieldId == 186 ? instant(g) : average(g)) * 1e3);
    }
    for (int i = 0; i < g->field_count; i++) {
        double since = now() - g->fields[i].at;
        if (g->fields[i].field != f->fieldId) continue;
        f->nvmlReturn = OK;
        f->valueType = 3;
        f->value.ull = since > 0 ? (unsigned long long)(since * g->fields[i].rate * 1e9) : 0;
    }
}
int nvmlDeviceGetFieldValues(Gpu *g, int n, FieldValue *values) {
    int fault = answer(g, "power");
    for (int i = 0; i < n && !fault; i++) fill(g, &values[i]);
    return fault;
}

int nvmlDeviceGetTemperature(Gpu *g, int sensor, unsigned *celsius) {
    int fault = answer(g, "temperature");
    (void)sensor;
    if (!fault) *celsius = (unsigned)g->temperature;
    return fault;
}
int nvmlDeviceGetUtilizationRates(Gpu *g, Utilization *u) {
    int fault = answer(g, "utilization");
    if (!fault) *u = (Utilization){(unsigned)g->utilization, (unsigned)(g->utilization / 2)};
    return fault;
}
int nvmlDeviceGetClockInfo(Gpu *g, int type, unsigned *mhz) {
    int fault = answer(g, "clocks");
    if (!fault) *mhz = type == 2 ? 5001 : 1410;
    return fault;
}
int nvmlDeviceGetMaxClockInfo(Gpu *g, int type, unsigned *mhz) {
    return nvmlDeviceGetClockInfo(g, type, mhz);
}
int nvmlDeviceGetMemoryInfo(Gpu *g, Memory *m) {
    int fault = answer(g, "memory");
    if (!fault) *m = (Memory){16ULL << 30, 12ULL << 30, 4ULL << 30};
    return fault;
}
int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *g, unsigned *n, Process *list) {
    int fault = answer(g, "processes");
    unsigned room = *n;
    if (fault) return fault;
    *n = (unsigned)g->process_count;
    if (g->process_count && (!list || room < *n)) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *n; i++) list[i] = (Process){g->pids[i], 1ULL << 30, ~0u, ~0u};
    return OK;
}
