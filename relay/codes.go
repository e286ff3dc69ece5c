package relay

import (
	"strings"

	"braid/event"
)

// Codes of relay events (event.Relay.Code; ErrorCode in callbacks). ARTC's own
// table is not public: these are braid's own. They are never used again for
// something else.
const (
	CodeOK = 0 // nothing is wrong; of RelayStopped: StopLiveMPUTask asked for it

	// Why a task has ended.
	CodeIdle        = 101
	CodeChannelGone = 102
	CodeApplication = 103
	CodeSettings    = 104
	CodeUnpublished = 105

	// What is wrong with a URL.
	CodeRefused   = 201
	CodeDNS       = 202
	CodeStalled   = 203
	CodeLost      = 204
	CodeTLS       = 205
	CodeForbidden = 206
	CodeRejected  = 207
	CodeURL       = 208
	CodeTaken     = 209

	// What is wrong with the stream.
	CodeMedia  = 301
	CodeNoRoom = 302
)

// words say what a code means; they are the message of its events.
var words = map[int]string{
	CodeIdle:        "none of the task's users was in the channel for too long",
	CodeChannelGone: "the channel has closed",
	CodeApplication: "the application was disabled",
	CodeSettings:    "the application's stream relay settings do not ask for it any more",
	CodeUnpublished: "the user does not publish this stream any more",
	CodeRefused:     "the origin refuses connections",
	CodeDNS:         "the origin's name has no address",
	CodeStalled:     "the origin does not answer, or takes no data",
	CodeLost:        "the connection was lost",
	CodeTLS:         "no TLS session with the origin",
	CodeForbidden:   "the server may not connect to this address",
	CodeRejected:    "the origin rejects the stream",
	CodeURL:         "the URL cannot be used",
	CodeTaken:       "somebody else publishes a stream of this name",
	CodeMedia:       "the stream cannot be made",
	CodeNoRoom:      "this server has no room for the mix; it begins when there is",
}

// maxMessage bounds the words of others in an event, in characters.
const maxMessage = 200

// relayed is the event's part about a task. detail are words that no table can
// hold; a secret must not be in it.
func relayed(task, url string, code int, detail string) *event.Relay {
	message := words[code]
	if detail != "" {
		message += ": " + detail
	}
	message = strings.ToValidUTF8(message, "?")
	if r := []rune(message); len(r) > maxMessage {
		message = string(r[:maxMessage])
	}
	return &event.Relay{Task: task, URL: url, Code: code, Message: message}
}

// codeOf is the code of a push's reason; detail is what the origin said.
func codeOf(reason string) (code int, detail string) {
	word, rest, _ := strings.Cut(reason, " ")
	switch word {
	case "refused":
		return CodeRefused, ""
	case "dns":
		return CodeDNS, ""
	case "stalled":
		return CodeStalled, ""
	case "tls":
		return CodeTLS, strings.Trim(rest, "()")
	case "forbidden":
		return CodeForbidden, ""
	case "rejected":
		if strings.Contains(rest, "NetStream.Publish.BadName") { // RTMP's word for it
			return CodeTaken, strings.Trim(rest, "()")
		}
		return CodeRejected, strings.Trim(rest, "()")
	case "url":
		return CodeURL, ""
	}
	return CodeLost, ""
}
