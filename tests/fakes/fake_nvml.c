/* A libnvidia-ml.so.1 that plays a script, for machines without a GPU.
 *
 * WATTEST_FAKE_NVML names the script; fakes/nvml.py writes it and knows the same truth. Times in
 * the script are seconds after `epoch_ns` (CLOCK_MONOTONIC); the power of a GPU is piecewise linear
 * between its points, so that energy over any span is exact. Every function bears the types of the
 * vendor's nvml.h: with -DNVML_HEADER it is compiled against that, else against what is said here. */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7,
       NO_SCRIPT = 999 };
enum { IS_DOUBLE = 0, IS_UNSIGNED = 1, IS_ULL = 3 };
enum { POWER_AVERAGE = 185, POWER_INSTANT = 186, BOARD = 0, CLOCK_MEMORY = 2 };
enum { MAX_GPUS = 64, MAX_RULES = 64, MAX_PROCESSES = 16, MAX_FIELDS = 8 };

typedef struct { char call[24]; double from, to, value; } Rule;
typedef struct { unsigned field; double at, rate; } Field;

typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} PciInfo;
typedef union { double dVal; unsigned uiVal; unsigned long ulVal; unsigned long long ullVal; } Value;
typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType, nvmlReturn;
    Value value;
} FieldValue;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct {
    unsigned pid;
    unsigned long long usedGpuMemory;
    unsigned gpuInstanceId, computeInstanceId;
} Process;

#ifdef NVML_HEADER
#include <nvml.h>
#include <stddef.h>
#define SAME_SIZE(own, theirs) _Static_assert(sizeof(own) == sizeof(theirs), #theirs)
#define SAME_PLACE(own, theirs, member) \
    _Static_assert(offsetof(own, member) == offsetof(theirs, member), #theirs "." #member)
#define SAME_NUMBER(own, theirs) _Static_assert((int)(own) == (int)(theirs), #theirs)
SAME_SIZE(Value, nvmlValue_t);
SAME_SIZE(FieldValue, nvmlFieldValue_t);
SAME_PLACE(FieldValue, nvmlFieldValue_t, scopeId);
SAME_PLACE(FieldValue, nvmlFieldValue_t, timestamp);
SAME_PLACE(FieldValue, nvmlFieldValue_t, latencyUsec);
SAME_PLACE(FieldValue, nvmlFieldValue_t, valueType);
SAME_PLACE(FieldValue, nvmlFieldValue_t, nvmlReturn);
SAME_PLACE(FieldValue, nvmlFieldValue_t, value);
SAME_SIZE(PciInfo, nvmlPciInfo_t);
SAME_PLACE(PciInfo, nvmlPciInfo_t, busId);
SAME_SIZE(Memory, nvmlMemory_t);
SAME_PLACE(Memory, nvmlMemory_t, free);
SAME_PLACE(Memory, nvmlMemory_t, used);
SAME_SIZE(Utilization, nvmlUtilization_t);
SAME_PLACE(Utilization, nvmlUtilization_t, memory);
SAME_SIZE(Process, nvmlProcessInfo_t);
SAME_PLACE(Process, nvmlProcessInfo_t, usedGpuMemory);
SAME_PLACE(Process, nvmlProcessInfo_t, gpuInstanceId);
SAME_PLACE(Process, nvmlProcessInfo_t, computeInstanceId);
SAME_NUMBER(OK, NVML_SUCCESS);
SAME_NUMBER(UNINITIALIZED, NVML_ERROR_UNINITIALIZED);
SAME_NUMBER(INVALID, NVML_ERROR_INVALID_ARGUMENT);
SAME_NUMBER(NOT_SUPPORTED, NVML_ERROR_NOT_SUPPORTED);
SAME_NUMBER(INSUFFICIENT_SIZE, NVML_ERROR_INSUFFICIENT_SIZE);
SAME_NUMBER(NO_SCRIPT, NVML_ERROR_UNKNOWN);
SAME_NUMBER(IS_DOUBLE, NVML_VALUE_TYPE_DOUBLE);
SAME_NUMBER(IS_UNSIGNED, NVML_VALUE_TYPE_UNSIGNED_INT);
SAME_NUMBER(IS_ULL, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG);
SAME_NUMBER(POWER_AVERAGE, NVML_FI_DEV_POWER_AVERAGE);
SAME_NUMBER(POWER_INSTANT, NVML_FI_DEV_POWER_INSTANT);
SAME_NUMBER(BOARD, NVML_POWER_SCOPE_GPU);
SAME_NUMBER(CLOCK_MEMORY, NVML_CLOCK_MEM);
SAME_NUMBER(74, NVML_FI_DEV_PERF_POLICY_POWER);
SAME_NUMBER(75, NVML_FI_DEV_PERF_POLICY_THERMAL);
/* The header of 575: its numbers of the slowdowns are those until 580.82. */
SAME_NUMBER(251, NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN);
SAME_NUMBER(252, NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN);
SAME_NUMBER(253, NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN);
SAME_NUMBER(269, NVML_FI_PWR_SMOOTHING_ACTIVE_PRESET_PROFILE);
#else
typedef int nvmlReturn_t, nvmlEnableState_t, nvmlComputeMode_t, nvmlClockType_t;
typedef int nvmlTemperatureSensors_t;
typedef struct nvmlDevice_st *nvmlDevice_t;
typedef FieldValue nvmlFieldValue_t;
typedef Memory nvmlMemory_t;
typedef PciInfo nvmlPciInfo_t;
typedef Utilization nvmlUtilization_t;
typedef Process nvmlProcessInfo_t;
#endif

typedef struct nvmlDevice_st {
    char name[96], uuid[96], pci[32];
    double *times, *watts, *joules;
    int points;
    double counter_period, counter_start, power_period, power_sampled, average_window, limit;
    double counter_scale, reset_at, freeze_from, freeze_to, temperature, utilization;
    int has_counter, has_fields, has_average, mig;
    Rule errors[MAX_RULES], delays[MAX_RULES], limits[MAX_RULES];
    int error_count, delay_count, limit_count;
    unsigned pids[MAX_PROCESSES];
    int process_count;
    Field fields[MAX_FIELDS];
    int field_count;
} Gpu;

static Gpu gpus[MAX_GPUS];
static int gpu_count, init_error, initialized;
static long long epoch_ns;
static char trigger[4096], driver[80];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* A time of one's own, if it is not 0: what is slow lets it pass, and nobody waits. */
long long fake_clock_ns;

static double now(void) {
    struct timespec t;
    if (fake_clock_ns) return (double)(fake_clock_ns - epoch_ns) / 1e9;
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
        if ((!strcmp(r->call, call) || !strcmp(r->call, "all")) && t >= r->from && t < r->to) {
            if (fake_clock_ns) fake_clock_ns += (long long)(r->value * 1e9);
            else usleep((useconds_t)(r->value * 1e6));
        }
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
    else if (!strcmp(key, "average")) g->has_average = (int)a;
    else if (!strcmp(key, "limit")) g->limit = a;
    else if (!strcmp(key, "raise") && g->limit_count < MAX_RULES)
        g->limits[g->limit_count++] = (Rule){"", a, 0, b};
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
    gpu_count = *trigger = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%23s %n", key, &length) != 1) continue;
        const char *rest = line + length;
        if (!strcmp(key, "epoch_ns")) epoch_ns = atoll(rest);
        else if (!strcmp(key, "init_error")) init_error = atoi(rest);
        else if (!strcmp(key, "trigger")) snprintf(trigger, sizeof trigger, "%s", rest);
        else if (!strcmp(key, "driver")) snprintf(driver, sizeof driver, "%.79s", rest);
        else if (!strcmp(key, "gpu") && gpu_count < MAX_GPUS) {
            gpus[gpu_count].counter_scale = 1;
            gpus[gpu_count].reset_at = gpus[gpu_count].freeze_from = 1e18;
            gpu_count++;
        } else if (gpu_count) read_gpu_line(&gpus[gpu_count - 1], key, rest);
    }
    fclose(file);
    return OK;
}

nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    pthread_mutex_lock(&mutex);
    int fault = initialized ? OK : read_script();
    if (!fault) fault = init_error;
    if (!fault) initialized++;
    pthread_mutex_unlock(&mutex);
    return fault;
}
nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
nvmlReturn_t nvmlShutdown(void) {
    pthread_mutex_lock(&mutex);
    initialized--;
    pthread_mutex_unlock(&mutex);
    return OK;
}
const char *nvmlErrorString(nvmlReturn_t code) { (void)code; return "fake error"; }

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *n) {
    *n = (unsigned)gpu_count;
    return initialized ? OK : UNINITIALIZED;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned i, nvmlDevice_t *g) {
    if (i >= (unsigned)gpu_count) return INVALID;
    *g = &gpus[i];
    return answer(*g, "handle");
}
nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t g, unsigned *i) { *i = (unsigned)(g - gpus); return OK; }
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t g, char *s, unsigned n) { snprintf(s, n, "%s", g->name); return OK; }
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t g, char *s, unsigned n) {
    snprintf(s, n, "%s", g->uuid);
    return answer(g, "uuid");
}
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t g, nvmlPciInfo_t *info) {
    if (!g->pci[0]) return NOT_SUPPORTED;
    memset(info, 0, sizeof *info);
    snprintf(info->busId, sizeof info->busId, "%s", g->pci);
    return OK;
}
nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t g, char *s, unsigned n) {
    (void)g;
    snprintf(s, n, "00.00.FA.4E.00");
    return OK;
}
nvmlReturn_t nvmlSystemGetDriverVersion(char *s, unsigned n) { snprintf(s, n, "%s", driver); return OK; }
nvmlReturn_t nvmlSystemGetNVMLVersion(char *s, unsigned n) { snprintf(s, n, "00.fake"); return OK; }
nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *v) { *v = 12080; return OK; }
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *v) { return nvmlSystemGetCudaDriverVersion(v); }
nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t g, nvmlEnableState_t *mode) { (void)g; *mode = 1; return OK; }
nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t g, nvmlComputeMode_t *mode) { (void)g; *mode = 0; return OK; }
nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t g, unsigned *current, unsigned *pending) {
    if (g->mig < 0) return NOT_SUPPORTED;
    *current = *pending = (unsigned)g->mig;
    return OK;
}
nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t g, unsigned *mw) {
    double limit = g->limit;
    for (int i = 0; i < g->limit_count; i++)
        if (now() >= g->limits[i].from) limit = g->limits[i].value;
    if (limit <= 0) return NOT_SUPPORTED;
    *mw = (unsigned)(limit * 1e3);
    return OK;
}
nvmlReturn_t nvmlDeviceGetPowerManagementDefaultLimit(nvmlDevice_t g, unsigned *mw) {
    return nvmlDeviceGetEnforcedPowerLimit(g, mw);
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t g, unsigned long long *mj) {
    int fault = answer(g, "counter");
    if (fault) return fault;
    if (!g->has_counter) return NOT_SUPPORTED;
    *mj = (unsigned long long)(counter(g) * g->counter_scale * 1e3);
    return OK;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t g, unsigned *mw) {
    int fault = answer(g, "power");
    if (!fault) *mw = (unsigned)((g->has_average ? average(g) : instant(g)) * 1e3);
    return fault;
}

/* What a driver of this version counts by a number: throttling, or settings of power smoothing. */
enum { NOTHING, THROTTLING, SETTING };
static int meaning(unsigned field) {
    int major = 0, minor = 0;
    sscanf(driver, "%d.%d", &major, &minor);
    int is_late = major > 580 || (major == 580 && minor >= 82);
    if (field == 74 || field == 75) return THROTTLING;
    if (major < 575 || field < 251 || field > 271) return NOTHING;
    if (is_late) return field >= 269 ? THROTTLING : SETTING;
    return field <= 253 ? THROTTLING : field >= 256 ? SETTING : NOTHING;
}
static void fill(const Gpu *g, nvmlFieldValue_t *f) {
    int is_power = f->fieldId == POWER_INSTANT || (f->fieldId == POWER_AVERAGE && g->has_average);
    int what = meaning(f->fieldId);
    f->nvmlReturn = NOT_SUPPORTED;
    if (is_power && f->scopeId == BOARD && g->has_fields) {
        f->nvmlReturn = answer(g, f->fieldId == POWER_INSTANT ? "instant" : "average");
        f->valueType = IS_UNSIGNED;
        f->value.uiVal = (unsigned)((f->fieldId == POWER_INSTANT ? instant(g) : average(g)) * 1e3);
    } else if (what == SETTING) {
        f->nvmlReturn = OK;
        f->valueType = IS_UNSIGNED;
        f->value.uiVal = 0;
    }
    for (int i = 0; i < g->field_count && what == THROTTLING; i++) {
        double since = now() - g->fields[i].at;
        if (g->fields[i].field != f->fieldId) continue;
        f->nvmlReturn = OK;
        f->valueType = IS_ULL;
        f->value.ullVal = since > 0 ? (unsigned long long)(since * g->fields[i].rate * 1e9) : 0;
    }
}
nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t g, int n, nvmlFieldValue_t *values) {
    int fault = answer(g, "power");
    for (int i = 0; i < n && !fault; i++) fill(g, &values[i]);
    return fault;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t g, nvmlTemperatureSensors_t sensor, unsigned *celsius) {
    int fault = answer(g, "temperature");
    (void)sensor;
    if (!fault) *celsius = (unsigned)g->temperature;
    return fault;
}
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t g, nvmlUtilization_t *u) {
    int fault = answer(g, "utilization");
    if (!fault) *u = (nvmlUtilization_t){(unsigned)g->utilization, (unsigned)(g->utilization / 2)};
    return fault;
}
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t g, nvmlClockType_t type, unsigned *mhz) {
    int fault = answer(g, "clocks");
    if (!fault) *mhz = (int)type == CLOCK_MEMORY ? 5001 : 1410;
    return fault;
}
nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t g, nvmlClockType_t type, unsigned *mhz) {
    return nvmlDeviceGetClockInfo(g, type, mhz);
}
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t g, nvmlMemory_t *m) {
    int fault = answer(g, "memory");
    if (!fault) *m = (nvmlMemory_t){16ULL << 30, 12ULL << 30, 4ULL << 30};
    return fault;
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t g, unsigned *n, nvmlProcessInfo_t *list) {
    int fault = answer(g, "processes");
    unsigned room = *n;
    if (fault) return fault;
    *n = (unsigned)g->process_count;
    if (g->process_count && (!list || room < *n)) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *n; i++) list[i] = (nvmlProcessInfo_t){g->pids[i], 1ULL << 30, ~0u, ~0u};
    return OK;
}
