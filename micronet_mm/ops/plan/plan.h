// A MicroNet in one file, run without PyTorch: open it, give it images, read what it gives.
//
// All maps and images are float32, channel by channel, rows from top to bottom. A plan may be run from one thread at a
// time; it uses `threads` threads for the images of a batch, or for one image if there are fewer of these. A process that
// was forked from one that had loaded the library uses one thread.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct micronet_plan micronet_plan;

// Null if the content is no plan that can be run; error then says why in one line of at most 255 characters. The content
// is copied.
micronet_plan *micronet_plan_open(const void *content, size_t bytes, char error[256]);
// Channels, height and width of input or output i, into shape; 0 if there is none of this number. A vector has 1 x 1.
int micronet_plan_input(const micronet_plan *plan, int i, int64_t shape[3]);
int micronet_plan_output(const micronet_plan *plan, int i, int64_t shape[3]);
// inputs[i] and outputs[i] hold `batch` maps, one behind the other.
void micronet_plan_run(micronet_plan *plan, const float *const *inputs, float *const *outputs, int64_t batch, int threads);
// One image on one thread, and how long each step took.
int micronet_plan_steps(const micronet_plan *plan);
void micronet_plan_time(micronet_plan *plan, const float *const *inputs, float *const *outputs, double *seconds);
void micronet_plan_close(micronet_plan *plan);

#ifdef __cplusplus
}
#endif
