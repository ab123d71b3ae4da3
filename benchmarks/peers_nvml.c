/* The tests' fake NVML with the few calls that other tools need beside ours. */

#include "../tests/fakes/fake_nvml.c"

int nvmlDeviceGetArchitecture(Gpu *g, unsigned *architecture) {
    (void)g;
    *architecture = 9; /* NVML_DEVICE_ARCH_HOPPER */
    return OK;
}
int nvmlDeviceGetPowerManagementLimit(Gpu *g, unsigned *mw) {
    return nvmlDeviceGetEnforcedPowerLimit(g, mw);
}
int nvmlDeviceGetPowerManagementLimitConstraints(Gpu *g, unsigned *least, unsigned *most) {
    *least = 100000;
    return nvmlDeviceGetEnforcedPowerLimit(g, most);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(Gpu *g, unsigned *n, Process *list) {
    (void)g, (void)list;
    *n = 0;
    return OK;
}
