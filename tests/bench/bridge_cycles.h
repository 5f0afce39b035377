/* Measures the library on a board and prints microseconds of the board's clock: an application for its port. */
#include "tta_bridge.h"

TTA_SCHEMA(schema, "bench", "1", 50000, TTA_CHANNEL("a", "g", 1, -2, 2), TTA_CHANNEL("b", "g", 1, -2, 2),
           TTA_CHANNEL("c", "g", 1, -2, 2), TTA_CHANNEL("d", "g", 1, -2, 2), TTA_CHANNEL("e", "g", 1, -2, 2),
           TTA_CHANNEL("f", "g", 1, -2, 2));

enum { REPEATS = 50, BODY = 200 };
static uint8_t body[BODY], wire[BODY + 8], back[BODY];

static void say(void *port, const char *text) {
  for (; *text; text++)
    while (!tta_hal_write(port, (uint8_t)*text)) {}
}

static void result(void *port, const char *name, uint32_t us) {
  char digits[12];
  uint8_t k = 11;
  digits[k] = 0;
  do digits[--k] = (char)('0' + us % 10);
  while ((us /= 10) && k);
  say(port, name);
  say(port, " ");
  say(port, digits + k);
  say(port, "\r\n");
}

static uint16_t encode(void) {
  tta_encoder e;
  uint16_t n = 0;
  int byte;
  tta_encoder_init(&e, body, BODY);
  while ((byte = tta_next_byte(&e)) >= 0) wire[n++] = (uint8_t)byte;
  return n;
}

static int board_init(void *port) {
  static tta_decoder d;
  volatile uint16_t sink = 0;
  uint16_t k, i, n = encode();
  uint32_t begin;
  for (k = 0; k < BODY; k++) body[k] = (uint8_t)(k % 7 == 3 ? 0 : k * 37 + 1); /* a seventh zeros, as sensors have */
  n = encode();
  say(port, "begin\r\n");
  begin = tta_hal_now_us(port);
  for (k = 0; k < REPEATS; k++) sink = (uint16_t)(sink + tta_crc16(0, body, BODY));
  result(port, "crc", tta_hal_now_us(port) - begin);
  begin = tta_hal_now_us(port);
  for (k = 0; k < REPEATS; k++) sink = (uint16_t)(sink + encode());
  result(port, "encode", tta_hal_now_us(port) - begin);
  tta_decoder_init(&d, back, BODY);
  begin = tta_hal_now_us(port);
  for (k = 0; k < REPEATS; k++)
    for (i = 0; i < n; i++) sink = (uint16_t)(sink + tta_push_byte(&d, wire[i]));
  result(port, "decode", tta_hal_now_us(port) - begin);
  return 1;
}

static void board_step(void *port) { (void)port; }
