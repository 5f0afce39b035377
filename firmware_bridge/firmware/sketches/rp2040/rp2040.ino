/* NOT BUILT HERE: no RP2040 core is among this project's tools, so nobody has compiled this sketch yet.
 *
 * The three inputs and the temperature of a Raspberry Pi Pico (Philhower's core) at 500 Hz over native USB.
 * Put tta_bridge.h and tta_bridge.c beside this file.
 */
#include "tta_bridge.h"

TTA_SCHEMA(schema, "pico analog", "1.0", 500000ul, TTA_CHANNEL("a0", "V", 3.3f / 4095, 0, 3.3f),
           TTA_CHANNEL("a1", "V", 3.3f / 4095, 0, 3.3f), TTA_CHANNEL("a2", "V", 3.3f / 4095, 0, 3.3f));

static uint8_t rx[256], tx[512];
static int16_t ring[200][3];
static tta_config config;
static tta_bridge bridge;

extern "C" uint32_t tta_hal_now_us(void *) { return micros(); }
extern "C" int tta_hal_read(void *) { return Serial.read(); }
extern "C" int tta_hal_write(void *, uint8_t byte) { return Serial.availableForWrite() > 0 && Serial.write(byte) == 1; }
extern "C" void tta_hal_health(void *, uint16_t *, int16_t *temperature_cc) {
  *temperature_cc = (int16_t)(analogReadTemp() * 100);
}

void setup() {
  Serial.begin(115200);
  analogReadResolution(12);
  config.schema = &schema;
  config.rx = rx;
  config.rx_bytes = sizeof rx;
  config.tx = tx;
  config.tx_bytes = sizeof tx;
  config.ring = ring;
  config.ring_samples = 200;
  config.window = 50;
  config.take_norm = 1;
  tta_init(&bridge, &config);
}

void loop() {
  static uint32_t next_us;
  if ((int32_t)(micros() - next_us) >= 0) {
    int16_t sample[3] = {(int16_t)analogRead(A0), (int16_t)analogRead(A1), (int16_t)analogRead(A2)};
    next_us += 1000000000ul / bridge.rate_mhz;
    tta_push(&bridge, sample);
  }
  tta_poll(&bridge);
}
