/** @file posix.c  The replay board as a program: its UART is a pseudo terminal, whose name it prints.
 * SIGUSR1 resets it in the middle of whatever it does, as a reset button would.
 */
#define _XOPEN_SOURCE 600
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#ifndef BOARD_APP
#define BOARD_APP "replay_board.h"
#endif
#include BOARD_APP

static int line;
static uint32_t born_us;
static volatile sig_atomic_t reset_asked;

static uint32_t monotonic_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint32_t)((uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000);
}

uint32_t tta_hal_now_us(void *port) {
  (void)port;
  return monotonic_us() - born_us;
}

int tta_hal_read(void *port) {
  uint8_t byte;
  (void)port;
  return read(line, &byte, 1) == 1 ? byte : -1;
}

int tta_hal_write(void *port, uint8_t byte) {
  (void)port;
  return write(line, &byte, 1) == 1;
}

void tta_hal_health(void *port, uint16_t *supply_mv, int16_t *temperature_cc) {
  (void)port;
  *supply_mv = 5000;
  *temperature_cc = 2150;
}

static void on_reset(int number) {
  (void)number;
  reset_asked = 1;
}

int main(void) {
  struct termios raw;
  struct timespec nap = {0, 200000};
  int device;
  line = posix_openpt(O_RDWR | O_NOCTTY);
  if (line < 0 || grantpt(line) || unlockpt(line)) return 1;
  device = open(ptsname(line), O_RDWR | O_NOCTTY); /* held open, so that a host may come and go */
  if (device < 0 || tcgetattr(device, &raw)) return 1;
  cfmakeraw(&raw);
  tcsetattr(device, TCSANOW, &raw);
  fcntl(line, F_SETFL, O_NONBLOCK);
  signal(SIGUSR1, on_reset);
  printf("%s\n", ptsname(line));
  fflush(stdout);
  for (;;) {
    born_us = monotonic_us();
    reset_asked = 0;
    if (!board_init(0)) return 2;
    while (!reset_asked) {
      board_step(0);
      nanosleep(&nap, 0);
    }
  }
}
