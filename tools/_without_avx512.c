// Loaded into a program before it starts, has it find a processor without AVX-512 and AMX, so that libraries choose what they
// would choose on one: the instruction that asks faults, and is answered here. What the program starts finds them again.
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static int allow_cpuid(int allowed) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, allowed); }

static unsigned bits(const int *list) {
    unsigned all = 0;
    for (; *list >= 0; ++list) all |= 1u << *list;
    return all;
}

static void answer(int signal_number, siginfo_t *info, void *context) {
    (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *at = (const unsigned char *)registers[REG_RIP];
    if (at[0] != 0x0f || at[1] != 0xa2) {  // no CPUID: a fault of the program's own, which comes again
        signal(signal_number, SIG_DFL);
        return;
    }
    const unsigned leaf = registers[REG_RAX], part = registers[REG_RCX];
    unsigned a, b, c, d;
    allow_cpuid(1);
    __cpuid_count(leaf, part, a, b, c, d);
    allow_cpuid(0);
    if (leaf == 7 && part == 0) {
        b &= ~bits((const int[]){16, 17, 21, 26, 27, 28, 30, 31, -1});  // F, DQ, IFMA, PF, ER, CD, BW, VL
        c &= ~bits((const int[]){1, 6, 11, 12, 14, -1});                // VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
        d &= ~bits((const int[]){2, 3, 8, 22, 23, 24, 25, -1});         // 4VNNIW, 4FMAPS, VP2INTERSECT, AMX, FP16
    }
    if (leaf == 7 && part == 1) a &= ~bits((const int[]){5, 21, -1});  // BF16, AMX-FP16
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
    const struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    unsetenv("LD_PRELOAD");
    if (sigaction(SIGSEGV, &action, NULL) || allow_cpuid(0)) {
        perror("without_avx512: this processor or system does not let CPUID fault");
        _exit(2);
    }
}
