// Classify a picture: cc example.c -L. -lmicronet_plan -Wl,-rpath,'$ORIGIN' -lm -o classify
// ./classify classifier.plan picture.ppm prints the number of the class and its score. The picture is a binary PPM (P6,
// no comments) of the plan's size. The plan takes RGB pixels from 0 to 255 and returns the logits of its classes.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "plan.h"

static int refuse(const char *file, const char *reason) {
    fprintf(stderr, "%s: %s\n", file, reason);
    return 1;
}

int main(int count, char **arguments) {
    if (count != 3) return refuse("give", "PLAN PICTURE.ppm");
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
    int64_t in[3], out[3];  // channels, height, width
    if (!micronet_plan_input(plan, 0, in) || !micronet_plan_output(plan, 0, out) || in[0] != 3 || out[1] * out[2] != 1)
        return refuse(arguments[1], "is no classifier");

    int width, height, largest;
    file = fopen(arguments[2], "rb");
    if (!file || fscanf(file, "P6 %d %d %d", &width, &height, &largest) != 3 || fgetc(file) == EOF ||
        width != in[2] || height != in[1] || largest != 255)
        return refuse(arguments[2], "is no binary PPM of the plan's size");
    float *image = malloc(3 * in[1] * in[2] * sizeof(float)), *logits = malloc(out[0] * sizeof(float)), sum = 0;
    for (int64_t i = 0; i < 3 * in[1] * in[2]; ++i) image[i % 3 * in[1] * in[2] + i / 3] = (float)fgetc(file);
    if (feof(file)) return refuse(arguments[2], "is cut off");
    fclose(file);

    micronet_plan_run(plan, (const float *const[]){image}, (float *const[]){logits}, 1, 1);
    int64_t best = 0;
    for (int64_t i = 1; i < out[0]; ++i) best = logits[i] > logits[best] ? i : best;
    for (int64_t i = 0; i < out[0]; ++i) sum += expf(logits[i] - logits[best]);
    printf("%d %.6f\n", (int)best, 1 / sum);
    micronet_plan_close(plan), free(image), free(logits);
    return 0;
}
