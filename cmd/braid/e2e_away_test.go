package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"braid/store/storetest"
)

// TestDatabaseAway: while PostgreSQL is not reached reads and changes are refused for
// now, in words that a person and an SDK act on; then all goes on by itself.
func TestDatabaseAway(t *testing.T) {
	gate := storetest.NewGate(t, storetest.Postgres(t))
	s := startBraid(t, func(c *config) { c.Store.DSN = gate.DSN })
	s.rest("GET", "/v1/applications/"+testApp, nil, nil)
	s.call("ListRtcMPUTaskDetail", map[string]any{"PageNo": "1", "PageSize": "10"})
	gate.Shut()
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{"GET", "/v1/applications", nil},
		{"GET", "/v1/applications/" + testApp, nil},
		{"POST", "/v1/applications", map[string]any{"name": "another"}},
		{"GET", "/console/session", nil},
	} {
		status, body, h := s.tryREST(c.method, c.path, c.body)
		if status != http.StatusServiceUnavailable || h.Get("Retry-After") == "" || !strings.Contains(string(body), "database cannot be reached") {
			t.Errorf("%s %s: got %d %s, Retry-After %q; want 503 in words", c.method, c.path, status, body, h.Get("Retry-After"))
		}
	}
	for action, params := range map[string]map[string]any{
		"StartLiveMPUTask": singleParams("one", "room", "ann", s.rtmp+"/one"), "DescribeRtcMPUEventSub": {"AppId": testApp},
	} {
		if a := s.do(s.rpc(action, params)); a.status != http.StatusServiceUnavailable || a.fields["Code"] != "ServiceUnavailable" {
			t.Errorf("%s: got %d %v", action, a.status, a.fields)
		}
	}
	gate.Open()
	eventually(t, 20*time.Second, "the database is asked again", func() (bool, string) {
		status, body, _ := s.tryREST("POST", "/v1/applications", map[string]any{"name": "another"})
		return status == http.StatusCreated, string(body)
	})
}
