// The C side of package codec. Pointers into Go memory are only used during
// the call that passes them. Functions that return int give a negative
// AVERROR code on failure unless said otherwise.
#ifndef BRAID_NATIVE_H
#define BRAID_NATIVE_H

#include <stdint.h>
#include <libavcodec/avcodec.h>
#include <opus.h>
#include <x264.h>

typedef struct braid_decoder braid_decoder;
typedef struct {
	AVFrame *frame; // newest picture, owned by the caller, or NULL
	int damaged;    // a picture of this call had errors in it
	int err;        // 0 or AVERROR
} braid_decoded;

// With low_delay a picture comes out of the call that put it in; without, pictures
// come in display order.
braid_decoder *braid_decoder_open(const char *name, int64_t max_pixels, int low_delay);
// braid_decoder_input gives size writable bytes for the next packet, or NULL.
uint8_t *braid_decoder_input(braid_decoder *d, int size);
// braid_decoder_decode takes the packet written into braid_decoder_input's bytes.
braid_decoded braid_decoder_decode(braid_decoder *d, int64_t pts);
// braid_decoder_drain gives the picture that the decoder holds back; then only close
// is left.
braid_decoded braid_decoder_drain(braid_decoder *d);
void braid_decoder_close(braid_decoder *d);
// braid_frame_check makes *frame 8 bit limited range 4:2:0 (replacing it when
// it was full range); AVERROR_PATCHWELCOME when it is another format. With convert
// it takes 4:2:2, 4:4:4 and 10 bits, too.
int braid_frame_check(AVFrame **frame, int convert);
// braid_frame_convert replaces *frame by an 8 bit 4:2:0 one of the same range.
int braid_frame_convert(AVFrame **frame);

typedef struct {
	int width, height, fps, kbps, gop, threads;
	const char *preset, *profile;
} braid_x264_params;
typedef struct {
	x264_nal_t *nals; // valid until the next call
	int count;
	int key;
	int err; // 0 or negative
} braid_x264_output;

x264_t *braid_x264_open(const braid_x264_params *p);
braid_x264_output braid_x264_encode(x264_t *h, int key, int64_t pts,
	uint8_t *y, int ystride, uint8_t *u, int ustride, uint8_t *v, int vstride);
int braid_x264_bitrate(x264_t *h, int kbps);
void braid_x264_close(x264_t *h);

// braid_opus_setup sets what the Opus encoder needs beyond its defaults; an OPUS_ code.
int braid_opus_setup(OpusEncoder *e, int bits_per_second);
// braid_opus_lookahead is the encoder's delay in samples, or a negative OPUS_ code.
int braid_opus_lookahead(OpusEncoder *e);

typedef struct braid_sound braid_sound; // an encoder of libavcodec
typedef struct {
	const uint8_t *data; // valid until the next call, NULL when none came
	int size;
	int err; // 0 or AVERROR
} braid_sound_output;

braid_sound *braid_aac_open(int rate, int channels, int bits_per_second);
// braid_mp3_known tells whether this libavcodec can make MP3 at all.
int braid_mp3_known(void);
braid_sound *braid_mp3_open(int rate, int channels, int bits_per_second);
int braid_sound_frame_size(const braid_sound *s);
int braid_sound_delay(const braid_sound *s);
// braid_sound_encode takes frame_size samples for each channel, interleaved.
braid_sound_output braid_sound_encode(braid_sound *s, const float *pcm);
void braid_sound_close(braid_sound *s);

typedef struct braid_aac_decoder braid_aac_decoder;

// braid_aac_decoder_open takes an AudioSpecificConfig.
braid_aac_decoder *braid_aac_decoder_open(const uint8_t *config, int size);
// braid_aac_decoder_input gives size writable bytes for the next frame, or NULL.
uint8_t *braid_aac_decoder_input(braid_aac_decoder *d, int size);
// braid_aac_decoder_decode decodes the frame written there to 48 kHz, channels
// interleaved, room for capacity samples each; it gives their number or an AVERROR.
int braid_aac_decoder_decode(braid_aac_decoder *d, float *dst, int capacity, int channels);
void braid_aac_decoder_close(braid_aac_decoder *d);

typedef struct SwrContext SwrContext;
SwrContext *braid_resampler_open(int channels, int from, int to);
int braid_resampler_bound(SwrContext *s, int samples);
// braid_resampler_run gives the number of samples for each channel written.
int braid_resampler_run(SwrContext *s, float *dst, int capacity, const float *src, int samples);
void braid_resampler_close(SwrContext *s);

#endif
