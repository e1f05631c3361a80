/* What a Cortex-M7 needs before main: a stack, and the floating-point unit. */
#include <stdint.h>

extern void _start(void); /* of newlib */
extern char __stack;      /* of link.ld */

static void reset(void) {
    *(volatile uint32_t *)0xE000ED88 |= (uint32_t)0xF << 20; /* switches the floating-point unit on */
    _start();
}

__attribute__((section(".vectors"), used)) static const struct {
    char *stack;
    void (*reset)(void);
} vectors = {&__stack, reset};
