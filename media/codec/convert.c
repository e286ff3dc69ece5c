//go:build cgo

#include <libavutil/pixdesc.h>
#include <libyuv.h>
#include "native.h"

int braid_frame_convert(AVFrame **frame)
{
	AVFrame *f = *frame, *n;
	int r;
	enum { C422, C444, C420P10, C422P10, C444P10 } from;

	switch (f->format) {
	case AV_PIX_FMT_YUV420P:
	case AV_PIX_FMT_YUVJ420P:
		return 0;
	case AV_PIX_FMT_YUV422P:
	case AV_PIX_FMT_YUVJ422P:
		from = C422;
		break;
	case AV_PIX_FMT_YUV444P:
	case AV_PIX_FMT_YUVJ444P:
		from = C444;
		break;
	case AV_PIX_FMT_YUV420P10:
		from = C420P10;
		break;
	case AV_PIX_FMT_YUV422P10:
		from = C422P10;
		break;
	case AV_PIX_FMT_YUV444P10:
		from = C444P10;
		break;
	default:
		return AVERROR_PATCHWELCOME;
	}
	if (!(n = av_frame_alloc()))
		return AVERROR(ENOMEM);
	n->format = AV_PIX_FMT_YUV420P;
	n->width = f->width;
	n->height = f->height;
	n->pts = f->pts;
	n->color_range = f->color_range;
	if (f->format == AV_PIX_FMT_YUVJ422P || f->format == AV_PIX_FMT_YUVJ444P)
		n->color_range = AVCOL_RANGE_JPEG;
	if ((r = av_frame_get_buffer(n, 0)) < 0) {
		av_frame_free(&n);
		return r;
	}
#define PLANES8 f->data[0], f->linesize[0], f->data[1], f->linesize[1], f->data[2], f->linesize[2]
#define PLANES10 (const uint16_t *)f->data[0], f->linesize[0] / 2, (const uint16_t *)f->data[1], \
	f->linesize[1] / 2, (const uint16_t *)f->data[2], f->linesize[2] / 2
#define OUT n->data[0], n->linesize[0], n->data[1], n->linesize[1], n->data[2], n->linesize[2], n->width, n->height
	switch (from) {
	case C422:
		r = I422ToI420(PLANES8, OUT);
		break;
	case C444:
		r = I444ToI420(PLANES8, OUT);
		break;
	case C420P10:
		r = I010ToI420(PLANES10, OUT);
		break;
	case C422P10:
		r = I210ToI420(PLANES10, OUT);
		break;
	case C444P10:
		r = I410ToI420(PLANES10, OUT);
		break;
	}
	if (r) {
		av_frame_free(&n);
		return AVERROR_BUG;
	}
	av_frame_free(frame);
	*frame = n;
	return 0;
}
