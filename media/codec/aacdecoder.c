//go:build cgo

#include <stdlib.h>
#include <string.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include "native.h"

#define SILENT 100 // see decoder.c
#define OUT_RATE 48000

struct braid_aac_decoder {
	AVCodecContext *ctx;
	AVPacket *pkt;
	AVFrame *frame;
	SwrContext *swr; // for what the frames are: opened by the first one, anew when they change
	AVChannelLayout layout;
	int rate, format, channels;
};

braid_aac_decoder *braid_aac_decoder_open(const uint8_t *config, int size)
{
	const AVCodec *codec = avcodec_find_decoder_by_name("aac");
	braid_aac_decoder *d = calloc(1, sizeof *d);

	if (!codec || !d)
		goto fail;
	d->ctx = avcodec_alloc_context3(codec);
	d->pkt = av_packet_alloc();
	d->frame = av_frame_alloc();
	if (!d->ctx || !d->pkt || !d->frame)
		goto fail;
	d->ctx->log_level_offset = SILENT;
	d->ctx->thread_count = 1;
	if (!(d->ctx->extradata = av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE)))
		goto fail;
	memcpy(d->ctx->extradata, config, size);
	d->ctx->extradata_size = size;
	if (avcodec_open2(d->ctx, codec, NULL) < 0)
		goto fail;
	return d;
fail:
	braid_aac_decoder_close(d);
	return NULL;
}

uint8_t *braid_aac_decoder_input(braid_aac_decoder *d, int size)
{
	av_packet_unref(d->pkt);
	return av_new_packet(d->pkt, size) < 0 ? NULL : d->pkt->data;
}

// fit has swr convert from what the frame is.
static int fit(braid_aac_decoder *d, int channels)
{
	AVFrame *f = d->frame;
	AVChannelLayout out = {0};
	int r;

	if (d->swr && d->rate == f->sample_rate && d->format == f->format && d->channels == channels &&
	    !av_channel_layout_compare(&d->layout, &f->ch_layout))
		return 0;
	swr_free(&d->swr);
	if ((r = av_channel_layout_copy(&d->layout, &f->ch_layout)) < 0)
		return r;
	d->rate = f->sample_rate;
	d->format = f->format;
	d->channels = channels;
	av_channel_layout_default(&out, channels);
	if ((r = swr_alloc_set_opts2(&d->swr, &out, AV_SAMPLE_FMT_FLT, OUT_RATE,
		&d->layout, d->format, d->rate, SILENT, NULL)) < 0 || (r = swr_init(d->swr)) < 0)
		swr_free(&d->swr);
	av_channel_layout_uninit(&out);
	return r;
}

int braid_aac_decoder_decode(braid_aac_decoder *d, float *dst, int capacity, int channels)
{
	int made = 0, r = avcodec_send_packet(d->ctx, d->pkt);

	av_packet_unref(d->pkt);
	while (r >= 0 && (r = avcodec_receive_frame(d->ctx, d->frame)) >= 0) {
		uint8_t *out = (uint8_t *)(dst + (int64_t)made * channels);
		if ((r = fit(d, channels)) < 0)
			break;
		r = swr_convert(d->swr, &out, capacity - made, (const uint8_t **)d->frame->extended_data, d->frame->nb_samples);
		if (r > 0)
			made += r;
	}
	av_frame_unref(d->frame);
	return r < 0 && r != AVERROR(EAGAIN) ? r : made;
}

void braid_aac_decoder_close(braid_aac_decoder *d)
{
	if (!d)
		return;
	avcodec_free_context(&d->ctx);
	av_packet_free(&d->pkt);
	av_frame_free(&d->frame);
	swr_free(&d->swr);
	av_channel_layout_uninit(&d->layout);
	free(d);
}
