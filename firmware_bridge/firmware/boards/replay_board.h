/** @file replay_board.h
 * A board without a sensor: replays the samples of replay.h (made by firmware_bridge/boards.py) at their rate.
 * A port includes it once, defines the four tta_hal_* functions, and calls board_init and board_step.
 */
#include "tta_bridge.h"

#ifndef FETCH
#define FETCH(p) (*(p)) /* where the replay lies in ordinary memory */
#endif
#ifndef REPLAY_SECTION
#define REPLAY_SECTION
#endif
#include "replay.h" /* REPLAY_SCHEMA, REPLAY_CHANNELS, REPLAY_SAMPLES, replay[][] */

#ifndef BOARD_WINDOW
#define BOARD_WINDOW 10
#endif
#ifndef BOARD_RING
#define BOARD_RING 24
#endif

REPLAY_SCHEMA(schema);

static uint8_t rx[128], tx[256];
static int16_t ring[BOARD_RING][REPLAY_CHANNELS];
static tta_bridge bridge;
static tta_config config;
static uint32_t next_us, at, rate_mhz, period_us;

static int board_init(void *port) {
  config.schema = &schema;
  config.port = port;
  config.rx = rx;
  config.rx_bytes = sizeof rx;
  config.tx = tx;
  config.tx_bytes = sizeof tx;
  config.ring = ring;
  config.ring_samples = BOARD_RING;
  config.window = BOARD_WINDOW;
  config.take_norm = 1;
  next_us = tta_hal_now_us(port);
  at = 0;
  return tta_init(&bridge, &config);
}

/** Push what is due, and poll. The sample period is rounded to microseconds. */
static void board_step(void *port) {
  if (rate_mhz != bridge.rate_mhz) {
    rate_mhz = bridge.rate_mhz;
    period_us = 1000000000ul / rate_mhz;
  }
  if ((int32_t)(tta_hal_now_us(port) - next_us) >= 0) {
    int16_t sample[REPLAY_CHANNELS];
    uint8_t k;
    for (k = 0; k < REPLAY_CHANNELS; k++) sample[k] = (int16_t)FETCH(&replay[at][k]);
    tta_push(&bridge, sample);
    if (++at == REPLAY_SAMPLES) {
      at = 0;
      tta_log(&bridge, 1, "replay begins again");
    }
    next_us += period_us;
  }
  tta_poll(&bridge);
}
