package artc

// What braid cannot do yet, by the name that the error gives it.
const (
	recording   = "cloud recording"
	transcoding = "cloud transcoding"
	subtitles   = "subtitles (ASR)"
	quality     = "quality metrics"
)

// notYet checks that the required fields are there and refuses. So a caller that
// comes from ARTC learns that the feature is what is missing, not the request.
func notYet(what string, required ...string) func(*Handler, *call) (reply, error) {
	return func(h *Handler, c *call) (reply, error) {
		h.required(c, required...)
		if err := c.err(); err != nil {
			return nil, err
		}
		return nil, notSupported(what)
	}
}

func (h *Handler) required(c *call, fields ...string) {
	for _, field := range fields {
		switch v := c.in[field]; {
		case field == "AppId" || field == "SDKAppID":
			h.appField(c, field)
		case v == nil || v == "":
			c.missing(field)
		}
	}
}

// createASRTask needs what its mode works on (section 9).
func (h *Handler) createASRTask(c *call) (reply, error) {
	h.required(c, "CallbackURL", "Language", "Mode")
	c.choice("Language", "", "ja", "yue", "fspk", "en", "cn")
	if c.choice("Mode", "", "live", "rtc") == "rtc" {
		h.required(c, "SDKAppID", "ChannelID", "RtcUserId")
	} else {
		h.required(c, "StreamURL")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return nil, notSupported(subtitles)
}

// qualityMetric is DescribeLiveInteractionMetricData (section 10).
func (h *Handler) qualityMetric(c *call) (reply, error) {
	h.required(c, "AppId", "BeginTs", "EndTs", "MetricType")
	c.choice("MetricType", "", "JoinChannelSucRate", "VideoStuckRate", "AudioStuckRate", "FirstFrameCost")
	if err := c.err(); err != nil {
		return nil, err
	}
	return nil, notSupported(quality)
}
