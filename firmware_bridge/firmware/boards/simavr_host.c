/** @file simavr_host.c  Runs an ATmega328 program in simavr in real time, its UART on a pseudo terminal, whose
 * name it prints. SIGUSR1 resets the chip; at its end (SIGTERM) it prints the cycles that the chip ran.
 */
#define _XOPEN_SOURCE 600
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

static int line, ready = 1;
static volatile sig_atomic_t reset_asked, over;

static void on_byte(struct avr_irq_t *irq, uint32_t value, void *param) {
  uint8_t byte = (uint8_t)value;
  (void)irq, (void)param;
  while (write(line, &byte, 1) != 1 && !over) usleep(100); /* a full terminal is a slow line */
}
static void on_ready(struct avr_irq_t *irq, uint32_t value, void *param) { (void)irq, (void)value, (void)param, ready = 1; }
static void on_busy(struct avr_irq_t *irq, uint32_t value, void *param) { (void)irq, (void)value, (void)param, ready = 0; }
static void on_signal(int number) {
  if (number == SIGUSR1) reset_asked = 1;
  else over = 1;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int count, char **given) {
  elf_firmware_t firmware;
  struct termios raw;
  avr_t *avr;
  avr_irq_t *input;
  uint32_t flags = 0, tick = 0;
  double begin;
  int device;
  memset(&firmware, 0, sizeof firmware);
  if (count != 2 || elf_read_firmware(given[1], &firmware)) return 1;
  avr = avr_make_mcu_by_name("atmega328p");
  if (!avr) return 1;
  avr_init(avr);
  avr->log = 1;
  firmware.frequency = 16000000;
  avr_load_firmware(avr, &firmware);
  avr->frequency = 16000000;
  avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
  flags &= (uint32_t)~(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POLL_SLEEP);
  avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
  avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_byte, 0);
  avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), on_ready, 0);
  avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), on_busy, 0);
  input = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
  line = posix_openpt(O_RDWR | O_NOCTTY);
  if (line < 0 || grantpt(line) || unlockpt(line)) return 1;
  device = open(ptsname(line), O_RDWR | O_NOCTTY);
  if (device < 0 || tcgetattr(device, &raw)) return 1;
  cfmakeraw(&raw);
  tcsetattr(device, TCSANOW, &raw);
  fcntl(line, F_SETFL, O_NONBLOCK);
  signal(SIGUSR1, on_signal);
  signal(SIGTERM, on_signal);
  printf("%s\n", ptsname(line));
  fflush(stdout);
  begin = seconds();
  while (!over) {
    int state = avr_run(avr);
    if (state == cpu_Done || state == cpu_Crashed) return 3;
    if (++tick % 512) continue;
    if (reset_asked) {
      reset_asked = 0;
      begin += (double)avr->cycle / 16e6;
      avr_reset(avr);
      avr->cycle = 0;
      begin = seconds();
    }
    if (ready) { /* one byte a visit: the real UART takes no more either */
      uint8_t byte;
      if (read(line, &byte, 1) == 1) avr_raise_irq(input, byte);
    }
    while (!over && (double)avr->cycle / 16e6 > seconds() - begin + 0.001) usleep(500);
  }
  printf("%llu cycles\n", (unsigned long long)avr->cycle);
  return 0;
}
