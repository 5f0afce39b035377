/* The library's port for a test: bytes and time come from the caller, so that everything is exact. */
#include "library_port.h"

uint32_t tta_hal_now_us(void *port) { return ((struct port *)port)->now_us; }

int tta_hal_read(void *port) {
  struct port *p = port;
  return p->in_at < p->in_n ? p->in[p->in_at++] : -1;
}

int tta_hal_write(void *port, uint8_t byte) {
  struct port *p = port;
  if (p->out_n >= p->out_room) return 0;
  p->out[p->out_n++] = byte;
  return 1;
}

void tta_hal_health(void *port, uint16_t *supply_mv, int16_t *temperature_cc) {
  struct port *p = port;
  *supply_mv = p->supply_mv;
  *temperature_cc = p->temperature_cc;
}

#include <stdlib.h>

/* What Python needs to make a bridge: it knows no layouts. Test memory comes from the heap so that ASan sees its ends. */
struct board {
  tta_config config;
  tta_bridge bridge;
  struct port port;
#if TTA_SENTINEL
  tta_sentinel sentinel;
#endif
};

TTA_SCHEMA(vector_schema, "demo", "1.0", 50000, TTA_CHANNEL("ax", "g", 1 / 16384.f, -2, 2),
           TTA_CHANNEL("gz", "\xc2\xb0/s", 0.0625f, -2000, 2000));
#if TTA_FLOAT
TTA_SCHEMA_OF(float_schema, TTA_FLOAT32, "demo", "1.0", 50000, TTA_CHANNEL("ax", "g", 1, -2, 2),
              TTA_CHANNEL("gz", "", 1, -2, 2));
#endif

void *board_new(int real, uint16_t rx, uint16_t tx, uint16_t ring, uint16_t window, int take_norm, int sentinel) {
  struct board *b = calloc(1, sizeof *b);
  b->config.schema = &vector_schema;
#if TTA_FLOAT
  if (real) b->config.schema = &float_schema;
#endif
  b->config.port = &b->port;
  b->config.rx = malloc(rx);
  b->config.rx_bytes = rx;
  b->config.tx = malloc(tx);
  b->config.tx_bytes = tx;
  b->config.ring = malloc((size_t)ring * 2 * (real ? 4 : 2));
  b->config.ring_samples = ring;
  b->config.window = window;
  b->config.take_norm = (uint8_t)take_norm;
  b->port.temperature_cc = -32768;
#if TTA_SENTINEL
  if (sentinel) {
    tta_sentinel_init(&b->sentinel);
    b->config.sentinel = &b->sentinel;
  }
#endif
  (void)sentinel;
  if (!tta_init(&b->bridge, &b->config)) return 0;
  return b;
}

/* Whether tta_init takes a schema of this firmware name with so large a transmit buffer. */
int init_with_name(const char *name, uint16_t tx) {
  tta_schema schema = vector_schema;
  struct board *b = calloc(1, sizeof *b);
  uint8_t rx[64];
  int16_t ring[4];
  int taken;
  schema.firmware = name;
  b->config.schema = &schema;
  b->config.port = &b->port;
  b->config.rx = rx;
  b->config.rx_bytes = sizeof rx;
  b->config.tx = malloc(tx);
  b->config.tx_bytes = tx;
  b->config.ring = ring;
  b->config.ring_samples = 2;
  b->config.window = 1;
  taken = tta_init(&b->bridge, &b->config);
  free(b->config.tx);
  free(b);
  return taken;
}

void board_free(struct board *b) {
  free(b->config.rx);
  free(b->config.tx);
  free(b->config.ring);
  free(b);
}

void board_health(struct board *b, int supply_mv, int temperature_cc) {
  b->port.supply_mv = (uint16_t)supply_mv;
  b->port.temperature_cc = (int16_t)temperature_cc;
}

void board_sequence(struct board *b, uint16_t seq) { b->bridge.seq = seq; }
void board_time(struct board *b, uint32_t now_us) { b->port.now_us = now_us; }
void board_push(struct board *b, const int16_t *sample) { tta_push(&b->bridge, sample); }
#if TTA_FLOAT
void board_push_float(struct board *b, const float *sample) { tta_push_float(&b->bridge, sample); }
#endif
int board_log(struct board *b, int level, const char *text) { return tta_log(&b->bridge, (uint8_t)level, text); }
#if TTA_SENTINEL
void board_source(struct board *b, int channel, int mean, int sd) {
  tta_sentinel_source(&b->sentinel, (uint8_t)channel, (int16_t)mean, (int16_t)sd);
}
#endif

uint32_t board_poll(struct board *b, const uint8_t *in, uint32_t n, uint8_t *out, uint32_t room) {
  b->port.in = in;
  b->port.in_n = n;
  b->port.in_at = 0;
  b->port.out = out;
  b->port.out_n = 0;
  b->port.out_room = room;
  do tta_poll(&b->bridge);
  while (b->port.in_at < n);
  return b->port.out_n;
}

uint32_t board_counts(struct board *b, int which) {
  const uint32_t *counts = &b->bridge.counts.uptime_s;
  return counts[which];
}
