/* NOT BUILT HERE: no ESP32 toolchain is among this project's tools, so nobody has compiled this sketch yet.
 *
 * Two analog inputs of an ESP32 at 200 Hz, as float32 volts. Put tta_bridge.h and tta_bridge.c beside this file and
 * add -DTTA_FLOAT=1 to the build flags (in platformio.ini: build_flags = -DTTA_FLOAT=1).
 */
#include "tta_bridge.h"

TTA_SCHEMA_OF(schema, TTA_FLOAT32, "esp32 analog", "1.0", 200000ul, TTA_CHANNEL("a34", "V", 1, 0, 3.3f),
              TTA_CHANNEL("a35", "V", 1, 0, 3.3f));

static uint8_t rx[256], tx[512];
static float ring[100][2];
static tta_config config;
static tta_bridge bridge;

extern "C" uint32_t tta_hal_now_us(void *) { return micros(); }
extern "C" int tta_hal_read(void *) { return Serial.read(); }
extern "C" int tta_hal_write(void *, uint8_t byte) { return Serial.availableForWrite() > 0 && Serial.write(byte) == 1; }
extern "C" void tta_hal_health(void *, uint16_t *, int16_t *temperature_cc) {
  *temperature_cc = (int16_t)(temperatureRead() * 100);
}

void setup() {
  Serial.begin(460800);
  config.schema = &schema;
  config.rx = rx;
  config.rx_bytes = sizeof rx;
  config.tx = tx;
  config.tx_bytes = sizeof tx;
  config.ring = ring;
  config.ring_samples = 100;
  config.window = 20;
  config.take_norm = 1;
  tta_init(&bridge, &config);
}

void loop() {
  static uint32_t next_us;
  if ((int32_t)(micros() - next_us) >= 0) {
    float sample[2] = {analogReadMilliVolts(34) * 1e-3f, analogReadMilliVolts(35) * 1e-3f};
    next_us += 1000000000ul / bridge.rate_mhz;
    tta_push_float(&bridge, sample);
  }
  tta_poll(&bridge);
}
