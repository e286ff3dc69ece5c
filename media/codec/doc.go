// Package codec turns coded media into pictures and samples and back: H.264, VP8,
// VP9, AV1 (libdav1d) and H.265 decoding, AAC and MP3 (libmp3lame) encoding by libavcodec, H.264
// encoding by libx264, Opus by libopus, resampling by libswresample, scaling and copying by libyuv.
//
// It is the only package of braid that uses cgo, and only the worker program
// (cmd/braid-mixer) links it: the decoders parse what strangers send, and a
// crash must cost one channel's mix, not the server. Without cgo the package is
// empty.
//
// It starts no goroutine; x264 starts its own threads when VideoParams.Threads
// is over 1. It keeps no global state and prints nothing. Every value belongs
// to one goroutine at a time; Decoded pictures may be read and freed on another
// goroutine than their decoder's. C memory is freed by Close and Free, never by
// the garbage collector.
//
// The C side keeps to the part of libavcodec that has stayed the same since
// FFmpeg 5.1.
package codec
