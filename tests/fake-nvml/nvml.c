/* A libnvidia-ml with as many boards as FAKE_NVML_BOARDS says, for tests on machines without a GPU:
 * the calls, types and return codes of NVML that Phalanx makes when it counts GPUs (NVML API
 * Reference, "Device Queries"). */
#include <stdio.h>
#include <stdlib.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9 };

static unsigned int boards(void) {
    const char *text = getenv("FAKE_NVML_BOARDS");
    return text ? (unsigned int)strtoul(text, NULL, 10) : 0;
}

int nvmlInit_v2(void) { return getenv("FAKE_NVML_BROKEN") ? DRIVER_NOT_LOADED : SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = boards();
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (index >= boards()) return INVALID_ARGUMENT;
    *device = (void *)(size_t)(index + 1);
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length) {
    int written = snprintf(uuid, length, "GPU-%08zx-0000-0000-0000-000000000000", (size_t)device - 1);
    return written < (int)length ? SUCCESS : INSUFFICIENT_SIZE;
}
