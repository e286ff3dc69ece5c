package sdk

import (
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"
	v1errors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/live"
)

const apiVersion = "2016-11-01"

// notYet is the code of what braid knows and cannot do yet.
const notYet = "NotSupported"

// v1Client is the older SDK's typed client.
func v1Client(t *testing.T) *live.Client { return v1ClientWith(t, under.keyID, under.secret) }

func v1ClientWith(t *testing.T, keyID, secret string) *live.Client {
	t.Helper()
	c, err := live.NewClientWithAccessKey("cn-shanghai", keyID, secret)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// v1Answer is what every typed answer can do.
type v1Answer interface {
	IsSuccess() bool
	GetHttpContentBytes() []byte
}

// v1 makes a call that has to succeed. Its answer must also fit the SDK's type
// without the leniency of the SDK's own decoder. A request keeps what it was
// sent with: one with fewer parameters has to be a new one.
func v1[Q requests.AcsRequest, A v1Answer](t *testing.T, do func(Q) (A, error), q Q) A {
	t.Helper()
	q.SetScheme("http")
	q.SetDomain(under.endpoint)
	a, err := do(q)
	if err != nil || !a.IsSuccess() {
		t.Fatalf("%s: %v", q.GetActionName(), err)
	}
	note("v1", q.GetActionName(), "")
	fits(t, q.GetActionName(), a.GetHttpContentBytes(), reflect.TypeOf(a).Elem())
	return a
}

// v1Refused makes a call that has to be refused.
func v1Refused[Q requests.AcsRequest, A v1Answer](t *testing.T, do func(Q) (A, error), q Q, status int, code string) *v1errors.ServerError {
	t.Helper()
	q.SetScheme("http")
	q.SetDomain(under.endpoint)
	_, err := do(q)
	var refused *v1errors.ServerError
	if !errors.As(err, &refused) {
		t.Fatalf("%s: got %v, want a *ServerError with %d %s", q.GetActionName(), err, status, code)
	}
	if refused.HttpStatus() != status || refused.ErrorCode() != code {
		t.Fatalf("%s: got %d %s %q, want %d %s", q.GetActionName(), refused.HttpStatus(), refused.ErrorCode(), refused.Message(), status, code)
	}
	isRequestID(t, q.GetActionName(), refused.RequestId())
	if refused.HostId() != under.endpoint || refused.Message() == "" {
		t.Errorf("%s: HostId %q, Message %q; want %q and words", q.GetActionName(), refused.HostId(), refused.Message(), under.endpoint)
	}
	note("v1", q.GetActionName(), code)
	return refused
}

// coreClient is the client that the newer typed SDK is built on.
func coreClient(t *testing.T) *openapi.Client {
	return coreClientWith(t, &openapiutil.Config{AccessKeyId: &under.keyID, AccessKeySecret: &under.secret})
}

func coreClientWith(t *testing.T, c *openapiutil.Config) *openapi.Client {
	t.Helper()
	c.Endpoint, c.Protocol = &under.endpoint, dara.String("http")
	client, err := openapi.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

type object = map[string]any

// ask calls an action by POST as the newer SDK does: a nested object or list of
// objects is one JSON text, a list of texts is flattened.
func ask(c *openapi.Client, action string, params object) (object, error) {
	return askBy(c, "POST", action, params)
}

func askBy(c *openapi.Client, method, action string, params object) (object, error) {
	query := object{}
	for name, v := range params {
		switch v.(type) {
		case object, []object:
			b, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			query[name] = string(b)
		default:
			query[name] = v
		}
	}
	p := &openapiutil.Params{Action: dara.String(action), Version: dara.String(apiVersion), Protocol: dara.String("HTTP"),
		Pathname: dara.String("/"), Method: dara.String(method), AuthType: dara.String("AK"), Style: dara.String("RPC"),
		ReqBodyType: dara.String("formData"), BodyType: dara.String("json")}
	all, err := c.CallApi(p, &openapiutil.OpenApiRequest{Query: openapiutil.Query(query)}, &dara.RuntimeOptions{})
	if err != nil {
		return nil, err
	}
	body, _ := all["body"].(object)
	return body, nil
}

// core makes a call that has to succeed.
func core(t *testing.T, action string, params object) object {
	t.Helper()
	return coreBy(t, "POST", action, params)
}

func coreBy(t *testing.T, method, action string, params object) object {
	t.Helper()
	body, err := askBy(coreClient(t), method, action, params)
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
	id, _ := body["RequestId"].(string)
	isRequestID(t, action, id)
	note("core", action, "")
	return body
}

// coreRefused makes a call that has to be refused.
func coreRefused(t *testing.T, action string, params object, status int, code string) *tea.SDKError {
	t.Helper()
	_, err := ask(coreClient(t), action, params)
	refused := isRefused(t, action, err, status, code)
	note("core", action, code)
	return refused
}

func isRefused(t *testing.T, action string, err error, status int, code string) *tea.SDKError {
	t.Helper()
	var refused *tea.SDKError
	if !errors.As(err, &refused) {
		t.Fatalf("%s: got %v, want a *tea.SDKError with %d %s", action, err, status, code)
	}
	if got := tea.IntValue(refused.StatusCode); got != status || tea.StringValue(refused.Code) != code {
		t.Fatalf("%s: got %d %s %q, want %d %s", action, got, tea.StringValue(refused.Code), tea.StringValue(refused.Message), status, code)
	}
	var data struct{ RequestId, HostId string }
	if err := json.Unmarshal([]byte(tea.StringValue(refused.Data)), &data); err != nil {
		t.Errorf("%s: the error's data %q: %v", action, tea.StringValue(refused.Data), err)
	}
	isRequestID(t, action, data.RequestId)
	if m := tea.StringValue(refused.Message); !strings.HasSuffix(m, " request id: "+data.RequestId) {
		t.Errorf("%s: message %q does not end with the request id %q", action, m, data.RequestId)
	}
	return refused
}

var requestID = regexp.MustCompile(`^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$`)

func isRequestID(t *testing.T, action, id string) {
	t.Helper()
	if !requestID.MatchString(id) {
		t.Errorf("%s: RequestId %q is not a UUID in upper case", action, id)
	}
}

// fits checks an answer against the SDK's type for it: every value has the
// field's own type, and every name is one that the type has, letter by letter.
// (The SDK itself would take a number for a text, and skip what it does not know.)
func fits(t *testing.T, action string, body []byte, typ reflect.Type) {
	t.Helper()
	if err := json.Unmarshal(body, reflect.New(typ).Interface()); err != nil {
		t.Errorf("%s: %v in %s", action, err, body)
	}
	var all object
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatalf("%s: %v in %s", action, err, body)
	}
	id, _ := all["RequestId"].(string)
	isRequestID(t, action, id)
	delete(all, "RequestId") // QueryRtcAsrTasks has no field for it
	known(t, action, all, typ)
}

func known(t *testing.T, path string, v any, typ reflect.Type) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		if typ.Kind() == reflect.Slice {
			for _, e := range v {
				known(t, path, e, typ.Elem())
			}
		}
	case object:
		if typ.Kind() != reflect.Struct {
			return // Unmarshal has said so
		}
		names := map[string]reflect.Type{}
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			names[name] = typ.Field(i).Type
		}
		for name, e := range v {
			if names[name] == nil {
				t.Errorf("%s: the SDK's %s has no field %q", path, typ, name)
				continue
			}
			known(t, path+"."+name, e, names[name])
		}
	}
}
