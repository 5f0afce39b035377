/** @file atmega328.c  The replay board on an ATmega328 at 16 MHz, as an Arduino Uno has it: UART at 115200 baud. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/pgmspace.h>

#define FETCH(p) pgm_read_word(p)
#define REPLAY_SECTION PROGMEM
#ifndef BOARD_APP
#define BOARD_APP "replay_board.h"
#endif
#include BOARD_APP

static volatile uint32_t overflows;
ISR(TIMER1_OVF_vect) { overflows++; }

uint32_t tta_hal_now_us(void *port) { /* timer 1 at 2 MHz, which overflows every 32.768 ms */
  uint16_t low;
  uint32_t high;
  (void)port;
  cli();
  low = TCNT1;
  high = overflows;
  if ((TIFR1 & _BV(TOV1)) && low < 0x8000) high++;
  sei();
  return (high << 15) | (low >> 1);
}

/* The two bytes of the UART's own buffer do not last through a poll, so its interrupt keeps 64. */
static volatile uint8_t in[64], in_head, in_tail;
ISR(USART_RX_vect) {
  uint8_t byte = UDR0, next = (uint8_t)((in_head + 1) & 63);
  if (next != in_tail) {
    in[in_head] = byte;
    in_head = next;
  }
}

int tta_hal_read(void *port) {
  uint8_t byte;
  (void)port;
  if (in_head == in_tail) return -1;
  byte = in[in_tail];
  in_tail = (uint8_t)((in_tail + 1) & 63);
  return byte;
}

int tta_hal_write(void *port, uint8_t byte) {
  (void)port;
  if (!(UCSR0A & _BV(UDRE0))) return 0;
  UDR0 = byte;
  return 1;
}

void tta_hal_health(void *port, uint16_t *supply_mv, int16_t *temperature_cc) {
  (void)port;
  *supply_mv = 5000;
  (void)temperature_cc;
}

int main(void) {
  TCCR1B = _BV(CS11);
  TIMSK1 = _BV(TOIE1);
  UCSR0A = _BV(U2X0);
  UBRR0 = 16; /* 117647 baud: 2.1 % off, as on every Uno */
  UCSR0B = _BV(RXEN0) | _BV(TXEN0) | _BV(RXCIE0);
  sei();
  if (board_init(0))
    for (;;) board_step(0);
  for (;;) {}
}
