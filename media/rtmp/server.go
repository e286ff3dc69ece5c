package rtmp

const (
	codePlayStop    = "NetStream.Play.Stop"
	codeUnpublished = "NetStream.Play.UnpublishNotify"
)
