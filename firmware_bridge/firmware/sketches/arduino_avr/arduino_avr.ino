/* Three analog inputs of an Arduino Uno or Nano at 100 Hz, 16 bits a sample, to tta run serial:///dev/ttyACM0.
 *
 * Put tta_bridge.h and tta_bridge.c beside this file. Built in this project's tests with Debian's arduino-core-avr.
 */
#include "tta_bridge.h"

TTA_SCHEMA(schema, "analog inputs", "1.0", 100000ul, TTA_CHANNEL("a0", "V", 5 / 1023.f, 0, 5),
           TTA_CHANNEL("a1", "V", 5 / 1023.f, 0, 5), TTA_CHANNEL("a2", "V", 5 / 1023.f, 0, 5));

static uint8_t rx[96], tx[TTA_TX_BYTES(3, 10) + 64];
static int16_t ring[20][3];
static tta_config config;
static tta_bridge bridge;

extern "C" uint32_t tta_hal_now_us(void *) { return micros(); }
extern "C" int tta_hal_read(void *) { return Serial.read(); }
extern "C" int tta_hal_write(void *, uint8_t byte) {
  if (Serial.availableForWrite() < 1) return 0;
  Serial.write(byte);
  return 1;
}
extern "C" void tta_hal_health(void *, uint16_t *supply_mv, int16_t *) { *supply_mv = 5000; }

void setup() {
  Serial.begin(115200);
  pinMode(LED_BUILTIN, OUTPUT);
  config.schema = &schema;
  config.rx = rx;
  config.rx_bytes = sizeof rx;
  config.tx = tx;
  config.tx_bytes = sizeof tx;
  config.ring = ring;
  config.ring_samples = 20;
  config.window = 10;
  config.take_norm = 1; /* let the host push normalization down; 0 or nothing: never */
  while (!tta_init(&bridge, &config)) digitalWrite(LED_BUILTIN, HIGH); /* a buffer is too small */
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
