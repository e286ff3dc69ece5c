//go:build cgo

#include <stdlib.h>
#include <libavutil/pixdesc.h>
#include "native.h"

// A log level offset that lifts every message over the default threshold (the
// lowest 8 bits count): broken input is normal here and must not fill the log.
#define SILENT 100

struct braid_decoder {
	AVCodecContext *ctx;
	AVPacket *pkt;
	AVFrame *tmp;
};

braid_decoder *braid_decoder_open(const char *name, int64_t max_pixels, int low_delay)
{
	const AVCodec *codec = avcodec_find_decoder_by_name(name);
	braid_decoder *d = calloc(1, sizeof *d);

	if (!codec || !d)
		goto fail;
	d->ctx = avcodec_alloc_context3(codec);
	d->pkt = av_packet_alloc();
	d->tmp = av_frame_alloc();
	if (!d->ctx || !d->pkt || !d->tmp)
		goto fail;
	d->ctx->log_level_offset = SILENT;
	d->ctx->thread_count = 1;
	if (low_delay)
		d->ctx->flags |= AV_CODEC_FLAG_LOW_DELAY;
	d->ctx->max_pixels = max_pixels;
	if (avcodec_open2(d->ctx, codec, NULL) < 0)
		goto fail;
	return d;
fail:
	braid_decoder_close(d);
	return NULL;
}

uint8_t *braid_decoder_input(braid_decoder *d, int size)
{
	av_packet_unref(d->pkt);
	// av_new_packet adds the zeroed padding that the bit readers run into.
	return av_new_packet(d->pkt, size) < 0 ? NULL : d->pkt->data;
}

// receive takes all pictures that are ready and keeps the newest; err is what
// sending said.
static braid_decoded receive(braid_decoder *d, int err)
{
	braid_decoded out = {.err = err};

	while (out.err >= 0 && (out.err = avcodec_receive_frame(d->ctx, d->tmp)) >= 0) {
		if (d->tmp->decode_error_flags || (d->tmp->flags & AV_FRAME_FLAG_CORRUPT))
			out.damaged = 1;
		if (out.frame)
			av_frame_unref(out.frame);
		else if (!(out.frame = av_frame_alloc())) {
			av_frame_unref(d->tmp);
			out.err = AVERROR(ENOMEM);
			break;
		}
		av_frame_move_ref(out.frame, d->tmp);
	}
	if (out.err == AVERROR(EAGAIN) || out.err == AVERROR_EOF)
		out.err = 0; // drained: the normal end
	return out;
}

braid_decoded braid_decoder_decode(braid_decoder *d, int64_t pts)
{
	d->pkt->pts = pts;
	int err = avcodec_send_packet(d->ctx, d->pkt);
	av_packet_unref(d->pkt);
	return receive(d, err);
}

braid_decoded braid_decoder_drain(braid_decoder *d)
{
	return receive(d, avcodec_send_packet(d->ctx, NULL));
}

void braid_decoder_close(braid_decoder *d)
{
	if (!d)
		return;
	avcodec_free_context(&d->ctx);
	av_packet_free(&d->pkt);
	av_frame_free(&d->tmp);
	free(d);
}

// limit maps full range samples to limited: 16 + v*219/255 for luma,
// 128 + (v-128)*224/255 for chroma, rounded (16.16 fixed point).
static void limit(uint8_t *dst, int dstride, const uint8_t *src, int sstride,
	int w, int h, unsigned scale, unsigned offset)
{
	for (int y = 0; y < h; y++, dst += dstride, src += sstride)
		for (int x = 0; x < w; x++)
			dst[x] = (src[x] * scale + offset) >> 16;
}

#define Y_SCALE 56284u /* 219/255 * 65536 */
#define Y_OFFSET ((16u << 16) + 32768u)
#define C_SCALE 57569u /* 224/255 * 65536 */
#define C_OFFSET ((128u << 16) - 128u * C_SCALE + 32768u)

int braid_frame_check(AVFrame **frame, int convert)
{
	AVFrame *f, *n;
	int r;

	if (convert && (r = braid_frame_convert(frame)) < 0)
		return r;
	f = *frame;
	if (f->format != AV_PIX_FMT_YUV420P && f->format != AV_PIX_FMT_YUVJ420P)
		return AVERROR_PATCHWELCOME;
	if (f->format == AV_PIX_FMT_YUV420P && f->color_range != AVCOL_RANGE_JPEG)
		return 0;
	if (!(n = av_frame_alloc()))
		return AVERROR(ENOMEM);
	n->format = AV_PIX_FMT_YUV420P;
	n->width = f->width;
	n->height = f->height;
	n->pts = f->pts;
	if ((r = av_frame_get_buffer(n, 0)) < 0) {
		av_frame_free(&n);
		return r;
	}
	int cw = (f->width + 1) / 2, ch = (f->height + 1) / 2;
	limit(n->data[0], n->linesize[0], f->data[0], f->linesize[0], f->width, f->height, Y_SCALE, Y_OFFSET);
	limit(n->data[1], n->linesize[1], f->data[1], f->linesize[1], cw, ch, C_SCALE, C_OFFSET);
	limit(n->data[2], n->linesize[2], f->data[2], f->linesize[2], cw, ch, C_SCALE, C_OFFSET);
	av_frame_free(frame);
	*frame = n;
	return 0;
}
