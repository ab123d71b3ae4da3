/* A libcuda.so.1 with one GPU: cuInit answers WATTEST_FAKE_CUDA_INIT, and while a context is open
 * there is a file at WATTEST_FAKE_CUDA_CONTEXT with the PID of whoever holds it. */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int cuInit(unsigned flags)
{
    const char *code = getenv("WATTEST_FAKE_CUDA_INIT");
    return flags ? 1 : code ? atoi(code) : 0;
}

int cuDeviceGetCount(int *count)
{
    *count = 1;
    return 0;
}

int cuDeviceGet(int *device, int index)
{
    *device = index;
    return index == 0 ? 0 : 101;
}

int cuCtxCreate_v2(void **context, unsigned flags, int device)
{
    FILE *file = fopen(getenv("WATTEST_FAKE_CUDA_CONTEXT"), "w");
    if (file == NULL || flags || device)
        return 1;
    fprintf(file, "%d", (int)getpid());
    fclose(file);
    *context = file;
    return 0;
}

__attribute__((destructor)) static void close_context(void)
{
    const char *path = getenv("WATTEST_FAKE_CUDA_CONTEXT");
    if (path != NULL)
        unlink(path);
}
