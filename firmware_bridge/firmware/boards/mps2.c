/** @file mps2.c  The replay board on a bare Cortex-M3: Arm MPS2 AN385, as QEMU has it. No C library. */
#ifndef BOARD_APP
#define BOARD_APP "replay_board.h"
#endif
#include BOARD_APP

#define REGISTER(address) (*(volatile uint32_t *)(address))
enum { UART = 0x40004000, TIMER = 0x40000000, DATA = 0, STATE = 4, CTRL = 8, DIVIDER = 16, VALUE = 4, RELOAD = 8 };

uint32_t tta_hal_now_us(void *port) {
  static uint32_t last = 0xFFFFFFFFu, us, rest;
  uint32_t value = REGISTER(TIMER + VALUE);
  (void)port;
  rest += last - value; /* counts down at 25 MHz */
  last = value;
  us += rest / 25;
  rest %= 25;
  return us;
}

int tta_hal_read(void *port) {
  (void)port;
  return REGISTER(UART + STATE) & 2 ? (int)(REGISTER(UART + DATA) & 0xFF) : -1;
}

int tta_hal_write(void *port, uint8_t byte) {
  (void)port;
  if (REGISTER(UART + STATE) & 1) return 0;
  REGISTER(UART + DATA) = byte;
  return 1;
}

void tta_hal_health(void *port, uint16_t *supply_mv, int16_t *temperature_cc) {
  (void)port;
  *supply_mv = 3300;
  *temperature_cc = 2500;
}

void *memset(void *to, int byte, unsigned n);
__attribute__((optimize("no-tree-loop-distribute-patterns"))) void *memset(void *to, int byte, unsigned n) {
  uint8_t *p = to;
  while (n--) *p++ = (uint8_t)byte;
  return to;
}

extern uint32_t load_begin, data_begin, data_end, bss_begin, bss_end, stack_top;
void reset(void);
void reset(void) {
  uint32_t *from = &load_begin, *to;
  for (to = &data_begin; to < &data_end;) *to++ = *from++;
  for (to = &bss_begin; to < &bss_end;) *to++ = 0;
  REGISTER(TIMER + RELOAD) = 0xFFFFFFFFu;
  REGISTER(TIMER + VALUE) = 0xFFFFFFFFu;
  REGISTER(TIMER) = 1;
  REGISTER(UART + DIVIDER) = 25000000 / 115200;
  REGISTER(UART + CTRL) = 3;
  if (board_init(0))
    for (;;) board_step(0);
  for (;;) {}
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {&stack_top, (void *)reset};
