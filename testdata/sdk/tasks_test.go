package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/live"
)

// plays waits until a relayed stream can be watched at the origin.
func plays(t *testing.T, name string) {
	t.Helper()
	origin, err := url.Parse(under.rtmp)
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + under.endpoint + origin.Path + "/" + name + ".flv"
	eventually(t, 20*time.Second, address+" plays", func() (bool, any) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		head := make([]byte, 32<<10) // some seconds of sound, or a few pictures
		n, err := io.ReadFull(resp.Body, head)
		return resp.StatusCode == http.StatusOK && err == nil && string(head[:3]) == "FLV", fmt.Sprint(resp.Status, ", ", n, " bytes, ", err)
	})
}

// stops waits until it cannot be watched any more.
func stops(t *testing.T, name string) {
	t.Helper()
	origin, _ := url.Parse(under.rtmp)
	eventually(t, 10*time.Second, name+" ends", func() (bool, any) {
		resp, err := http.Get("http://" + under.endpoint + origin.Path + "/" + name + ".flv")
		if err != nil {
			return false, err
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusNotFound, resp.Status
	})
}

// pictures serves a background image.
func pictures(t *testing.T) string {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		png.Encode(w, image.NewGray(image.Rect(0, 0, 64, 36)))
	}))
	t.Cleanup(h.Close)
	return h.URL + "/bg.png"
}

// v1Tasks asks the older SDK for one task.
func v1Tasks(t *testing.T, task string) []live.MpuTask {
	t.Helper()
	q := live.CreateListRtcMPUTaskDetailRequest()
	q.AppId, q.TaskId = under.app, task
	return v1(t, v1Client(t).ListRtcMPUTaskDetail, q).MPUTasks
}

// into copies between the SDK's types that have the same fields.
func into(t *testing.T, to, from any) {
	t.Helper()
	b, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// v1Mix is a mix with every parameter that this SDK has.
func v1Mix(task string, picture string, names ...string) *live.StartLiveMPUTaskRequest {
	q := live.CreateStartLiveMPUTaskRequest()
	q.AppId, q.ChannelId, q.TaskId, q.MixMode, q.MaxIdleTime, q.Region = under.app, under.channel, task, "1", "60", "CN-Shanghai"
	var urls []live.StartLiveMPUTaskMultiStreamURL
	for _, name := range names {
		urls = append(urls, live.StartLiveMPUTaskMultiStreamURL{URL: under.rtmp + "/" + name}) // IsAliCdn is then sent as ""
	}
	q.MultiStreamURL = &urls
	q.SeiParams = live.StartLiveMPUTaskSeiParams{PayloadType: "100",
		LayoutVolume: live.StartLiveMPUTaskSeiParamsLayoutVolume{FollowIdr: "1", Interval: "1000"},
		PassThrough:  live.StartLiveMPUTaskSeiParamsPassThrough{FollowIdr: "0", Interval: "2000", PayloadContent: `{"a":"中"}`, PayloadContentKey: "mine"}}
	var infos []live.StartLiveMPUTaskTranscodeParamsUserInfosItem
	var panes []live.StartLiveMPUTaskTranscodeParamsLayoutUserPanesItem
	for i, user := range under.users[:2] {
		infos = append(infos, live.StartLiveMPUTaskTranscodeParamsUserInfosItem{UserId: user, ChannelId: under.channel, StreamType: "0", SourceType: "camera"})
		pane := live.StartLiveMPUTaskTranscodeParamsLayoutUserPanesItem{X: fmt.Sprint(0.5 * float64(i)), Y: "0.25", Width: "0.5", Height: "0.5",
			ZOrder: fmt.Sprint(i), RenderMode: "0", BackgroundImageUrl: picture}
		pane.UserInfo.UserId, pane.UserInfo.ChannelId, pane.UserInfo.SourceType = user, under.channel, "camera"
		panes = append(panes, pane)
	}
	q.TranscodeParams = live.StartLiveMPUTaskTranscodeParams{UserInfos: &infos,
		Layout:     live.StartLiveMPUTaskTranscodeParamsLayout{UserPanes: &panes},
		Background: live.StartLiveMPUTaskTranscodeParamsBackground{URL: picture, RenderMode: "1"},
		EncodeParams: live.StartLiveMPUTaskTranscodeParamsEncodeParams{AudioOnly: "false", AudioBitrate: "64", AudioSampleRate: "48000", AudioChannels: "2",
			VideoWidth: "640", VideoHeight: "360", VideoFramerate: "15", VideoBitrate: "600", VideoGop: "30", VideoCodec: "H.264",
			EnhancedParam: `{"profile":"main","preset":"veryfast"}`}}
	return q
}

// TestMixByV1 runs a mix through its whole life with typed requests.
func TestMixByV1(t *testing.T) {
	start(t)
	c := v1Client(t)
	const task = "sdk-v1-mix"
	q := v1Mix(task, pictures(t), "sdk-v1-a", "sdk-v1-b")
	v1(t, c.StartLiveMPUTask, q)
	plays(t, "sdk-v1-a")
	plays(t, "sdk-v1-b")

	// The answer's types have the same names as the request's (section 4.3).
	want := live.MpuTask{AppId: q.AppId, ChannelId: q.ChannelId, TaskId: task, MixMode: "1", MaxIdleTime: "60", Region: "CN-Shanghai"}
	for _, u := range *q.MultiStreamURL {
		want.MultiStreamURL = append(want.MultiStreamURL, live.MultiStreamURLItem{URL: u.URL})
	}
	into(t, &want.SeiParams, q.SeiParams)
	into(t, &want.TranscodeParams, q.TranscodeParams)
	listed(t, task, want)
	v1Refused(t, c.StartLiveMPUTask, v1Mix(task, pictures(t), "sdk-v1-c"), 400, "InvalidParam") // the TaskId is live

	// An update says everything anew, but for what it has no words for.
	u := live.CreateUpdateLiveMPUTaskRequest()
	u.AppId, u.ChannelId, u.TaskId, u.MixMode = q.AppId, q.ChannelId, task, "1"
	urls := []live.UpdateLiveMPUTaskMultiStreamURL{{URL: under.rtmp + "/sdk-v1-b", IsAliCdn: "true"}, {URL: under.rtmp + "/sdk-v1-d", IsAliCdn: "false"}}
	u.MultiStreamURL = &urls
	into(t, &u.SeiParams, q.SeiParams)
	into(t, &u.TranscodeParams, q.TranscodeParams)
	(*u.TranscodeParams.Layout.UserPanes)[0].Width = "0.25"
	v1(t, c.UpdateLiveMPUTask, u)
	plays(t, "sdk-v1-d")
	stops(t, "sdk-v1-a")
	want.MultiStreamURL = []live.MultiStreamURLItem{{URL: urls[0].URL, IsAliCdn: true}, {URL: urls[1].URL}}
	want.TranscodeParams.Layout.UserPanes[0].Width = "0.25"
	listed(t, task, want)

	sei := live.CreateSetLiveMpuTaskSeiRequest()
	sei.AppId, sei.TaskId, sei.CustomSei = under.app, task, `{"score":"1:0 中文 ~*+"}`
	v1(t, c.SetLiveMpuTaskSei, sei)

	stop := live.CreateStopLiveMPUTaskRequest()
	stop.AppId, stop.TaskId = under.app, task
	v1(t, c.StopLiveMPUTask, stop)
	stops(t, "sdk-v1-b")
	if left := v1Tasks(t, task); len(left) != 0 {
		t.Errorf("after StopLiveMPUTask: got %+v", left)
	}
	v1Refused(t, c.StopLiveMPUTask, stop, 404, "TaskNotExist")
	v1Refused(t, c.UpdateLiveMPUTask, u, 404, "TaskNotExist")
	v1Refused(t, c.SetLiveMpuTaskSei, sei, 404, "TaskNotExist")
}

func listed(t *testing.T, task string, want live.MpuTask) {
	t.Helper()
	if got := v1Tasks(t, task); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("ListRtcMPUTaskDetail:\ngot  %+v\nwant %+v", got, want)
	}
}

// TestSingleByV1 relays one user; MixAudioUserIds is a field that only this SDK
// has and that no page explains, so it is taken and means nothing.
func TestSingleByV1(t *testing.T) {
	start(t)
	c := v1Client(t)
	q := live.CreateStartLiveMPUTaskRequest()
	q.AppId, q.ChannelId, q.TaskId, q.MixMode, q.StreamURL = under.app, under.channel, "sdk-v1-single", "0", under.rtmp+"/sdk-v1-single"
	q.SingleSubParams = live.StartLiveMPUTaskSingleSubParams{UserId: under.users[0], StreamType: "0", SourceType: "camera", MixAudioUserIds: &[]string{under.users[1]}}
	v1(t, c.StartLiveMPUTask, q)
	plays(t, "sdk-v1-single")
	listed(t, q.TaskId, live.MpuTask{AppId: q.AppId, ChannelId: q.ChannelId, TaskId: q.TaskId, MixMode: "0", StreamURL: q.StreamURL,
		SingleSubParams: live.SingleSubParams{UserId: under.users[0], StreamType: "0", SourceType: "camera"}})

	newest := live.CreateListRtcMPUTaskDetailRequest()
	newest.AppId, newest.PageNo, newest.PageSize = under.app, requests.NewInteger(1), requests.NewInteger(1)
	if got := v1(t, c.ListRtcMPUTaskDetail, newest).MPUTasks; len(got) != 1 || got[0].TaskId != q.TaskId {
		t.Errorf("the newest task: got %+v, want %s", got, q.TaskId)
	}
	sizeless := live.CreateListRtcMPUTaskDetailRequest()
	sizeless.AppId, sizeless.PageNo = under.app, newest.PageNo
	v1Refused(t, c.ListRtcMPUTaskDetail, sizeless, 400, "MissingParam")
	stop := live.CreateStopLiveMPUTaskRequest()
	stop.AppId, stop.TaskId = under.app, q.TaskId
	v1(t, c.StopLiveMPUTask, stop)
}

// coreMix is the same mix as the newer SDK sends it: nested objects as JSON
// texts. Sizes are numbers in it, which a caller of CallApi may well write.
func coreMix(task string, names ...string) object {
	var urls, panes, infos []object
	for _, name := range names {
		urls = append(urls, object{"URL": under.rtmp + "/" + name, "IsAliCdn": false})
	}
	for i, user := range under.users[:2] {
		infos = append(infos, object{"UserId": user})
		panes = append(panes, object{"X": fmt.Sprint(0.5 * float64(i)), "Y": 0, "Width": 0.5, "Height": "1", "UserInfo": object{"UserId": user}})
	}
	return object{"AppId": under.app, "ChannelId": under.channel, "TaskId": task, "MixMode": "1", "MultiStreamURL": urls,
		"SeiParams": object{"LayoutVolume": object{}},
		"TranscodeParams": object{"UserInfos": infos, "Layout": object{"UserPanes": panes},
			"EncodeParams": object{"AudioOnly": false, "AudioBitrate": 64, "AudioSampleRate": "48000", "AudioChannels": "2",
				"VideoWidth": 640, "VideoHeight": 360, "VideoFramerate": 15, "VideoBitrate": 600, "VideoGop": 30}}}
}

func TestMixByCore(t *testing.T) {
	start(t)
	const task = "sdk-core-mix"
	params := coreMix(task, "sdk-core-a", "sdk-core-b")
	core(t, "StartLiveMPUTask", params)
	plays(t, "sdk-core-b")
	list, _ := core(t, "ListRtcMPUTaskDetail", object{"AppId": under.app, "TaskId": task})["MPUTasks"].([]any)
	if len(list) != 1 {
		t.Fatalf("ListRtcMPUTaskDetail: got %v", list)
	}
	got, _ := json.Marshal(list[0].(object)["TranscodeParams"].(object)["EncodeParams"])
	const want = `{"AudioBitrate":"64","AudioChannels":"2","AudioOnly":"false","AudioSampleRate":"48000","VideoBitrate":"600","VideoFramerate":"15","VideoGop":"30","VideoHeight":"360","VideoWidth":"640"}`
	if string(got) != want {
		t.Errorf("every leaf is a text (section 1, point 6):\ngot  %s\nwant %s", got, want)
	}

	// An audio-only mix has no layout.
	params["TranscodeParams"] = object{"EncodeParams": object{"AudioOnly": "true", "AudioBitrate": "64", "AudioSampleRate": "44100", "AudioChannels": "1"}}
	params["MultiStreamURL"] = []object{{"URL": under.rtmp + "/sdk-core-sound"}}
	delete(params, "SeiParams")
	core(t, "UpdateLiveMPUTask", params)
	plays(t, "sdk-core-sound")
	core(t, "SetLiveMpuTaskSei", object{"AppId": under.app, "TaskId": task, "CustomSei": `{"a":1}`})
	core(t, "StopLiveMPUTask", object{"AppId": under.app, "TaskId": task})
}

func TestTaskErrors(t *testing.T) {
	start(t)
	changed := func(change func(params, transcode, encode object)) object {
		params := coreMix("sdk-wrong", "sdk-wrong")
		transcode := params["TranscodeParams"].(object)
		change(params, transcode, transcode["EncodeParams"].(object))
		return params
	}
	for what, c := range map[string]struct {
		params object
		status int
		code   string
	}{
		"no AppId":             {changed(func(p, _, _ object) { delete(p, "AppId") }), 400, "MissingParam"},
		"an unknown app":       {changed(func(p, _, _ object) { p["AppId"] = "sdk-no-such-app" }), 400, "InvalidAppId"},
		"an empty channel":     {changed(func(p, _, _ object) { p["ChannelId"] = "sdk-nowhere" }), 404, "ChannelNotExist"},
		"no URL":               {changed(func(p, _, _ object) { delete(p, "MultiStreamURL") }), 400, "MissingParam"},
		"no TranscodeParams":   {changed(func(p, _, _ object) { delete(p, "TranscodeParams") }), 400, "MissingParam"},
		"a URL of HTTP":        {changed(func(p, _, _ object) { p["MultiStreamURL"] = []object{{"URL": "http://127.0.0.1/live/a"}} }), 400, "InvalidParam"},
		"a TaskId too long":    {changed(func(p, _, _ object) { p["TaskId"] = fmt.Sprintf("%056d", 0) }), 400, "InvalidParam"},
		"a MaxIdleTime of 9":   {changed(func(p, _, _ object) { p["MaxIdleTime"] = 9 }), 400, "InvalidParam"},
		"a bit rate of 501":    {changed(func(_, _, e object) { e["AudioBitrate"] = 501 }), 400, "InvalidParam"},
		"an odd sample rate":   {changed(func(_, _, e object) { e["AudioSampleRate"] = 22050 }), 400, "InvalidParam"},
		"a GOP that is a word": {changed(func(_, _, e object) { e["VideoGop"] = "many" }), 400, "InvalidParam"},
		"H.265":                {changed(func(_, _, e object) { e["VideoCodec"] = "H.265" }), 400, "InvalidParam"},
		"panes as a text":      {changed(func(_, tr, _ object) { tr["Layout"] = object{"UserPanes": "all"} }), 400, "InvalidParam"},
	} {
		t.Run(what, func(t *testing.T) { coreRefused(t, "StartLiveMPUTask", c.params, c.status, c.code) })
	}
}
