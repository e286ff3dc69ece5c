//go:build cgo

#include <stdlib.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include "native.h"

#define SILENT 100 // see decoder.c

int braid_opus_setup(OpusEncoder *e, int bits_per_second)
{
	int r;

	if ((r = opus_encoder_ctl(e, OPUS_SET_BITRATE(bits_per_second))) != OPUS_OK)
		return r;
	if ((r = opus_encoder_ctl(e, OPUS_SET_INBAND_FEC(1))) != OPUS_OK)
		return r;
	return opus_encoder_ctl(e, OPUS_SET_PACKET_LOSS_PERC(10));
}

int braid_opus_lookahead(OpusEncoder *e)
{
	opus_int32 n = 0;
	int r = opus_encoder_ctl(e, OPUS_GET_LOOKAHEAD(&n));

	return r == OPUS_OK ? n : r;
}

struct braid_sound {
	AVCodecContext *ctx;
	AVFrame *frame;
	AVPacket *pkt;
	int64_t pts;
	int clip; // the encoder ends the process at what is no number
};

// sound_new has an encoder ready for its own options, and for sound_open.
static braid_sound *sound_new(const char *name, int rate, int channels, int bits_per_second)
{
	const AVCodec *codec = avcodec_find_encoder_by_name(name);
	braid_sound *s = calloc(1, sizeof *s);

	if (!codec || !s)
		goto fail;
	s->ctx = avcodec_alloc_context3(codec);
	s->frame = av_frame_alloc();
	s->pkt = av_packet_alloc();
	if (!s->ctx || !s->frame || !s->pkt)
		goto fail;
	s->ctx->log_level_offset = SILENT;
	s->ctx->thread_count = 1;
	s->ctx->sample_fmt = AV_SAMPLE_FMT_FLTP;
	s->ctx->sample_rate = rate;
	s->ctx->bit_rate = bits_per_second;
	s->ctx->time_base = (AVRational){1, rate};
	av_channel_layout_default(&s->ctx->ch_layout, channels);
	return s;
fail:
	braid_sound_close(s);
	return NULL;
}

static braid_sound *sound_open(braid_sound *s)
{
	if (avcodec_open2(s->ctx, NULL, NULL) < 0)
		goto fail;
	s->frame->format = AV_SAMPLE_FMT_FLTP;
	s->frame->sample_rate = s->ctx->sample_rate;
	s->frame->nb_samples = s->ctx->frame_size;
	if (av_channel_layout_copy(&s->frame->ch_layout, &s->ctx->ch_layout) < 0 ||
	    av_frame_get_buffer(s->frame, 0) < 0)
		goto fail;
	return s;
fail:
	braid_sound_close(s);
	return NULL;
}

braid_sound *braid_aac_open(int rate, int channels, int bits_per_second)
{
	braid_sound *s = sound_new("aac", rate, channels, bits_per_second);

	if (!s)
		return NULL;
	s->ctx->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
	// A third of the default coder's time for the same fidelity. A series
	// without this coder still encodes, so a failure here is not one.
	av_opt_set(s->ctx->priv_data, "aac_coder", "fast", 0);
	// Mid/side trials take another third; at these rates each channel has
	// bits of its own.
	av_opt_set(s->ctx->priv_data, "aac_ms", "0", 0);
	return sound_open(s);
}

int braid_mp3_known(void)
{
	return avcodec_find_encoder_by_name("libmp3lame") != NULL;
}

braid_sound *braid_mp3_open(int rate, int channels, int bits_per_second)
{
	braid_sound *s = sound_new("libmp3lame", rate, channels, bits_per_second);

	if (!s)
		return NULL;
	s->clip = 1;
	// Without the reservoir a frame has all of its bits in itself: files may begin,
	// be cut and have silence put in at any of them.
	if (av_opt_set(s->ctx->priv_data, "reservoir", "0", 0) < 0) {
		braid_sound_close(s);
		return NULL;
	}
	return sound_open(s);
}

int braid_sound_frame_size(const braid_sound *s)
{
	return s->ctx->frame_size;
}

int braid_sound_delay(const braid_sound *s)
{
	return s->ctx->initial_padding;
}

// 1.5 * 2^23 steps of 2^-15: the sum's last binary digit is worth one step.
#define ROUND16 384.0f

static float clipped(float v)
{
	if (v >= -1 && v <= 1)
		return v;
	return v > 1 ? 1 : v < -1 ? -1 : 0;
}

braid_sound_output braid_sound_encode(braid_sound *s, const float *pcm)
{
	braid_sound_output out = {0};
	int n = s->ctx->frame_size, channels = s->ctx->ch_layout.nb_channels;

	av_packet_unref(s->pkt);
	// The encoder keeps references to frames; write into one of our own.
	if ((out.err = av_frame_make_writable(s->frame)) < 0)
		return out;
	// Samples are rounded to 16 bits: AAC's search takes two to three
	// times as long over bands far below that, which nobody hears.
	for (int c = 0; c < channels; c++) {
		float *plane = (float *)s->frame->data[c];
		for (int i = 0; i < n; i++) {
			float v = pcm[i * channels + c];
			plane[i] = ((s->clip ? clipped(v) : v) + ROUND16) - ROUND16;
		}
	}
	s->frame->pts = s->pts;
	s->pts += n;
	if ((out.err = avcodec_send_frame(s->ctx, s->frame)) < 0)
		return out;
	out.err = avcodec_receive_packet(s->ctx, s->pkt);
	if (out.err == AVERROR(EAGAIN)) {
		out.err = 0;
	} else if (out.err >= 0) {
		out.data = s->pkt->data;
		out.size = s->pkt->size;
	}
	return out;
}

void braid_sound_close(braid_sound *s)
{
	if (!s)
		return;
	avcodec_free_context(&s->ctx);
	av_frame_free(&s->frame);
	av_packet_free(&s->pkt);
	free(s);
}

SwrContext *braid_resampler_open(int channels, int from, int to)
{
	AVChannelLayout layout = {0};
	SwrContext *s = NULL;

	av_channel_layout_default(&layout, channels);
	if (swr_alloc_set_opts2(&s, &layout, AV_SAMPLE_FMT_FLT, to,
		&layout, AV_SAMPLE_FMT_FLT, from, SILENT, NULL) < 0 || swr_init(s) < 0)
		swr_free(&s);
	av_channel_layout_uninit(&layout);
	return s;
}

int braid_resampler_bound(SwrContext *s, int samples)
{
	return swr_get_out_samples(s, samples);
}

int braid_resampler_run(SwrContext *s, float *dst, int capacity, const float *src, int samples)
{
	uint8_t *out = (uint8_t *)dst;
	const uint8_t *in = (const uint8_t *)src;

	return swr_convert(s, &out, capacity, &in, samples);
}

void braid_resampler_close(SwrContext *s)
{
	swr_free(&s);
}
