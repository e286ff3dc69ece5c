package sdk

import (
	"errors"
	"strings"
	"sync"
	"testing"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/responses"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/live"
)

// TestWrongSecret: the older SDK compares the string to sign in the answer with
// its own, and says then whose fault it is.
func TestWrongSecret(t *testing.T) {
	start(t)
	q := live.CreateDescribeChannelUsersRequest()
	q.AppId, q.ChannelId = under.app, "中 *~+"
	refused := v1Refused(t, v1ClientWith(t, under.keyID, "not-the-secret").DescribeChannelUsers, q, 400, "SignatureDoesNotMatch")
	if !strings.HasPrefix(refused.Recommend(), "InvalidAccessKeySecret") {
		t.Errorf("Recommend: got %q for the message %q", refused.Recommend(), refused.Message())
	}
	for _, algorithm := range []string{"ACS3-HMAC-SHA256", "v2"} {
		c := coreClientWith(t, &openapiutil.Config{AccessKeyId: &under.keyID, AccessKeySecret: dara.String("not-the-secret"), SignatureAlgorithm: &algorithm})
		_, err := ask(c, "DescribeChannelUsers", object{"AppId": under.app, "ChannelId": "c"})
		isRefused(t, "DescribeChannelUsers", err, 400, "SignatureDoesNotMatch")
	}
}

func TestGatewayErrors(t *testing.T) {
	start(t)
	q := live.CreateDescribeChannelUsersRequest()
	q.AppId, q.ChannelId = under.app, under.channel
	v1Refused(t, v1ClientWith(t, "sdk-no-such-key", "x").DescribeChannelUsers, q, 404, "InvalidAccessKeyId.NotFound")
	c := coreClientWith(t, &openapiutil.Config{AccessKeyId: dara.String("sdk-no-such-key"), AccessKeySecret: dara.String("x")})
	_, err := ask(c, "DescribeChannelUsers", object{"AppId": under.app, "ChannelId": "c"})
	isRefused(t, "DescribeChannelUsers", err, 404, "InvalidAccessKeyId.NotFound")
	coreRefused(t, "DescribeEventSubs", object{}, 404, "InvalidAction.NotFound") // a name that does not exist in this version

	// The older SDK's way to call what it has no types for.
	common := func(version, action string) (*responses.CommonResponse, error) {
		r := requests.NewCommonRequest()
		r.Scheme, r.Domain, r.Version, r.ApiName, r.Method = "http", under.endpoint, version, action, "POST"
		r.QueryParams["AppId"] = under.app
		return v1Client(t).ProcessCommonRequest(r)
	}
	if a, err := common(apiVersion, "ListRTCLiveRooms"); err != nil || !strings.Contains(a.GetHttpContentString(), `"Rooms":[`) {
		t.Errorf("ListRTCLiveRooms by a CommonRequest: %v", err)
	}
	for _, c := range []struct{ version, action, code string }{
		{"2018-01-11", "ListRTCLiveRooms", "InvalidVersion"}, {apiVersion, "CreateAppKey", "InvalidAction.NotFound"},
	} {
		if _, err := common(c.version, c.action); err == nil || !strings.Contains(err.Error(), "ErrorCode: "+c.code) {
			t.Errorf("%s of %s: got %v, want %s", c.action, c.version, err, c.code)
		}
	}
}

// TestLegacySignature calls by the core with its older signature.
func TestLegacySignature(t *testing.T) {
	start(t)
	c := coreClientWith(t, &openapiutil.Config{AccessKeyId: &under.keyID, AccessKeySecret: &under.secret, SignatureAlgorithm: dara.String("v2")})
	for _, method := range []string{"GET", "POST"} {
		a, err := askBy(c, method, "DescribeChannelUsers", object{"AppId": under.app, "ChannelId": under.channel})
		if err != nil || a["IsChannelExists"] != true {
			t.Errorf("DescribeChannelUsers by %s: got %v, %v", method, a, err)
		}
	}
	_, err := ask(c, "StartLiveMPUTask", object{"AppId": under.app, "ChannelId": under.channel})
	isRefused(t, "StartLiveMPUTask", err, 400, "MissingParam")
}

// TestThrottling calls more often than the 10 times a second that the action
// documents. The core makes an error of its own of it, with the time to wait.
func TestThrottling(t *testing.T) {
	start(t)
	c := coreClient(t)
	c.DisableSDKError = dara.Bool(true)
	params := object{"StartTime": hoursAgo(2), "EndTime": hoursAgo(1)}
	const calls = 60
	failed := make([]error, calls)
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() { _, failed[i] = ask(c, "DescribeLiveGrtnDuration", params) })
	}
	wg.Wait()
	let := 0
	for _, err := range failed {
		var throttled *openapi.ThrottlingError
		switch {
		case err == nil:
			let++
		case !errors.As(err, &throttled):
			t.Errorf("got %v, want a ThrottlingError", err)
		case *throttled.StatusCode != 400 || *throttled.Code != "Throttling.User" || *throttled.RetryAfter < 1 || *throttled.RetryAfter > 1000:
			t.Errorf("got %d %s, wait %d ms; want 400 Throttling.User and a wait of 1 to 1000 ms", *throttled.StatusCode, *throttled.Code, *throttled.RetryAfter)
		}
	}
	if let < 1 || let == calls {
		t.Errorf("%d of %d calls at once got through (api.rate_limits must be on)", let, calls)
	}

	// As it surfaces with the default settings.
	eventually(t, 10e9, "a call is refused", func() (bool, any) {
		for range 30 {
			_, err := ask(coreClient(t), "DescribeLiveGrtnDuration", params)
			var refused *tea.SDKError
			if errors.As(err, &refused) {
				isRefused(t, "DescribeLiveGrtnDuration", err, 400, "Throttling.User")
				return true, nil
			}
		}
		return false, "30 in a row got through"
	})
}
