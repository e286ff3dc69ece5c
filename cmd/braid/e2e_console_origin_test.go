package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestConsoleOrigin does with the origin's pages what a person would: makes
// templates, watches a stream that they record, plays and deletes what was
// recorded, asks for callbacks of streams, changes the key of a domain, and finds
// out why nothing arrives there.
func TestConsoleOrigin(t *testing.T) {
	s := startBraid(t)
	r := newStreamEvents(t)
	c := startChrome(t, clipFiles{})
	p := administrator(t, s, c)
	p.press("Create administrator")
	p.reads("An application is a tenant")
	consoleTemplates(p, s)
	consoleStreamCallbacks(p, r)

	need(t, "ffmpeg")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cast(t, ctx, s.rtmp+"/cam")
	consoleStream(p, s)
	consoleRecordedSoFar(p)
	stop()
	consoleRecordings(p, s)
	consoleStreamRecords(p)
	consoleKey(p, s)
	consoleDestination(p, s)
}

// consoleTemplates makes a template of each kind, with one mistake, switches one
// off and on, and deletes another.
func consoleTemplates(p *page, s *braidServer) {
	p.visit("#/applications/e2e/templates", "Templates")
	p.reads("There is no template yet")
	p.press("Create Template")
	p.fill("ID", "archive")
	p.fill("Segment length (seconds)", "5")
	p.tick("MPEG-TS")
	p.press("Create")
	p.reads("10 to 7200")
	p.keep("console-template")
	p.fill("Segment length (seconds)", "60")
	p.fill("Kept for (days)", "30")
	p.press("Create")
	p.reads("MP4, MPEG-TS, files of 1 min kept for 30 days")

	p.press("Create Template")
	p.choose("Kind", "Snapshots")
	p.fill("ID", "pictures")
	p.fill("A picture every (seconds)", "1")
	p.press("Create")
	p.reads("JPEG every 1 s the latest alone")

	p.press("Create Template")
	p.tick("On")
	p.choose("Kind", "Transcoding")
	p.fill("ID", "sizes")
	p.press("Remove size 2")
	p.fill("kbit/s", "1500")
	p.press("Create")
	p.reads("720p: 720 lines, 1,500 kbit/s")
	p.keep("console-templates")
	p.press("Delete sizes")
	p.press("Delete")
	p.missing("720p")

	p.tick("archive is on")
	p.reads("The template is off")
	var got struct {
		Disabled bool
		Record   struct {
			Format         []string
			SegmentSeconds int `json:"segment_seconds"`
			RetentionDays  int `json:"retention_days"`
		}
	}
	s.rest("GET", "/v1/applications/e2e/templates/archive", nil, &got)
	if !got.Disabled || fmt.Sprint(got.Record) != "{[fmp4 ts] 60 30}" {
		p.t.Errorf("the template is %+v", got)
	}
	p.tick("archive is on")
	p.reads("The template is on")
	p.press("Edit archive")
	p.fill("Kept for (days)", "0")
	p.press("Save")
	p.reads("kept for ever")
}

// consoleStreamCallbacks asks for callbacks of streams.
func consoleStreamCallbacks(p *page, r *streamEvents) {
	p.visit("#/applications/e2e/callbacks/stream", "Callbacks")
	p.press("Create Task")
	p.fill("Callback URL", r.url)
	p.tick("The stream is on air")
	p.keep("console-callback-stream")
	p.press("OK")
	p.reads("The stream has ended, Recording has begun, A recorded file is whole, Recording failed, Recording has ended")
	p.press("Edit " + r.url)
	p.tick("The stream is on air")
	p.tick("Recording failed")
	p.press("OK")
	p.reads("The stream is on air, The stream has ended, Recording has begun, A recorded file is whole, Recording has ended")
}

// consoleStream watches the stream that is on air.
func consoleStream(p *page, s *braidServer) {
	p.visit("#/streams", "Streams")
	p.reads("Recording: running")
	p.reads("H.264 320×180")
	p.until(20*time.Second, "sees the newest snapshot", `document.querySelector('.livepicture img')?.naturalWidth > 0`)
	p.keep("console-streams")
	p.press("Watch cam")
	p.reads("LL-HLS")
	for _, ending := range []string{"/live/cam.flv", "/live/cam.m3u8", "/live/cam/ll.m3u8"} {
		p.until(5*time.Second, "has the address "+ending, fmt.Sprintf(`[...document.querySelectorAll('dl code')].some((e) => e.textContent === %s)`, quoted(s.http+ending)))
	}
	// Also at a host that is closed: pictures and the player come through the API.
	s.rest("POST", "/v1/domains", map[string]any{"name": "gold.example.com", "ingest": "rtmp://gold.example.com", "auth_key": "goldgold"}, nil)
	if code, body := getText(p.t, s.http+"/live/cam.flv"); code != 403 || !strings.Contains(body, `the host "127.0.0.1"`) {
		p.t.Errorf("at a closed host: got %d %.300s", code, body)
	}
	p.press("Watch")
	p.until(20*time.Second, "plays it", `document.querySelector('.watch video')?.currentTime > 0.2 && document.querySelector('.watch video').videoWidth === 320`)
	p.reads("The stream is on air")
	p.keep("console-stream")
	p.press("Stop")
	p.until(5*time.Second, "has stopped", `!document.querySelector('.watch')`)
	s.rest("DELETE", "/v1/domains/gold.example.com", nil, nil)
}

// consoleRecordedSoFar finds the files that are being written, which cannot be deleted.
func consoleRecordedSoFar(p *page) {
	p.press("Recordings")
	p.until(10*time.Second, "is at the recordings", `document.querySelector('h1')?.textContent === 'Recordings'`)
	p.reads("being recorded")
	if !eval[bool](p, `return [...document.querySelectorAll('.button.text.danger')].every((e) => e.disabled)`) {
		p.t.Error("a file that is being recorded can be deleted")
	}
}

// consoleRecordings plays both files of the stream, downloads one and deletes one.
func consoleRecordings(p *page, s *braidServer) {
	p.until(20*time.Second, "sees both files whole", `(() => {
		const rows = [...document.querySelectorAll('tbody tr')].map((e) => e.innerText);
		if (rows.length === 2 && rows.every((r) => /kept/.test(r) && /cam/.test(r))) return true;
		[...document.querySelectorAll('main button')].find((e) => e.textContent.trim() === 'Refresh' && !e.disabled)?.click();
		return false;
	})()`)
	p.keep("console-recordings")
	var list struct {
		Items []struct {
			Name, Format string
			Size         int64
		}
	}
	s.rest("GET", "/v1/recordings?stream=cam", nil, &list)
	if len(list.Items) != 2 {
		p.t.Fatalf("recordings are %+v", list)
	}
	for _, f := range list.Items {
		p.press("Play " + f.Name)
		p.until(20*time.Second, "plays "+f.Name, `document.querySelector('dialog video')?.currentTime > 0.2 && document.querySelector('dialog video').videoWidth === 320`)
		p.keep("console-recording-" + f.Format)
		p.press("Close")
	}
	first := list.Items[0]
	size := eval[float64](p, `return (await (await fetch([...document.querySelectorAll('a[download]')][0].href)).arrayBuffer()).byteLength`)
	if int64(size) != first.Size {
		p.t.Errorf("the download has %.0f bytes, want %d", size, first.Size)
	}
	p.press("Delete " + first.Name)
	p.reads("There is no way back.")
	p.press("Delete")
	p.until(10*time.Second, "sees one file", `document.querySelectorAll('tbody tr').length === 1`)
	p.fill("Stream", "cam2")
	p.reads("No recording is like this")
}

// consoleStreamRecords finds what the receiver was told of the stream.
func consoleStreamRecords(p *page) {
	p.visit("#/applications/e2e/records", "Callback Records")
	p.choose("Event", "A recorded file is whole")
	p.reads("2 shown, the newest first")
	p.reads("live/cam")
	p.visit("#/applications/e2e/callbacks/stream", "Callbacks")
	p.until(5*time.Second, "can delete the task", `document.querySelector('.button.text.danger')`)
	eval[bool](p, `document.querySelector('.button.text.danger').click(); return true`)
	p.press("Delete")
	p.reads("There is no callback task yet")
}

// consoleKey adds a domain with a key, changes the key, and makes addresses that hold for a day.
func consoleKey(p *page, s *braidServer) {
	p.visit("#/domains", "Streaming domains")
	p.press("Add Domain")
	p.fill("Domain", "live.example.com")
	p.fill("Ingest", "rtmp://127.0.0.1:9")
	p.fill("Play", "https://play.example.com")
	p.missing("This is the first key here")
	p.choose("URL signing", "on")
	p.reads("refuses everyone at hosts that are in no streaming domain, such as 127.0.0.1.")
	p.keep("console-first-key")
	p.press("Add")
	var before, after struct {
		Key string `json:"auth_key"`
	}
	p.press("Key of live.example.com")
	s.rest("GET", "/v1/domains/live.example.com/key", nil, &before)
	p.press("Show the key")
	p.reads(before.Key)
	p.press("Rotate the key")
	p.fill("Signatures hold for (seconds)", "0")
	p.press("Save")
	p.reads("from 1 to 31622400")
	p.fill("Signatures hold for (seconds)", "86400")
	p.keep("console-key")
	p.press("Save")
	p.reads("for 1 d")
	s.rest("GET", "/v1/domains/live.example.com/key", nil, &after)
	if after.Key == before.Key || len(after.Key) < 32 {
		p.t.Errorf("the key was %q and is %q", before.Key, after.Key)
	}
	p.until(5*time.Second, "has no dialog open", `!document.querySelector('dialog')`)
	p.press("URLs of live.example.com")
	p.until(10*time.Second, "sees the addresses", `[...document.querySelectorAll('dialog code')].some((e) => e.textContent.includes('/live/test?auth_key='))`) // before them the dialog is smaller
	p.fill("Stream name", "stage")
	p.until(5*time.Second, "has signed addresses of both ways", `['rtmp://127.0.0.1:9/live/stage?auth_key=', 'https://play.example.com/live/stage.m3u8?auth_key='].every((begin) =>
		[...document.querySelectorAll('dialog code')].some((e) => e.textContent.startsWith(begin)))`)
	p.reads("left.")
	p.keep("console-urls-signed")
	if text := eval[string](p, `return document.querySelector('dialog').innerText`); !strings.Contains(text, "23 h") && !strings.Contains(text, "1 d") {
		p.t.Errorf("the addresses do not hold for a day: %s", text)
	}
	p.choose("They open a connection for", "1 min")
	p.until(10*time.Second, "has addresses for a minute", `/(\d+ s|1 min) left/.test(document.querySelector('dialog .note').innerText)`)
	p.tick("The domain leads to the origin inside braid")
	p.until(10*time.Second, "has every form", `['/live/stage/fmp4.m3u8', '/live/stage/ll.m3u8', '/live/stage/master.m3u8'].every((form) =>
		[...document.querySelectorAll('dialog code')].some((e) => e.textContent.startsWith('https://play.example.com' + form + '?auth_key=')))`)
	p.keep("console-urls-minute")
	p.press("Close")
	p.reads("The host in these addresses is one of the streaming domain live.example.com")
}

// consoleDestination relays a channel to the domain, where nobody listens: the task says so.
func consoleDestination(p *page, s *braidServer) {
	s.rest("PUT", "/v1/applications/e2e/relay", map[string]any{"enabled": true, "mix": true, "domain": "live.example.com"}, nil, "If-Match", "*")
	s.publish("lobby", "anna", clip{ID: 5, W: 320, H: 180, FPS: 15, Seconds: 10, Tone: 400}.make(p.t), 15, "vp8")
	p.visit("#/applications/e2e/tasks/mix_lobby", "Mixed stream: lobby")
	p.reads("Waiting for the next try the connection was refused")
	p.reads("rtmp://127.0.0.1:9/live/e2e***")
	p.keep("console-destination")
}
