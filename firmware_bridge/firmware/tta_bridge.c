/** @file tta_bridge.c  See tta_bridge.h. */
#include "tta_bridge.h"

enum { VERSION = 1, HEADER = 8, STEP = 8 };
enum due { DUE_BOOTED = 1, DUE_HELLO = 2, DUE_ACK = 4, DUE_TIME = 8, DUE_PONG = 16, DUE_STATUS = 32 };
enum { BEGIN, CODE, RUN, LAST_RUN, END, OVER };

/* ---------------------------------------------------------------- codec */

uint16_t tta_crc16(uint16_t crc, const uint8_t *data, uint16_t n) {
  while (n--) { /* eight steps of the division at once, for 0x1021 = x^12 + x^5 + 1 */
    uint16_t x = (uint16_t)((crc >> 8) ^ *data++);
    x = (uint16_t)(x ^ (x >> 4));
    crc = (uint16_t)((crc << 8) ^ (x << 12) ^ (x << 5) ^ x);
  }
  return crc;
}

static void restart(tta_decoder *d) {
  d->length = 0;
  d->left = d->skip = 0;
  d->code = 255; /* no zero before the first run */
}

void tta_decoder_init(tta_decoder *d, uint8_t *buffer, uint16_t capacity) {
  d->buffer = buffer;
  d->capacity = capacity;
  restart(d);
}

static void keep(tta_decoder *d, uint8_t byte) {
  if (d->length < d->capacity) d->buffer[d->length++] = byte;
  else d->skip = 1;
}

uint16_t tta_push_byte(tta_decoder *d, uint8_t byte) {
  if (byte == 0) {
    uint16_t n = d->skip || d->left ? TTA_BAD : d->length;
    restart(d);
    return n;
  }
  if (d->left) {
    d->left--;
    keep(d, byte);
  } else {
    if (d->code != 255) keep(d, 0);
    d->code = byte;
    d->left = (uint8_t)(byte - 1);
  }
  return 0;
}

void tta_encoder_init(tta_encoder *e, const uint8_t *body, uint16_t n) {
  e->data = body;
  e->left = n;
  e->run = 0;
  e->state = BEGIN;
}

int tta_next_byte(tta_encoder *e) {
  uint8_t n = 0;
  if (e->state == BEGIN) {
    e->state = CODE;
    return 0;
  }
  if (e->run) {
    e->run--;
    e->left--;
    return *e->data++;
  }
  if (e->state == RUN) { /* the zero that the code stands for */
    e->data++;
    e->left--;
    e->state = CODE;
  } else if (e->state == LAST_RUN) {
    e->state = END;
  }
  if (e->state == END) {
    e->state = OVER;
    return 0;
  }
  if (e->state == OVER) return -1;
  while (n < 254 && n < e->left && e->data[n]) n++;
  e->run = n;
  if (n == e->left) e->state = LAST_RUN;
  else e->state = n == 254 ? CODE : RUN;
  return n + 1;
}

/* ---------------------------------------------------------------- little-endian fields */

static uint8_t *put(uint8_t *p, uint32_t value, uint8_t bytes) {
  while (bytes--) {
    *p++ = (uint8_t)value;
    value >>= 8;
  }
  return p;
}

static uint32_t get(const uint8_t *p, uint8_t bytes) {
  uint32_t value = 0;
  while (bytes--) value = value << 8 | p[bytes];
  return value;
}

static void copy(void *to, const void *from, uint16_t n) {
  uint8_t *t = to;
  const uint8_t *f = from;
  while (n--) *t++ = *f++;
}

static uint32_t bits(const void *real) { /* of a float, without arithmetic */
  uint32_t value;
  copy(&value, real, 4);
  return value;
}

/* So many words of four bytes, integers or floats, that lie one after the other. */
static uint8_t *put_words(uint8_t *p, const void *words, uint8_t n) {
  const uint8_t *word = words;
  while (n--) {
    p = put(p, bits(word), 4);
    word += 4;
  }
  return p;
}

static uint8_t *put_string(uint8_t *p, const uint8_t *end, const char *text) {
  uint8_t *length = p;
  if (p >= end) return p;
  for (p++; *text && p < end && p - length < 256; p++) *p = (uint8_t)*text++;
  *length = (uint8_t)(p - length - 1);
  return p;
}

/* ---------------------------------------------------------------- sending */

/* The schema block; returns its end, which is the end of the room where it does not fit: tta_init notices. */
static uint8_t *put_schema(const tta_schema *s, uint8_t *p, const uint8_t *end) {
  uint8_t k;
  if (end - p < 6) return (uint8_t *)end;
  *p++ = s->kind;
  p = put(p, s->rate_mhz, 4);
  *p++ = s->count;
  for (k = 0; k < s->count; k++) {
    const tta_channel *c = &s->channels[k];
    p = put_string(put_string(p, end, c->name), end, c->unit);
    if (end - p < 12) return (uint8_t *)end;
    p = put_words(p, &c->scale, 3);
  }
  return p;
}

static uint8_t *payload(const tta_bridge *b) { return b->config->tx + HEADER; }

static uint16_t seed(const tta_bridge *b, uint8_t type) {
  type &= (uint8_t)~TTA_HOST;
  return type == TTA_HELLO || type >= TTA_LOG ? 0 : b->hash;
}

/* Finish the body whose payload ends at p, and begin to send it. */
static void send(tta_bridge *b, uint8_t type, const uint8_t *p) {
  uint8_t *tx = b->config->tx;
  uint16_t n = (uint16_t)(p - tx), crc;
  tx[0] = VERSION;
  tx[1] = type;
  put(put(tx + 2, b->seq++, 2), tta_hal_now_us(b->config->port), 4);
  crc = tta_crc16(seed(b, type), tx, n);
  tx[n] = (uint8_t)(crc >> 8);
  tx[n + 1] = (uint8_t)crc;
  tta_encoder_init(&b->tx, tx, (uint16_t)(n + 2));
  b->counts.sent++;
}

/* HELLO's payload; the schema's hash is made on the way. Returns its end, which is that of the buffer if it is full. */
static uint8_t *put_hello(tta_bridge *b) {
  const tta_config *c = b->config;
  const uint8_t *end = c->tx + c->tx_bytes - 2;
  uint8_t *p = payload(b), *block, flags = b->due & DUE_BOOTED;
  if (c->take_norm) flags |= 2;
#if TTA_SENTINEL
  if (c->sentinel) flags |= 4;
#endif
  p = put(put(put(p, c->rx_bytes, 2), b->hash, 2), b->heartbeat_ms, 2);
  *p++ = b->epoch;
  *p++ = flags;
  block = put_string(put_string(p, end, c->schema->firmware), end, c->schema->version);
  p = put_schema(c->schema, block, end);
  if (!b->hash && p < end) /* of a whole block only: one that was cut may be shorter than what is left out */
    b->hash = tta_crc16(tta_crc16(0xFFFF, block, 1), block + 5, (uint16_t)(p - block - 5));
  return p;
}

static void send_status(tta_bridge *b) {
  uint8_t *p = payload(b), flags = 0, count = 0;
  uint16_t supply = 0, moved = 0;
  int16_t temperature = -32768;
  tta_hal_health(b->config->port, &supply, &temperature);
#if TTA_SENTINEL
  if (b->config->sentinel) {
    moved = b->config->sentinel->moved;
    count = b->config->schema->count;
  }
#endif
  if (moved) flags |= 1;
  if (b->limited && (int16_t)(b->credit - b->data_sent) <= 0) flags |= 2;
  p = put_words(p, &b->counts, sizeof b->counts / 4);
  p = put(put(p, supply, 2), (uint16_t)temperature, 2);
  *p++ = b->epoch;
  *p++ = flags;
  p = put(p, moved, 2);
  *p++ = count;
#if TTA_SENTINEL
  {
    uint8_t k;
    for (k = 0; k < count; k++)
      p = put(put(p, (uint32_t)b->config->sentinel->channel[k].mean_q8, 4), b->config->sentinel->channel[k].var, 4);
  }
#endif
  send(b, TTA_STATUS, p);
}

static int16_t sat16(int32_t x) { return (int16_t)(x > 32767 ? 32767 : x < -32768 ? -32768 : x); }

static uint8_t *put_sample(const tta_bridge *b, uint8_t *p, uint16_t place) {
  const tta_config *c = b->config;
  uint16_t at = (uint16_t)(place * c->schema->count);
  uint8_t k;
  for (k = 0; k < c->schema->count; k++, at++) {
    const tta_norm *n = &b->norm[k];
    if (!(b->mask >> k & 1)) continue;
#if TTA_FLOAT
    if (c->schema->kind == TTA_FLOAT32) {
      float x = ((const float *)c->ring)[at];
      if (b->epoch) x = (x - n->real.mean) * n->real.gain;
      p = put(p, bits(&x), 4);
      continue;
    }
#endif
    {
      int32_t x = ((const int16_t *)c->ring)[at];
      if (b->epoch) {
        x = sat16(x - n->q15.mean) * (int32_t)n->q15.gain + ((int32_t)1 << (n->q15.shift - 1));
        x = sat16(x >> n->q15.shift); /* every compiler we know shifts a negative number arithmetically */
      }
      p = put(p, (uint16_t)x, 2);
    }
  }
  return p;
}

static uint8_t wide(const tta_bridge *b) { return b->config->schema->kind == TTA_FLOAT32 ? 4 : 2; }

static void send_data(tta_bridge *b) {
  static const uint8_t one[4] = {0, 0, 0x80, 0x3f};
  const tta_config *c = b->config;
  uint8_t *p = put(payload(b), b->counts.samples - b->stored, 4);
  uint16_t k;
  copy(p, b->epoch ? b->scale : one, 4);
  p = put(p + 4, b->mask, 2);
  *p++ = b->epoch;
  *p++ = c->schema->kind;
  p = put(p, b->window, 2);
  for (k = 0; k < b->window; k++) {
    p = put_sample(b, p, b->head);
    if (++b->head == c->ring_samples) b->head = 0;
  }
  b->stored = (uint16_t)(b->stored - b->window);
  b->data_sent++;
  send(b, TTA_DATA, p);
}

static void send_due(tta_bridge *b) {
  uint8_t *p = payload(b);
  if (b->due & DUE_HELLO) {
    send(b, TTA_HELLO, put_hello(b));
    b->due &= (uint8_t)~(DUE_HELLO | DUE_BOOTED);
  } else if (b->due & DUE_ACK) {
    b->due &= (uint8_t)~DUE_ACK;
    p = put(p, b->command_seq, 2);
    *p++ = b->command_type;
    *p++ = b->command_code;
    *p++ = b->epoch;
    send(b, TTA_ACK, put(p, b->applied_from, 4));
  } else if (b->due & DUE_TIME) {
    b->due &= (uint8_t)~DUE_TIME;
    send(b, TTA_TIME, put(put(p, b->token, 4), b->token_us, 4));
  } else if (b->due & DUE_PONG) {
    b->due &= (uint8_t)~DUE_PONG;
    *p++ = b->pong_bytes;
    copy(p, b->pong, b->pong_bytes);
    send(b, TTA_PING, p + b->pong_bytes);
  } else if (b->due & DUE_STATUS) {
    b->due &= (uint8_t)~DUE_STATUS;
    send_status(b);
  } else if (b->stored >= b->window && (!b->limited || (int16_t)(b->credit - b->data_sent) > 0)) {
    send_data(b);
  }
}

/* ---------------------------------------------------------------- receiving */

static uint8_t configure(tta_bridge *b, const uint8_t *p) {
  const tta_config *c = b->config;
  uint32_t rate = get(p, 4), most = c->most_rate_mhz ? c->most_rate_mhz : c->schema->rate_mhz;
  uint16_t mask = (uint16_t)get(p + 4, 2), window = (uint16_t)get(p + 6, 2), beat = (uint16_t)get(p + 8, 2);
  uint32_t room = (uint32_t)(c->tx_bytes - TTA_OVERHEAD - TTA_DATA_HEAD);
  if (rate > most || (uint32_t)mask >> c->schema->count) return TTA_OUT_OF_RANGE;
  if (window > c->ring_samples || (uint32_t)window * c->schema->count * wide(b) > room) return TTA_OUT_OF_RANGE;
  if (rate) b->rate_mhz = rate;
  if (mask) b->mask = mask;
  if (window) b->window = window;
  if (beat) b->heartbeat_ms = beat;
  return TTA_DONE;
}

/* Take the k-th channel of the vector that has come; 0 if it is out of the limits. */
static int adopt(tta_bridge *b, uint8_t k, int store) {
  const tta_config *c = b->config;
  const uint8_t *q = b->next + STEP * k;
  tta_norm *n = &b->norm[k];
#if TTA_FLOAT
  if (c->schema->kind == TTA_FLOAT32) {
    uint32_t mean = get(q, 4), gain = get(q + 4, 4);
    tta_norm new;
    copy(&new.real.mean, &mean, 4);
    copy(&new.real.gain, &gain, 4);
    if (store) *n = new;
    return new.real.mean - new.real.mean == 0 && new.real.gain > 1e-6f && new.real.gain < 1e6f; /* no nan */
  }
#endif
  {
    uint16_t gain = (uint16_t)get(q + 2, 2);
    int shift = q[4], change = shift - n->q15.shift;
    if (gain - 0x4000u > 0x3fff || shift < (c->least_shift ? c->least_shift : 9)) return 0;
    if (shift > (c->most_shift ? c->most_shift : 21) || shift > 30) return 0;
    if (b->epoch && (change < -4 || change > 4)) return 0; /* no more than 32-fold at a time */
    if (store) {
      n->q15.mean = (int16_t)get(q, 2);
      n->q15.gain = gain;
      n->q15.shift = (uint8_t)shift;
    }
    return 1;
  }
}

static uint8_t normalize(tta_bridge *b, const uint8_t *p) {
  const tta_config *c = b->config;
  uint8_t epoch = p[0], first = p[1], count = p[2], total = p[3], k;
  uint16_t crc = (uint16_t)get(p + 4, 2);
  uint32_t now_us = tta_hal_now_us(c->port);
  int store;
  if (!c->take_norm) return TTA_UNSUPPORTED;
  if (epoch == 0) { /* raw: always, at once */
    if (count | total) return TTA_OUT_OF_RANGE;
    b->epoch = 0;
    return TTA_DONE;
  }
  if (total != c->schema->count || !count || first + count > total) return TTA_OUT_OF_RANGE;
  if (first == 0) {
    b->next_epoch = epoch;
    b->vector_crc = crc;
  } else if (first != b->next_count || epoch != b->next_epoch || crc != b->vector_crc) {
    return TTA_BAD_VECTOR;
  }
  copy(b->next + STEP * first, p + 10, (uint16_t)(STEP * count));
  b->next_count = (uint8_t)(first + count);
  if (b->next_count < total) return TTA_DONE; /* of this part */
  if (tta_crc16(0xFFFF, b->next, (uint16_t)(STEP * total)) != crc) return TTA_BAD_VECTOR;
  if (b->epoch && now_us - b->norm_us < (c->norm_every_ms ? c->norm_every_ms : 1000) * (uint32_t)1000)
    return TTA_TOO_SOON;
  for (store = 0; store < 2; store++) /* all or nothing */
    for (k = 0; k < total; k++)
      if (!adopt(b, k, store)) return TTA_OUT_OF_RANGE;
  copy(b->scale, p + 6, 4);
  b->norm_us = now_us;
  b->epoch = epoch;
  return TTA_DONE;
}

static void command(tta_bridge *b, uint8_t type, uint16_t seq, const uint8_t *p) {
  if (b->command_type != type || b->command_seq != seq) {
    b->command_type = type;
    b->command_seq = seq;
    b->applied_from = b->counts.samples - b->stored;
    b->command_code = type == TTA_CONFIG ? configure(b, p) : normalize(b, p);
  }
  b->due |= DUE_ACK;
}

static void receive(tta_bridge *b, uint16_t n, uint32_t now_us) {
  const uint8_t *body = b->config->rx, *p = body + HEADER;
  uint8_t type = (uint8_t)(body[1] & ~TTA_HOST);
  uint16_t size = (uint16_t)(n - TTA_OVERHEAD);
  if (n == TTA_BAD || n < TTA_OVERHEAD || body[0] != VERSION || tta_crc16(seed(b, type), body, n)) {
    b->counts.refused++;
    return;
  }
  if (!(body[1] & TTA_HOST)) return; /* our own echo */
  if (type == TTA_HELLO && size == 2) {
    b->command_type = b->limited = 0;
    b->data_sent = 0;
    b->due |= DUE_HELLO;
  } else if (type == TTA_STATUS && size == 3) {
    b->credit = (uint16_t)get(p, 2);
    b->limited = p[2] & 1;
  } else if (type == TTA_CONFIG && size == 10) {
    command(b, type, (uint16_t)get(body + 2, 2), p);
  } else if (type == TTA_NORM && size >= 10 && size == (uint16_t)(10 + STEP * p[2])) {
    command(b, type, (uint16_t)get(body + 2, 2), p);
  } else if (type == TTA_TIME && size == 4) {
    b->token = get(p, 4);
    b->token_us = now_us;
    b->due |= DUE_TIME;
  } else if (type == TTA_PING && size >= 1 && size <= 17 && size == (uint16_t)(p[0] + 1)) {
    b->pong_bytes = p[0];
    copy(b->pong, p + 1, p[0]);
    b->due |= DUE_PONG;
  } else {
    b->counts.refused++;
  }
}

/* ---------------------------------------------------------------- bridge */

int tta_init(tta_bridge *b, const tta_config *c) {
  const tta_schema *s = c->schema;
  uint8_t *bytes = (uint8_t *)b;
  uint16_t k;
  if (s->count < 1 || s->count > TTA_CHANNELS || s->count > 16 || s->kind > TTA_FLOAT) return 0;
  for (k = 0; k < sizeof *b; k++) bytes[k] = 0;
  b->config = c;
  if (c->tx_bytes < 66 || c->rx_bytes < 28 || c->tx_bytes >= TTA_BAD || c->rx_bytes >= TTA_BAD) return 0;
  if (!c->window || c->window > c->ring_samples) return 0;
  if ((uint32_t)c->window * s->count * wide(b) > (uint32_t)(c->tx_bytes - TTA_OVERHEAD - TTA_DATA_HEAD)) return 0;
#if TTA_SENTINEL
  if (c->sentinel && (c->tx_bytes < TTA_OVERHEAD + 35u + 8u * s->count || s->kind != TTA_INT16)) return 0;
#endif
  if (put_hello(b) >= c->tx + c->tx_bytes - 2) return 0; /* it does not fit */
  if (!b->hash) b->hash = 1;
  tta_decoder_init(&b->rx, c->rx, c->rx_bytes);
  b->tx.state = OVER;
  b->pending_byte = -1;
  b->due = DUE_HELLO | DUE_BOOTED;
  b->mask = (uint16_t)(((uint32_t)1 << s->count) - 1);
  b->window = c->window;
  b->rate_mhz = s->rate_mhz;
  b->heartbeat_ms = c->heartbeat_ms ? c->heartbeat_ms : 1000;
  b->beat_us = b->uptime_us = tta_hal_now_us(c->port);
  return 1;
}

static void push(tta_bridge *b, const void *sample) {
  const tta_config *c = b->config;
  uint16_t size = (uint16_t)(c->schema->count * wide(b));
  uint16_t place = (uint16_t)(b->head + b->stored);
  if (b->stored == c->ring_samples) {
    b->counts.overruns++;
    if (++b->head == c->ring_samples) b->head = 0;
  } else {
    b->stored++;
  }
  if (place >= c->ring_samples) place = (uint16_t)(place - c->ring_samples);
  copy((uint8_t *)c->ring + (uint32_t)place * size, sample, size);
  b->counts.samples++;
}

void tta_push(tta_bridge *b, const int16_t *sample) {
#if TTA_SENTINEL
  tta_sentinel *s = b->config->sentinel;
  if (s) {
    uint16_t before = s->moved;
    if (tta_sentinel_push(s, sample, b->config->schema->count) & (uint16_t)~before) b->due |= DUE_STATUS;
  }
#endif
  push(b, sample);
}

#if TTA_FLOAT
void tta_push_float(tta_bridge *b, const float *sample) { push(b, sample); }
#endif

int tta_log(tta_bridge *b, uint8_t level, const char *text) {
  uint8_t *p = payload(b);
  if (b->tx.state != OVER || b->pending_byte >= 0) {
    b->counts.drops++;
    return 0;
  }
  *p++ = level;
  send(b, TTA_LOG, put_string(p, b->config->tx + b->config->tx_bytes - 2, text));
  return 1;
}

void tta_poll(tta_bridge *b) {
  void *port = b->config->port;
  uint32_t now_us = tta_hal_now_us(port);
  int byte;
  while (now_us - b->uptime_us >= 1000000) {
    b->uptime_us += 1000000;
    b->counts.uptime_s++;
  }
  if (now_us - b->beat_us >= (uint32_t)b->heartbeat_ms * 1000) {
    b->beat_us = now_us;
    b->due |= DUE_STATUS;
  }
  /* At most what a frame can be, so that a host that never stops cannot keep us here. */
  uint16_t budget;
  for (budget = (uint16_t)(b->rx.capacity + 8); budget && (byte = tta_hal_read(port)) >= 0; budget--) {
    uint16_t n = tta_push_byte(&b->rx, (uint8_t)byte);
    if (n) receive(b, n, tta_hal_now_us(port));
  }
  for (;;) {
    if (b->pending_byte < 0) {
      if (b->tx.state == OVER) send_due(b);
      b->pending_byte = (int16_t)tta_next_byte(&b->tx);
      if (b->pending_byte < 0) return; /* nothing to say */
    }
    if (!tta_hal_write(port, (uint8_t)b->pending_byte)) return;
    b->pending_byte = -1;
  }
}

/* ---------------------------------------------------------------- sentinel */

#if TTA_SENTINEL
enum { BLOCK = 64, BLOCK_BITS = 6, EMA_BITS = 3, ROUND_UP = (1 << EMA_BITS) - 1 };

void tta_sentinel_init(tta_sentinel *s) {
  uint8_t *bytes = (uint8_t *)s;
  uint16_t k;
  for (k = 0; k < sizeof *s; k++) bytes[k] = 0;
  s->far_q8 = 128;
  s->slack_q8 = 16;
  s->long_q8 = (int32_t)1024 << 8;
}

void tta_sentinel_source(tta_sentinel *s, uint8_t channel, int16_t mean, int16_t sd) {
  tta_moments *m;
  if (channel >= TTA_CHANNELS) return;
  m = &s->channel[channel];
  m->mean = mean;
  m->sd = sd;
  m->mean_q8 = (int32_t)mean * 256;
  m->var = (uint32_t)((int32_t)sd * sd);
  m->above = m->below = 0;
  s->moved &= (uint16_t)~(1u << channel);
}

/* One channel's block is complete: its running statistics, and whether they left the source's. */
static int block(const tta_sentinel *s, tta_moments *m) {
  int32_t mean_q8 = m->sum * (256 / BLOCK);               /* from the source's mean */
  uint32_t second = (uint32_t)(m->squares >> BLOCK_BITS); /* about the source's mean */
  int32_t source_q8 = (int32_t)m->mean * 256, d, from_q8;
  int32_t off = mean_q8 / 256, rest = mean_q8 % 256;
  uint32_t square = (uint32_t)(off * off + off * rest / 128 + rest * rest / 65536); /* of the mean */
  uint32_t var = square > second ? 0 : second - square;
  m->sum = 0;
  m->squares = 0;
  m->mean_q8 += (source_q8 + mean_q8 - m->mean_q8) / (1 << EMA_BITS);
  /* away from zero, so that a small variance, too, comes down to that of a dead channel */
  if (var >= m->var) m->var += (var - m->var + ROUND_UP) >> EMA_BITS;
  else m->var -= (m->var - var + ROUND_UP) >> EMA_BITS;
  if (m->sd <= 0) return 0; /* nothing to compare with */
  d = mean_q8 / m->sd;
  m->above += d - s->slack_q8;
  m->below += -d - s->slack_q8;
  if (m->above < 0) m->above = 0;
  if (m->below < 0) m->below = 0;
  from_q8 = (m->mean_q8 - source_q8) / m->sd;
  {
    uint32_t source_var = (uint32_t)((int32_t)m->sd * m->sd);
    int moved = from_q8 > s->far_q8 || from_q8 < -s->far_q8;
    moved |= m->above > s->long_q8 || m->below > s->long_q8;
    moved |= m->var > 4 * source_var || m->var < source_var / 4;
    if (m->above > s->long_q8) m->above = s->long_q8 + 1; /* so it cannot overflow, and ends when the drift does */
    if (m->below > s->long_q8) m->below = s->long_q8 + 1;
    return moved;
  }
}

uint16_t tta_sentinel_push(tta_sentinel *s, const int16_t *sample, uint8_t channels) {
  uint8_t k;
  for (k = 0; k < channels; k++) {
    tta_moments *m = &s->channel[k];
    int32_t d = sat16((int32_t)sample[k] - m->mean);
    m->sum += d;
    m->squares += (uint32_t)(d * d);
  }
  if (++s->in_block == BLOCK) {
    s->in_block = 0;
    for (k = 0; k < channels; k++) {
      if (block(s, &s->channel[k])) s->moved |= (uint16_t)(1u << k);
      else s->moved &= (uint16_t)~(1u << k);
    }
  }
  return s->moved;
}
#endif
