package artc

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"braid/store"
)

// startMetered is a server at 13:37:35 that has metered some usage since noon.
func startMetered(t *testing.T) *server {
	t.Helper()
	s := startWhole(t)
	at := func(clock string) time.Time {
		tm, err := time.Parse("2006-01-02 15:04:05", "2026-11-22 "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return tm
	}
	err := s.db.Update(t.Context(), func(tx *store.Tx) error {
		return tx.AddUsage(
			store.Usage{App: "app1", Kind: store.RelayUsage, Class: "720p", Start: at("12:01:00"), Time: 61 * time.Second},
			store.Usage{App: "app1", Kind: store.RelayUsage, Class: "720p", Start: at("12:07:00"), Time: 10 * time.Second},
			store.Usage{App: "app1", Kind: store.RelayUsage, Class: "audio", Start: at("12:02:00"), Time: 3 * time.Minute},
			store.Usage{App: "app1", Kind: store.RelayUsage, Class: "480p", Start: at("13:00:00"), Time: time.Millisecond},
			store.Usage{App: "app1", Kind: store.RelayUsage, Class: "1080p", Start: at("13:36:00"), Time: 30 * time.Minute},
			store.Usage{App: "app1", Kind: store.RelayUsage, Class: "single_audio", Start: at("13:36:00"), Time: 4 * time.Minute},
			store.Usage{App: "app1", Kind: store.RelayUsage, Class: "single_video", Start: at("13:36:00"), Time: 5 * time.Minute},
			store.Usage{App: "app2", Kind: store.RelayUsage, Class: "720p", Start: at("12:01:00"), Time: time.Hour},

			store.Usage{App: "app1", Kind: store.CallUsage, Class: "audio", Start: at("12:01:00"), Time: 30 * time.Second},
			store.Usage{App: "app1", Kind: store.CallUsage, Class: "480p", Start: at("12:01:00"), Time: 2 * time.Minute},
			store.Usage{App: "app1", Kind: store.CallUsage, Class: "720p", Start: at("13:01:00"), Time: 3 * time.Minute},
			store.Usage{App: "app2", Kind: store.CallUsage, Class: "audio", Start: at("12:02:00"), Time: 31 * time.Second},
			store.Usage{App: "app2", Kind: store.CallUsage, Class: "1080p", Start: at("12:02:00"), Time: 4 * time.Minute},
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var sinceNoon = map[string]string{"AppId": "app1", "StartTime": "2026-11-22T12:00:00Z", "EndTime": "2026-11-22T13:37:35Z"}

// relayPart is one interval of DescribeMeterLiveBypassDuration.
func relayPart(at string, total, audio, v480, v720, v1080, singleAudio, singleVideo int) string {
	return fmt.Sprintf(`{"Timestamp": %q, "TotalDuration": %d, "AudioDuration": %d, "V480Duration": %d, "V720Duration": %d,
		"V1080Duration": %d, "Single_Audio": %d, "Single_Video": %d}`, at, total, audio, v480, v720, v1080, singleAudio, singleVideo)
}

const relaySums = `"TotalSummaryDuration": 45, "AudioSummaryDuration": 3, "V480SummaryDuration": 1, "V720SummaryDuration": 2,
	"V1080SummaryDuration": 30, "SingleAudioSummaryDuration": 4, "SingleVideoSummaryDuration": 5`

func TestDescribeMeterLiveBypassDuration(t *testing.T) {
	s := startMetered(t)
	describe := func(more ...string) answer {
		return s.call("DescribeMeterLiveBypassDuration", with(sinceNoon, more...))
	}
	hours := fmt.Sprintf(`{%s, "Data": [%s, %s]}`, relaySums,
		relayPart("2026-11-22T12:00:00Z", 5, 3, 0, 2, 0, 0, 0), relayPart("2026-11-22T13:00:00Z", 40, 0, 1, 0, 30, 4, 5))
	s.good("by the hour", describe(), hours)
	s.good("an interval that is none", describe("Interval", "60"), hours)
	s.good("five minutes", describe("Interval", "300"), fmt.Sprintf(`{%s, "Data": [%s, %s, %s, %s]}`, relaySums,
		relayPart("2026-11-22T12:00:00Z", 5, 3, 0, 2, 0, 0, 0), relayPart("2026-11-22T12:05:00Z", 1, 0, 0, 1, 0, 0, 0),
		relayPart("2026-11-22T13:00:00Z", 1, 0, 1, 0, 0, 0, 0), relayPart("2026-11-22T13:35:00Z", 39, 0, 0, 0, 30, 4, 5)))
	s.good("a day", describe("StartTime", "2026-11-22T00:00:00Z", "Interval", "86400"), fmt.Sprintf(`{%s, "Data": [%s]}`, relaySums,
		relayPart("2026-11-22T00:00:00Z", 45, 3, 1, 2, 30, 4, 5)))
	s.good("nothing", describe("StartTime", "2026-11-21T00:00:00Z", "EndTime", "2026-11-22T00:00:00Z"), `{"TotalSummaryDuration": 0,
		"AudioSummaryDuration": 0, "V480SummaryDuration": 0, "V720SummaryDuration": 0, "V1080SummaryDuration": 0,
		"SingleAudioSummaryDuration": 0, "SingleVideoSummaryDuration": 0, "Data": []}`)
	s.expect("no AppId", describe("AppId", ""), 400, "MissingParam", "AppId is missing")
}

func TestDescribeLiveGrtnDuration(t *testing.T) {
	s := startMetered(t)
	describe := func(more ...string) answer { return s.call("DescribeLiveGrtnDuration", with(sinceNoon, more...)) }
	row := func(app string, minutes int, kind, profile, at string) string {
		return fmt.Sprintf(`{"AppId": %q, "Duration": %d, "MediaType": %q, "MediaProfile": %q, "TimeStamp": "2026-11-22T%s:00Z"}`, app, minutes, kind, profile, at)
	}
	rows := func(all ...string) string {
		return `{"StreamDetailData": {"StreamData": [` + strings.Join(all, ",") + `]}}`
	}
	s.good("one application", describe(), rows(row("app1", 2, "video", "480P", "12:00"), row("app1", 1, "audio", "0", "12:00"),
		row("app1", 3, "video", "720P", "13:00")))
	s.good("two applications", describe("AppId", "app2,app1"), rows(row("app1", 2, "video", "480P", "12:00"), row("app1", 1, "audio", "0", "12:00"),
		row("app2", 4, "video", "1080P", "12:00"), row("app2", 1, "audio", "0", "12:00"), row("app1", 3, "video", "720P", "13:00")))
	s.good("all, summed up before rounding", describe("AppId", "", "Area", "CN"), rows(row("", 4, "video", "1080P", "12:00"),
		row("", 2, "video", "480P", "12:00"), row("", 2, "audio", "0", "12:00"), row("", 3, "video", "720P", "13:00")))
	s.good("nothing", describe("StartTime", "2026-11-21T00:00:00Z", "EndTime", "2026-11-22T00:00:00Z"), rows())
	s.expect("area", describe("Area", "XX"), 400, "InvalidParam", `Area: "XX" is not one of CN, OverSeas, AP1, AP2, AP3, NA, SA, EU, MEAA`)
	s.expect("unknown application", describe("AppId", "app1,app3"), 400, "InvalidAppId", `AppId: there is no application "app3"`)
	s.expect("31 applications", describe("AppId", strings.Repeat("app1,", 30)+"app1"), 400, "InvalidParam", "AppId: names 31 applications, at most 30 are allowed")
	if a := describe("AppId", strings.Repeat("app1,", 29)+"app1"); a.status != 200 {
		t.Errorf("30 applications: got %v", a.body)
	}
}

func TestUsageRanges(t *testing.T) {
	s := startWhole(t)
	for _, action := range []string{"DescribeMeterLiveBypassDuration", "DescribeLiveGrtnDuration"} {
		for _, c := range []struct{ from, to, code, message string }{
			{"2026-11-22T13:00:00Z", "2026-11-22T13:05:00Z", "", ""},
			{"2026-11-22T13:00:00Z", "2026-11-22T13:04:59Z", "InvalidParam", "EndTime: is less than 5 minutes after StartTime"},
			{"2026-11-22T13:00:00Z", "2026-11-22T12:00:00Z", "InvalidParam", "EndTime: is less than 5 minutes after StartTime"},
			{"2026-10-20T00:00:00Z", "2026-11-20T00:00:00Z", "", ""},
			{"2026-10-20T00:00:00Z", "2026-11-20T00:00:01Z", "InvalidParam", "EndTime: is more than 31 days after StartTime"},
			{"2026-08-24T13:37:35Z", "2026-08-25T00:00:00Z", "", ""},
			{"2026-08-24T13:22:34Z", "2026-08-25T00:00:00Z", "InvalidParam", "StartTime: is more than 90 days ago"},
			{"2026-11-22 13:00:00", "2026-11-22T13:05:00Z", "InvalidParam", `StartTime: "2026-11-22 13:00:00" is not a time in UTC such as 2006-01-02T15:04:05Z`},
			{"2026-11-22T13:00:00+08:00", "2026-11-22T13:05:00Z", "InvalidParam", `StartTime: "2026-11-22T13:00:00+08:00" is not a time in UTC such as 2006-01-02T15:04:05Z`},
			{"", "2026-11-22T13:05:00Z", "MissingParam", "StartTime is missing"},
			{"2026-11-22T13:05:00Z", "", "MissingParam", "EndTime is missing"},
		} {
			a := s.call(action, map[string]string{"AppId": "app1", "StartTime": c.from, "EndTime": c.to})
			status := 400
			if c.code == "" {
				status = 200
			}
			s.expect(action+" "+c.from+" "+c.to, a, status, c.code, c.message)
		}
	}
}
