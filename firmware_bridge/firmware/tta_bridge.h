/**
 * @file tta_bridge.h
 * The device's end of the tta bridge protocol, version 1: sensor frames up, commands and normalization down.
 *
 * C99, no heap, no stdio, of libc the memset at most that gcc makes of a loop, no global state: every function works on the objects that it is given, so
 * a board may have several bridges. All functions of one bridge must be called from one context; where a sensor's
 * interrupt pushes samples, mask it around tta_poll, or push from the main loop. The bytes are specified in
 * firmware_bridge/protocol.py. "Cost" counts work, not time: B is a byte on the wire, C a channel.
 *
 * Use: define a schema with TTA_SCHEMA, give tta_init its buffers, call tta_push for every sample and tta_poll as
 * often as bytes come in, and write the four functions tta_hal_*.
 */
#ifndef TTA_BRIDGE_H
#define TTA_BRIDGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Most channels of a schema; 16 bytes of RAM each, with a sentinel 32 more. At most 16. */
#ifndef TTA_CHANNELS
#define TTA_CHANNELS 8
#endif
/** 1: float32 samples and the float front end as well; it needs floating point, in hardware or in libgcc. */
#ifndef TTA_FLOAT
#define TTA_FLOAT 0
#endif
/** 1: the drift sentinel as well. */
#ifndef TTA_SENTINEL
#define TTA_SENTINEL 0
#endif

/** What tta_push_byte and tta_decode give for a frame that cannot be used. */
#define TTA_BAD 0xFFFFu
/** Bytes of a body besides its payload: header and crc. */
#define TTA_OVERHEAD 10u
/** Bytes of a DATA payload before its samples. */
#define TTA_DATA_HEAD 14u
/** Bytes of transmit buffer that a window of so many int16 samples needs. */
#define TTA_TX_BYTES(channels, window) (TTA_OVERHEAD + TTA_DATA_HEAD + 2u * (channels) * (window))

enum tta_type {
  TTA_HELLO = 1, TTA_DATA, TTA_STATUS, TTA_CONFIG, TTA_ACK, TTA_NORM, TTA_TIME, TTA_LOG, TTA_PING,
  TTA_HOST = 0x80 /**< set in the type of what the host sends */
};
enum tta_code { TTA_DONE, TTA_UNSUPPORTED, TTA_OUT_OF_RANGE, TTA_BAD_VECTOR, TTA_TOO_SOON };
enum tta_kind { TTA_INT16, TTA_FLOAT32 };

/** @name Port: four functions that the firmware writes; port is what it gave to tta_init. @{ */
/** Microseconds since boot, modulo 2^32. Called a few times a poll. */
uint32_t tta_hal_now_us(void *port);
/** The next byte from the host, -1 if there is none; must not wait. */
int tta_hal_read(void *port);
/** Take one byte for the host; 0 if there is no room now. Must not wait. */
int tta_hal_write(void *port, uint8_t byte);
/** Supply in mV (leave 0 if unknown) and temperature in 0.01 degree C (leave -32768). Once a heartbeat. */
void tta_hal_health(void *port, uint16_t *supply_mv, int16_t *temperature_cc);
/** @} */

/** A channel: its name, unit, units a step of the int16 sample, and range in units. */
typedef struct {
  const char *name, *unit;
  float scale, lowest, highest; /* only their bytes are used: no arithmetic, no libgcc */
} tta_channel;

/** What the samples are. */
typedef struct {
  const char *firmware, *version;
  const tta_channel *channels;
  uint8_t count;    /**< of channels */
  uint8_t kind;     /**< enum tta_kind */
  uint32_t rate_mhz; /**< samples a 1000 s */
} tta_schema;

#define TTA_CHANNEL(name, unit, scale, lowest, highest) { name, unit, scale, lowest, highest }
/** TTA_SCHEMA(id, "firmware", "1.0", 50000, TTA_CHANNEL("ax", "g", 1/2048.f, -16, 16), ...); */
#define TTA_SCHEMA_OF(id, kind, firmware, version, rate_mhz, ...)                      \
  static const tta_channel id##_channels[] = {__VA_ARGS__};                            \
  static const tta_schema id = {firmware, version, id##_channels,                      \
    (uint8_t)(sizeof id##_channels / sizeof id##_channels[0]), kind, rate_mhz}
#define TTA_SCHEMA(id, firmware, version, rate_mhz, ...) \
  TTA_SCHEMA_OF(id, TTA_INT16, firmware, version, rate_mhz, __VA_ARGS__)

/** @name Codec, usable alone @{ */
/** CRC-16/XMODEM of n bytes, going on from crc. Cost: about 10 instructions a byte, no table. */
uint16_t tta_crc16(uint16_t crc, const uint8_t *data, uint16_t n);

/** COBS decoder: bytes of the wire in, one body at a time in buffer. */
typedef struct {
  uint8_t left, code, skip;
  uint16_t capacity, length; /**< bytes */
  uint8_t *buffer;
} tta_decoder;
void tta_decoder_init(tta_decoder *d, uint8_t *buffer, uint16_t capacity);
/** Length of the body that this byte completes, 0 if none, TTA_BAD if it was no COBS or too long. Cost: O(1). */
uint16_t tta_push_byte(tta_decoder *d, uint8_t byte);

/** COBS encoder: a body in, bytes of the wire out one by one, so no second buffer is needed. */
typedef struct {
  uint8_t run, state;
  uint16_t left; /**< bytes of the body to go */
  const uint8_t *data;
} tta_encoder;
void tta_encoder_init(tta_encoder *e, const uint8_t *body, uint16_t n);
/** The next byte, -1 when the frame is complete. Cost: O(1) a byte on average, 254 comparisons at most. */
int tta_next_byte(tta_encoder *e);
/** @} */

/** How one channel is normalized: y = sat16((sat16(x - mean) * gain + 2^(shift-1)) >> shift), or for float32
 *  y = (x - mean) * gain. 8 bytes. */
typedef union {
  struct { int16_t mean; uint16_t gain; uint8_t shift; } q15;
#if TTA_FLOAT
  struct { float mean, gain; } real;
#endif
} tta_norm;

#if TTA_SENTINEL
/** A channel's statistics against its source's, in steps. 32 bytes. */
typedef struct {
  int16_t mean, sd;              /**< of the source, in steps */
  int32_t sum, mean_q8;          /**< of the block; running, in 1/256 step */
  uint32_t var;                  /**< running, in steps^2 */
  uint64_t squares;              /**< of the block */
  int32_t above, below;          /**< CUSUM of block means, in 1/256 sd */
} tta_moments;
/** Wakes the host when a channel moved, at once by much or by little for long. */
typedef struct {
  tta_moments channel[TTA_CHANNELS];
  uint16_t moved;      /**< mask of channels */
  uint8_t in_block;    /**< samples of the block so far; a block has 64 */
  int16_t far_q8;      /**< a running mean so far from the source's counts as moved, in 1/256 sd; default 128 */
  int16_t slack_q8;    /**< a block mean this near adds nothing to the CUSUM, in 1/256 sd; default 16 */
  int32_t long_q8;     /**< CUSUM at which slow drift is reported, in 1/256 sd times blocks; default 1024 sd */
} tta_sentinel;
#endif

/** Buffers and limits; all memory is the firmware's. */
typedef struct {
  const tta_schema *schema;
  void *port;
  uint8_t *rx; uint16_t rx_bytes;       /**< longest body that the host may send; 128 suffices for 8 channels */
  uint8_t *tx; uint16_t tx_bytes;       /**< at least TTA_TX_BYTES, and what HELLO needs */
  void *ring; uint16_t ring_samples;    /**< int16_t or float [ring_samples][channels] */
  uint16_t window;                      /**< samples a DATA frame */
  uint16_t heartbeat_ms;                /**< default 1000 */
  uint32_t most_rate_mhz;               /**< highest rate that CONFIG may set; 0: the schema's */
  uint8_t take_norm;                    /**< 0 (default): NORM is refused */
  uint8_t least_shift, most_shift;      /**< of Q15 gains; 0: 9 and 21, which is gains from 1/128 to 64 */
  uint16_t norm_every_ms;               /**< least time between two NORMs; 0: 1000 */
#if TTA_SENTINEL
  tta_sentinel *sentinel;               /**< 0: none; for int16 samples only */
#endif
} tta_config;

/** Counts since boot, as STATUS reports them. */
typedef struct {
  uint32_t uptime_s, samples, sent; /**< seconds, samples pushed, frames sent */
  uint32_t overruns, drops, refused; /**< samples lost, LOGs lost, bad frames received */
} tta_counts;

/** A bridge. Its fields may be read; only tta_* functions write them. Bytes come first: a Cortex-M0 reaches those best. */
typedef struct {
  uint8_t due, limited, command_type, command_code, epoch, next_epoch, next_count, pong_bytes;
  int16_t pending_byte;
  uint16_t hash, seq, mask, window, heartbeat_ms, head, stored, credit, data_sent, command_seq, vector_crc;
  tta_encoder tx;
  tta_decoder rx;
  const tta_config *config;
  uint32_t rate_mhz;                    /**< samples a 1000 s that the host wants: the firmware obeys it */
  uint32_t beat_us, norm_us, uptime_us, token, token_us, applied_from;
  tta_counts counts;
  uint8_t scale[4], pong[16];
  tta_norm norm[TTA_CHANNELS];
  uint8_t next[TTA_CHANNELS * 8];       /**< a NORM on its way, as it came */
} tta_bridge;

/** Begin; says HELLO at the next poll. config must live as long as the bridge. Returns 0 if a buffer is too small
 *  or the schema has no channels or too many, or there is a sentinel for float32. Cost: O(bytes of the schema). */
int tta_init(tta_bridge *b, const tta_config *config);

/** Take a sample: one int16 a channel. A full ring drops its oldest sample and counts it. Cost: O(C). */
void tta_push(tta_bridge *b, const int16_t *sample);
#if TTA_FLOAT
/** The same for a schema of kind TTA_FLOAT32. */
void tta_push_float(tta_bridge *b, const float *sample);
#endif

/** Send a line of text at level 0 (debug) to 3 (error); dropped and counted while the line is busy. Cost: O(bytes). */
int tta_log(tta_bridge *b, uint8_t level, const char *text);

/** Read what came, answer, and send what is due and fits; never waits. Cost: O(bytes read and written), and once
 *  a DATA frame O(window * C). */
void tta_poll(tta_bridge *b);

#if TTA_SENTINEL
/** Begin with the default thresholds. */
void tta_sentinel_init(tta_sentinel *s);
/** What a channel is at the source: mean and standard deviation in steps. A channel that there is not: nothing. */
void tta_sentinel_source(tta_sentinel *s, uint8_t channel, int16_t mean, int16_t sd);
/** Take a sample; tta_push does it for the sentinel of its bridge. Returns the mask of channels that moved. Cost: O(C)
 *  multiplications; once in 64 samples O(C) divisions. */
uint16_t tta_sentinel_push(tta_sentinel *s, const int16_t *sample, uint8_t channels);
#endif

#ifdef __cplusplus
}
#endif
#endif
