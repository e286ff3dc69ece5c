// Package sdk drives a running braid with Alibaba Cloud's own SDK modules, so
// that what they need of the control API is what it does. Both signature
// schemes and both encodings of nested parameters are in it:
//
//	v1    alibaba-cloud-sdk-go: typed requests and answers, HMAC-SHA1, parameters in dotted parts
//	core  darabonba-openapi: what the newer typed SDK calls, ACS3-HMAC-SHA256, parameters as JSON
//
// It is a module of its own, so that neither SDK is in braid's module graph.
// cmd/braid's TestOfficialSDKs starts a server and runs it; by hand, against a
// server that may connect to loopback and has two publishers in a channel:
//
//	BRAID_ENDPOINT=127.0.0.1:8080 BRAID_RTMP=rtmp://127.0.0.1:1935/live BRAID_ACCESS_KEY_ID=…
//	BRAID_ACCESS_KEY_SECRET=… BRAID_APP=… BRAID_CHANNEL=… BRAID_USERS=ann,bob go test -count=1 ./...
package sdk

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is the braid under test, as the environment describes it.
type server struct {
	endpoint  string // host:port of HTTP
	rtmp      string // where its origin takes streams: rtmp://host:port/live
	keyID     string
	secret    string
	app       string
	channel   string   // with users in it who publish H.264 and Opus as long as the tests run
	users     []string // in the order in which they joined
	forgotten string   // the first variable that is not set
}

var under = readEnvironment()

func readEnvironment() server {
	s := server{}
	get := func(name string) string {
		v := os.Getenv(name)
		if v == "" && s.forgotten == "" {
			s.forgotten = name
		}
		return v
	}
	s.endpoint, s.rtmp = get("BRAID_ENDPOINT"), get("BRAID_RTMP")
	s.keyID, s.secret = get("BRAID_ACCESS_KEY_ID"), get("BRAID_ACCESS_KEY_SECRET")
	s.app, s.channel = get("BRAID_APP"), get("BRAID_CHANNEL")
	s.users = strings.Split(get("BRAID_USERS"), ",")
	return s
}

// start begins a test; it needs the server.
func start(t *testing.T) {
	t.Helper()
	if under.forgotten != "" {
		t.Skipf("%s is not set: these tests drive a running braid, go test ./cmd/braid -run TestOfficialSDKs starts one for them", under.forgotten)
	}
}

// catalogue is what artc-api.md section 2 lists, with the answer that braid
// gives: "" is success.
var catalogue = map[string]string{
	"DescribeChannelUsers": "", "DescribeChannelParticipants": "", "ListRTCLiveRooms": "", "RemoveTerminals": "", "DeleteChannel": "",
	"CreateRTCWhipStreamAddress": "", "CreateRoomRealTimeStreamAddress": "",
	"StartLiveMPUTask": "", "UpdateLiveMPUTask": "", "StopLiveMPUTask": "", "SetLiveMpuTaskSei": "", "ListRtcMPUTaskDetail": "",
	"CreateEventSub": "", "UpdateEventSub": "", "DeleteEventSub": "", "ListEventSub": "", "ListEventSubEvent": "",
	"CreateRtcMPUEventSub": "", "UpdateRtcMPUEventSub": "", "DeleteRtcMPUEventSub": "", "DescribeRtcMPUEventSub": "", "ListRtcMPUEventSubRecord": "",
	"StartRtcCloudRecording": "", "UpdateRtcCloudRecording": "", "StopRtcCloudRecording": "", "DescribeRtcCloudRecordingFiles": "",
	"StartRtcCloudTranscode": notYet, "StopRtcCloudTranscode": notYet, "DescribeRtcCloudTranscode": notYet,
	"CreateRtcAsrTask": notYet, "StopRtcAsrTask": notYet, "QueryRtcAsrTasks": notYet, "DeleteRtcAsrTask": notYet,
	"DescribeLiveGrtnDuration": "", "DescribeMeterLiveBypassDuration": "",
	"DescribeLiveRtcRecordUsageData": notYet, "DescribeLiveInteractionMetricData": notYet,
}

// bySDKs are the actions that both SDKs have to have called: those with nested
// objects or lists, which each encodes in its own way.
var bySDKs = []string{"StartLiveMPUTask", "UpdateLiveMPUTask", "CreateEventSub", "RemoveTerminals"}

// seen is what was answered: "sdk action code".
var seen = struct {
	sync.Mutex
	answers map[string]bool
}{answers: map[string]bool{}}

func note(sdk, action, code string) {
	seen.Lock()
	defer seen.Unlock()
	seen.answers[sdk+" "+action+" "+code] = true
}

// TestMain ends with what no test has called.
func TestMain(m *testing.M) {
	code := m.Run()
	chosen := flag.Lookup("test.run").Value.String() + flag.Lookup("test.skip").Value.String()
	if code == 0 && under.forgotten == "" && chosen == "" {
		if missing := notCalled(); len(missing) > 0 {
			fmt.Println("FAIL: not called with the answer that is expected: " + strings.Join(missing, ", "))
			code = 1
		} else {
			fmt.Printf("all %d actions answer the SDKs as they should\n", len(catalogue))
		}
	}
	os.Exit(code)
}

func notCalled() (missing []string) {
	for action, code := range catalogue {
		v1, core := seen.answers["v1 "+action+" "+code], seen.answers["core "+action+" "+code]
		if !v1 && !core || slices.Contains(bySDKs, action) && !(v1 && core) {
			missing = append(missing, fmt.Sprintf("%s (v1: %t, core: %t)", action, v1, core))
		}
	}
	slices.Sort(missing)
	return missing
}

// eventually waits until ok, and fails the test with the last state when it
// never is. The pause keeps polls within the documented rates.
func eventually(t *testing.T, limit time.Duration, what string, ok func() (done bool, state any)) {
	t.Helper()
	deadline := time.Now().Add(limit)
	pause := time.NewTicker(200 * time.Millisecond)
	defer pause.Stop()
	for {
		done, state := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v; last: %+v", what, limit, state)
		}
		<-pause.C
	}
}
