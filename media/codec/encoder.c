//go:build cgo

#include <stdint.h>
#include "native.h"

x264_t *braid_x264_open(const braid_x264_params *in)
{
	x264_param_t p;
	x264_t *h = NULL;

	if (x264_param_default_preset(&p, in->preset, "zerolatency") < 0)
		return NULL;
	p.i_log_level = X264_LOG_NONE;
	p.i_csp = X264_CSP_I420;
	p.i_width = in->width;
	p.i_height = in->height;
	p.i_fps_num = in->fps;
	p.i_fps_den = 1;
	p.b_vfr_input = 0;
	p.i_threads = in->threads;
	p.b_sliced_threads = in->threads > 1;
	p.i_keyint_max = in->gop;
	p.i_scenecut_threshold = 0;
	p.i_bframe = 0;
	p.b_annexb = 0; // each payload begins with a 4 byte length
	p.b_repeat_headers = 1;
	p.b_aud = 0;
	p.rc.i_rc_method = X264_RC_CRF;
	p.rc.f_rf_constant = 23;
	p.rc.i_vbv_max_bitrate = in->kbps;
	p.rc.i_vbv_buffer_size = in->kbps;
	if (x264_param_apply_profile(&p, in->profile) >= 0)
		h = x264_encoder_open(&p);
	x264_param_cleanup(&p);
	return h;
}

braid_x264_output braid_x264_encode(x264_t *h, int key, int64_t pts,
	uint8_t *y, int ystride, uint8_t *u, int ustride, uint8_t *v, int vstride)
{
	braid_x264_output out = {0};
	x264_picture_t in, done;

	x264_picture_init(&in);
	in.i_type = key ? X264_TYPE_IDR : X264_TYPE_AUTO;
	in.i_pts = pts;
	in.img.i_csp = X264_CSP_I420;
	in.img.i_plane = 3;
	in.img.plane[0] = y;
	in.img.plane[1] = u;
	in.img.plane[2] = v;
	in.img.i_stride[0] = ystride;
	in.img.i_stride[1] = ustride;
	in.img.i_stride[2] = vstride;
	int n = x264_encoder_encode(h, &out.nals, &out.count, &in, &done);
	out.err = n < 0 ? n : 0;
	out.key = n > 0 && done.b_keyframe;
	return out;
}

int braid_x264_bitrate(x264_t *h, int kbps)
{
	x264_param_t p;

	x264_encoder_parameters(h, &p);
	p.rc.i_vbv_max_bitrate = kbps;
	p.rc.i_vbv_buffer_size = kbps;
	return x264_encoder_reconfig(h, &p);
}

void braid_x264_close(x264_t *h)
{
	if (h)
		x264_encoder_close(h);
}
