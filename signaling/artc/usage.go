package artc

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"braid/store"
)

// Limits of usage queries (section 10).
const (
	usageSpan  = 5 * time.Minute
	usageRange = 31 * 24 * time.Hour
	usageKept  = 90 * 24 * time.Hour
	maxApps    = 30
)

// span is the part of the time that a query is about.
type span struct {
	from, to time.Time
	interval time.Duration
}

// usageSpanOf reads StartTime, EndTime and Interval. An Interval that is none
// of those allowed means 3600, as documented. The time before now is the
// clock skew that requests may have anyway.
func (h *Handler) usageSpanOf(c *call) span {
	s := span{from: c.needTime("StartTime"), to: c.needTime("EndTime"), interval: time.Hour}
	switch c.raw("Interval") {
	case "300":
		s.interval = 5 * time.Minute
	case "86400":
		s.interval = 24 * time.Hour
	}
	switch length := s.to.Sub(s.from); {
	case length < usageSpan:
		c.invalid("EndTime", "is less than 5 minutes after StartTime")
	case length > usageRange:
		c.invalid("EndTime", "is more than 31 days after StartTime")
	case s.from.Before(h.now().Add(-usageKept - skew)):
		c.invalid("StartTime", "is more than 90 days ago")
	}
	return s
}

// usage sums up what the applications used, all of them when apps is nil. What
// is kept are spans of 5 minutes: those that the times lie in count whole,
// braid's own.
func (h *Handler) usage(c *call, apps []string, kind store.UsageKind, s span) (used []store.Usage, err error) {
	to := s.to.Add(usageSpan - time.Nanosecond).Truncate(usageSpan)
	err = h.cfg.Store.View(c.ctx(), func(tx *store.Tx) (err error) {
		used, err = tx.Usage(apps, kind, s.from, to, s.interval)
		return err
	})
	return used, err
}

// minutes counts partial minutes as whole ones (section 10, billing units).
func minutes(d time.Duration) int64 { return int64((d + time.Minute - 1) / time.Minute) }

// relayClasses are the classes of relay usage: what the answer calls their sum,
// and their part in one interval.
var relayClasses = []struct{ class, summary, part string }{
	{"audio", "AudioSummaryDuration", "AudioDuration"},
	{"480p", "V480SummaryDuration", "V480Duration"},
	{"720p", "V720SummaryDuration", "V720Duration"},
	{"1080p", "V1080SummaryDuration", "V1080Duration"},
	{"single_audio", "SingleAudioSummaryDuration", "Single_Audio"},
	{"single_video", "SingleVideoSummaryDuration", "Single_Video"},
}

// relayMinutes is DescribeMeterLiveBypassDuration. A sum is rounded up once, so
// it may be less than its rounded parts together; a total is the sum of its
// classes; an interval without any use is left out: all braid's own.
func (h *Handler) relayMinutes(c *call) (reply, error) {
	app, s := h.app(c), h.usageSpanOf(c)
	if err := c.err(); err != nil {
		return nil, err
	}
	used, err := h.usage(c, []string{app}, store.RelayUsage, s)
	if err != nil {
		return nil, err
	}
	sums, data := map[string]time.Duration{}, []reply{}
	for start, group := range byStart(used) {
		parts := map[string]time.Duration{}
		for _, u := range group {
			parts[u.Class] += u.Time
			sums[u.Class] += u.Time
		}
		entry, total := reply{"Timestamp": start.Format(timeLayout)}, int64(0)
		for _, k := range relayClasses {
			n := minutes(parts[k.class])
			entry[k.part] = n
			total += n
		}
		entry["TotalDuration"] = total
		data = append(data, entry)
	}
	answer, total := reply{"Data": data}, int64(0)
	for _, k := range relayClasses {
		n := minutes(sums[k.class])
		answer[k.summary] = n
		total += n
	}
	answer["TotalSummaryDuration"] = total
	return answer, nil
}

// byStart goes through usage that is sorted by Start, one interval at a time.
func byStart(used []store.Usage) func(yield func(time.Time, []store.Usage) bool) {
	return func(yield func(time.Time, []store.Usage) bool) {
		for len(used) > 0 {
			n := slices.IndexFunc(used, func(u store.Usage) bool { return !u.Start.Equal(used[0].Start) })
			if n < 0 {
				n = len(used)
			}
			if !yield(used[0].Start.UTC(), used[:n]) {
				return
			}
			used = used[n:]
		}
	}
}

// callClasses are the classes of call usage, as the answer names them.
var callClasses = []struct{ class, mediaType, profile string }{
	{"audio", "audio", "0"},
	{"480p", "video", "480P"},
	{"720p", "video", "720P"},
	{"1080p", "video", "1080P"},
}

// callMinutes is DescribeLiveGrtnDuration. Without AppId all applications are
// summed up, as documented; that AppId is then empty is braid's own. There is
// one area only, so Area is checked and has no effect: braid's own.
func (h *Handler) callMinutes(c *call) (reply, error) {
	apps, s := h.appList(c), h.usageSpanOf(c)
	c.choice("Area", "", "CN", "OverSeas", "AP1", "AP2", "AP3", "NA", "SA", "EU", "MEAA")
	if err := c.err(); err != nil {
		return nil, err
	}
	used, err := h.usage(c, apps, store.CallUsage, s)
	if err != nil {
		return nil, err
	}
	if apps == nil {
		used = mergeApps(used)
	}
	data := []reply{}
	for _, u := range used {
		for _, k := range callClasses {
			if k.class == u.Class {
				data = append(data, reply{"AppId": u.App, "Duration": minutes(u.Time), "MediaType": k.mediaType,
					"MediaProfile": k.profile, "TimeStamp": u.Start.UTC().Format(timeLayout)})
			}
		}
	}
	return reply{"StreamDetailData": reply{"StreamData": data}}, nil
}

// appList reads AppId as a list with commas; nil when absent.
func (h *Handler) appList(c *call) []string {
	const field = "AppId"
	s := c.raw(field)
	if s == "" {
		return nil
	}
	apps := strings.Split(s, ",")
	if len(apps) > maxApps {
		c.invalid(field, "names %d applications, at most %d are allowed", len(apps), maxApps)
		return nil
	}
	for _, app := range apps {
		if c.fail.err == nil {
			c.fail.err = h.checkApp(field, app)
		}
	}
	return apps
}

// mergeApps sums up over all applications, sorted by Start and class.
func mergeApps(used []store.Usage) []store.Usage {
	type place struct {
		start int64
		class string
	}
	sums := map[place]*store.Usage{}
	for _, u := range used {
		k := place{u.Start.Unix(), u.Class}
		if sum := sums[k]; sum != nil {
			sum.Time += u.Time
			continue
		}
		u.App = ""
		sums[k] = &u
	}
	var all []store.Usage
	for _, u := range sums {
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b store.Usage) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Class, b.Class))
	})
	return all
}
