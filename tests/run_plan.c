// Runs a plan on floats from a file: run_plan PLAN INPUTS OUTPUTS BATCH THREADS. All inputs lie one behind the other, each of
// them BATCH maps, and the outputs likewise.
#include <stdio.h>
#include <stdlib.h>

#include "plan.h"

enum { MOST = 64 };

static int refuse(const char *file, const char *reason) {
    fprintf(stderr, "%s: %s\n", file, reason);
    return 1;
}

int main(int count, char **arguments) {
    if (count != 6) return refuse("give", "PLAN INPUTS OUTPUTS BATCH THREADS");
    FILE *file = fopen(arguments[1], "rb");
    if (!file || fseek(file, 0, SEEK_END)) return refuse(arguments[1], "cannot be read");
    const size_t bytes = (size_t)ftell(file);
    void *content = malloc(bytes);
    rewind(file);
    if (!content || fread(content, 1, bytes, file) != bytes) return refuse(arguments[1], "cannot be read");
    fclose(file);
    char error[256];
    micronet_plan *plan = micronet_plan_open(content, bytes, error);
    free(content);
    if (!plan) return refuse(arguments[1], error);

    const int64_t batch = atoll(arguments[4]);
    float *inputs[MOST], *outputs[MOST];
    int64_t shape[3];
    if (!(file = fopen(arguments[2], "rb"))) return refuse(arguments[2], "cannot be read");
    for (int i = 0; i < MOST && micronet_plan_input(plan, i, shape); ++i) {
        const size_t floats = (size_t)(batch * shape[0] * shape[1] * shape[2]);
        inputs[i] = malloc(floats * sizeof(float));
        if (!inputs[i] || fread(inputs[i], sizeof(float), floats, file) != floats)
            return refuse(arguments[2], "is cut off");
    }
    fclose(file);
    for (int i = 0; i < MOST && micronet_plan_output(plan, i, shape); ++i)
        outputs[i] = malloc((size_t)(batch * shape[0] * shape[1] * shape[2]) * sizeof(float));
    micronet_plan_run(plan, (const float *const *)inputs, outputs, batch, atoi(arguments[5]));
    if (!(file = fopen(arguments[3], "wb"))) return refuse(arguments[3], "cannot be written");
    for (int i = 0; i < MOST && micronet_plan_output(plan, i, shape); ++i)
        fwrite(outputs[i], sizeof(float), (size_t)(batch * shape[0] * shape[1] * shape[2]), file);
    micronet_plan_close(plan);
    return fclose(file) ? refuse(arguments[3], "cannot be written") : 0;
}
