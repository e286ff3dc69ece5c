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

struct braid_aac {
	AVCodecContext *ctx;
	AVFrame *frame;
	AVPacket *pkt;
	int64_t pts;
};

braid_aac *braid_aac_open(int rate, int channels, int bits_per_second)
{
	const AVCodec *codec = avcodec_find_encoder_by_name("aac");
	braid_aac *a = calloc(1, sizeof *a);

	if (!codec || !a)
		goto fail;
	a->ctx = avcodec_alloc_context3(codec);
	a->frame = av_frame_alloc();
	a->pkt = av_packet_alloc();
	if (!a->ctx || !a->frame || !a->pkt)
		goto fail;
	a->ctx->log_level_offset = SILENT;
	a->ctx->thread_count = 1;
	a->ctx->sample_fmt = AV_SAMPLE_FMT_FLTP;
	a->ctx->sample_rate = rate;
	a->ctx->bit_rate = bits_per_second;
	a->ctx->time_base = (AVRational){1, rate};
	a->ctx->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
	av_channel_layout_default(&a->ctx->ch_layout, channels);
	// A third of the default coder's time for the same fidelity. A series
	// without this coder still encodes, so a failure here is not one.
	av_opt_set(a->ctx->priv_data, "aac_coder", "fast", 0);
	// Mid/side trials take another third; at these rates each channel has
	// bits of its own.
	av_opt_set(a->ctx->priv_data, "aac_ms", "0", 0);
	if (avcodec_open2(a->ctx, codec, NULL) < 0)
		goto fail;
	a->frame->format = AV_SAMPLE_FMT_FLTP;
	a->frame->sample_rate = rate;
	a->frame->nb_samples = a->ctx->frame_size;
	if (av_channel_layout_copy(&a->frame->ch_layout, &a->ctx->ch_layout) < 0 ||
	    av_frame_get_buffer(a->frame, 0) < 0)
		goto fail;
	return a;
fail:
	braid_aac_close(a);
	return NULL;
}

int braid_aac_frame_size(const braid_aac *a)
{
	return a->ctx->frame_size;
}

int braid_aac_delay(const braid_aac *a)
{
	return a->ctx->initial_padding;
}

// 1.5 * 2^23 steps of 2^-15: the sum's last binary digit is worth one step.
#define ROUND16 384.0f

braid_aac_output braid_aac_encode(braid_aac *a, const float *pcm)
{
	braid_aac_output out = {0};
	int n = a->ctx->frame_size, channels = a->ctx->ch_layout.nb_channels;

	av_packet_unref(a->pkt);
	// The encoder keeps references to frames; write into one of our own.
	if ((out.err = av_frame_make_writable(a->frame)) < 0)
		return out;
	// Samples are rounded to 16 bits: the encoder's search takes two to three
	// times as long over bands far below that, which nobody hears.
	for (int c = 0; c < channels; c++) {
		float *plane = (float *)a->frame->data[c];
		for (int i = 0; i < n; i++)
			plane[i] = (pcm[i * channels + c] + ROUND16) - ROUND16;
	}
	a->frame->pts = a->pts;
	a->pts += n;
	if ((out.err = avcodec_send_frame(a->ctx, a->frame)) < 0)
		return out;
	out.err = avcodec_receive_packet(a->ctx, a->pkt);
	if (out.err == AVERROR(EAGAIN)) {
		out.err = 0;
	} else if (out.err >= 0) {
		out.data = a->pkt->data;
		out.size = a->pkt->size;
	}
	return out;
}

void braid_aac_close(braid_aac *a)
{
	if (!a)
		return;
	avcodec_free_context(&a->ctx);
	av_frame_free(&a->frame);
	av_packet_free(&a->pkt);
	free(a);
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
