package relay

import (
	"errors"
	"strings"
	"testing"

	"braid/media"
)

// A URL that no push can go to is refused when the task is started, in words
// that do not repeat it.
func TestCheckURL(t *testing.T) {
	for url, wrong := range map[string]string{
		"rtmp://h/live/a":                                   "",
		"rtmps://h:444/live/a?k=" + pushKey:                 "",
		"srt://h:9000?streamid=" + pushKey:                  "",
		"SRT://h:9000":                                      "",
		"srt://h/live/" + pushKey:                           "streamid",
		"srt://h:9000?passphrase=short&streamid=" + pushKey: "10 to 79",
		"rtmp://h/" + pushKey:                               "an app and a stream",
		"http://h/live/" + pushKey:                          "none of rtmp, rtmps and srt",
		pushKey:                                             "none of rtmp, rtmps and srt",
		"":                                                  "none of rtmp, rtmps and srt",
	} {
		err := (&Spec{URLs: []string{"rtmp://h/live/b", url}}).check()
		switch {
		case wrong == "" && err != nil:
			t.Errorf("%s: %v", url, err)
		case wrong != "" && (!errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), pushKey)):
			t.Errorf("%s: got %v, want words with %q", url, err, wrong)
		}
		if shown := Redact(url); strings.Contains(shown, pushKey) || wrong == "" && !strings.Contains(shown, "://h:") {
			t.Errorf("%s is shown as %s", url, shown)
		}
	}
}
