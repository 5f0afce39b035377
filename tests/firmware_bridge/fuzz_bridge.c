/* libFuzzer on the device's end: any bytes, and any payload with a right crc, which no fuzzer would guess. */
#include <stddef.h>

#include "library_port.h"

uint32_t tta_hal_now_us(void *port) { return ((struct port *)port)->now_us += 7; }
int tta_hal_read(void *port) {
  struct port *p = port;
  return p->in_at < p->in_n ? p->in[p->in_at++] : -1;
}
int tta_hal_write(void *port, uint8_t byte) {
  struct port *p = port;
  p->out_n = p->out_n * 33 + byte;
  return p->out_n % 5 != 0; /* a line that is often busy */
}
void tta_hal_health(void *port, uint16_t *supply_mv, int16_t *temperature_cc) { (void)port, (void)supply_mv, (void)temperature_cc; }

TTA_SCHEMA(schema, "fuzz", "1", 50000, TTA_CHANNEL("a", "g", 1, -2, 2), TTA_CHANNEL("b", "", 1, -2, 2),
           TTA_CHANNEL("c", "", 1, -2, 2));

static void body(tta_bridge *b, struct port *port, const uint8_t *data, uint32_t n) {
  uint8_t raw[300], wire[320];
  tta_encoder e;
  uint16_t crc, k, type;
  int byte;
  if (n > 280) n = 280;
  raw[0] = 1;
  for (k = 0; k < n; k++) raw[1 + k] = data[k];
  if (n < 7) return;
  type = raw[1] & 0x7f;
  crc = tta_crc16(type == TTA_HELLO || type == TTA_LOG || type == TTA_PING ? 0 : b->hash, raw, (uint16_t)(n + 1));
  raw[n + 1] = (uint8_t)(crc >> 8);
  raw[n + 2] = (uint8_t)crc;
  tta_encoder_init(&e, raw, (uint16_t)(n + 3));
  for (k = 0; (byte = tta_next_byte(&e)) >= 0; k++) wire[k] = (uint8_t)byte;
  port->in = wire;
  port->in_n = k;
  port->in_at = 0;
  while (port->in_at < port->in_n) tta_poll(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t rx[128], tx[192];
  int16_t ring[16 * 3], sample[3] = {-5, 0, 32767};
  struct port port = {0};
  tta_bridge b;
  tta_config config = {0};
  uint32_t at = 0;
#if TTA_SENTINEL
  static tta_sentinel sentinel;
  tta_sentinel_init(&sentinel);
  tta_sentinel_source(&sentinel, 0, 1, 2);
  config.sentinel = &sentinel;
#endif
  config.schema = &schema;
  config.port = &port;
  config.rx = rx;
  config.rx_bytes = sizeof rx;
  config.tx = tx;
  config.tx_bytes = sizeof tx;
  config.ring = ring;
  config.ring_samples = 16;
  config.window = 4;
  config.take_norm = 1;
  config.norm_every_ms = 1;
  if (!tta_init(&b, &config)) __builtin_trap();
  while (at < size) { /* pieces: a length, and so many bytes, raw or as a body */
    uint32_t n = data[at] & 0x7f, raw = data[at] & 0x80;
    at++;
    if (n > size - at) n = (uint32_t)(size - at);
    sample[1] = (int16_t)(sample[1] + 1000);
    tta_push(&b, sample);
    if (raw) {
      port.in = data + at;
      port.in_n = n;
      port.in_at = 0;
      while (port.in_at < port.in_n) tta_poll(&b);
    } else {
      body(&b, &port, data + at, n);
    }
    at += n;
    port.now_us += 2000;
    if (b.stored > 16 || b.head >= 16 || b.rx.length > sizeof rx || b.window > 16) __builtin_trap();
  }
  return 0;
}
