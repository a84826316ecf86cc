// Run a MicroNet from one plan file, without PyTorch: open the plan, pass images, read the outputs.
//
// All maps and images are float32, channel by channel, with rows from top to bottom. Only one thread may run a plan at
// a time. A run uses `threads` threads for the images of a batch, or for one image if there are fewer images than
// threads. If a process loads the library and then forks, the child process uses one thread.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct micronet_plan micronet_plan;

// Open a plan. Return null if the content is not a valid plan; `error` then holds the reason in one line of at most 255
// characters. The content is copied.
micronet_plan *micronet_plan_open(const void *content, size_t bytes, char error[256]);
// Write channels, height and width of input or output i to shape. Return 0 if i does not exist. A vector has 1 x 1.
int micronet_plan_input(const micronet_plan *plan, int i, int64_t shape[3]);
int micronet_plan_output(const micronet_plan *plan, int i, int64_t shape[3]);
// Run the plan. inputs[i] and outputs[i] hold `batch` consecutive maps.
void micronet_plan_run(micronet_plan *plan, const float *const *inputs, float *const *outputs, int64_t batch, int threads);
// Return the number of steps.
int micronet_plan_steps(const micronet_plan *plan);
// Run one image on one thread, and write the seconds of each step.
void micronet_plan_time(micronet_plan *plan, const float *const *inputs, float *const *outputs, double *seconds);
void micronet_plan_close(micronet_plan *plan);

#ifdef __cplusplus
}
#endif
