#include "tta_bridge.h"

struct port {
  const uint8_t *in;
  uint8_t *out;
  uint32_t in_n, in_at, out_n, out_room, now_us;
  uint16_t supply_mv;
  int16_t temperature_cc;
};
