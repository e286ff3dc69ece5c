package admin

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// spec is openapi.json, read to be compared with.
type spec struct {
	doc      map[string]any
	compiler *jsonschema.Compiler

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema
}

const specURL = "http://braid/openapi.json"

var document = func() func(testing.TB) *spec { // read once: it never changes
	read := sync.OnceValues(readSpec)
	return func(t testing.TB) *spec {
		t.Helper()
		s, err := read()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}()

func readSpec() (*spec, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapi))
	if err != nil {
		return nil, err
	}
	s := &spec{doc: doc.(map[string]any), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	s.compiler.DefaultDraft(jsonschema.Draft2020)
	s.compiler.AssertFormat()
	return s, s.compiler.AddResource(specURL, doc)
}

// schema compiles the schema at a JSON pointer.
func (s *spec) schema(t testing.TB, pointer string) *jsonschema.Schema {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.schemas[pointer] == nil {
		c, err := s.compiler.Compile(specURL + pointer)
		if err != nil {
			t.Fatalf("openapi.json: %v", err)
		}
		s.schemas[pointer] = c
	}
	return s.schemas[pointer]
}

// get walks by keys; a $ref on the way is followed.
func (s *spec) get(v any, keys ...string) (any, string) {
	pointer := ""
	for _, key := range keys {
		m, _ := v.(map[string]any)
		v = m[key]
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		if in, ok := v.(map[string]any); ok {
			if ref, ok := in["$ref"].(string); ok && !strings.Contains(ref, "/schemas/") {
				v, _ = s.get(any(s.doc), strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
				pointer = ref[1:]
			}
		}
	}
	return v, "#" + pointer
}

// operation finds what the document says of a request; "" when it says nothing.
func (s *spec) operation(method, path string) (template string) {
	for _, template := range slices.Sorted(maps.Keys(s.doc["paths"].(map[string]any))) {
		if _, ok := match(strings.TrimPrefix(template, "/v1/"), strings.Split(strings.TrimPrefix(path, "/v1/"), "/")); !ok {
			continue
		}
		if op, _ := s.get(s.doc, "paths", template, strings.ToLower(method)); op != nil {
			return template
		}
	}
	return ""
}

// check compares a request and its answer with the document: the status must be
// there, the body and what was accepted must have the form that it says, and
// headers that it promises must be set.
func (s *spec) check(t testing.TB, req *http.Request, sent []byte, a answer) {
	t.Helper()
	template := s.operation(req.Method, req.URL.EscapedPath())
	if template == "" {
		return // 404, 405, or HEAD
	}
	base := []string{"paths", template, strings.ToLower(req.Method)}
	status := strconv.Itoa(a.status)
	res, _ := s.get(s.doc, append(base, "responses", status)...)
	if res == nil {
		t.Errorf("%s: openapi.json does not know its answer %s", a.what, status)
		return
	}
	headers, _ := s.get(res, "headers")
	if m, ok := headers.(map[string]any); ok {
		for name := range m {
			if a.header.Get(name) == "" && name != "Idempotency-Replayed" {
				t.Errorf("%s: openapi.json promises the header %s with %s", a.what, name, status)
			}
		}
	}
	_, at := s.get(s.doc, append(base, "responses", status)...)
	content, _ := s.get(res, "content")
	if content == nil {
		if a.text != "" {
			t.Errorf("%s: got a body with %s, and openapi.json has none: %s", a.what, status, a.text)
		}
		return
	}
	kind := a.header.Get("Content-Type")
	if c, _ := s.get(content, kind); c != nil && kind == "image/jpeg" {
		return // not JSON
	}
	if c, _ := s.get(content, kind, "schema"); c == nil {
		t.Errorf("%s: openapi.json has no %q with %s", a.what, kind, status)
		return
	}
	s.valid(t, a.what+": the answer "+status, at+"/content/"+strings.ReplaceAll(kind, "/", "~1")+"/schema", []byte(a.text))
	if body, _ := s.get(s.doc, append(base, "requestBody")...); body != nil && a.status < 300 {
		_, at := s.get(s.doc, append(base, "requestBody", "content", "application/json", "schema")...)
		s.valid(t, a.what+": what was accepted", at, sent)
	}
}

func (s *spec) valid(t testing.TB, what, pointer string, text []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = s.schema(t, pointer).Validate(v)
	}
	if err != nil {
		t.Errorf("%s is not as openapi.json says: %v\n%s", what, err, text)
	}
}

// Every route is in the document, and the document has no other.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	s := document(t)
	want := map[string]bool{"GET " + specPath: true}
	for _, rt := range New(Config{}).routes {
		want[rt.method+" /v1/"+rt.pattern] = true
		op, _ := s.get(s.doc, "paths", "/v1/"+rt.pattern, strings.ToLower(rt.method))
		body, _ := s.get(op, "requestBody")
		if (body != nil) != (rt.body == needBody) {
			t.Errorf("%s /v1/%s: has it a body? The route and openapi.json differ", rt.method, rt.pattern)
		}
	}
	ids := map[string]bool{}
	for path, item := range s.doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			name := strings.ToUpper(method) + " " + path
			if !want[name] {
				t.Errorf("openapi.json has %s, the server has not", name)
			}
			delete(want, name)
			id, _ := op.(map[string]any)["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s: its operationId %q is not there or not its own", name, id)
			}
			ids[id] = true
		}
	}
	for name := range want {
		t.Errorf("the server has %s, openapi.json has not", name)
	}
}

// Every reference leads somewhere, every schema is one, every path parameter is
// declared, and every component is used.
func TestOpenAPIIsWhole(t *testing.T) {
	s := document(t)
	used := map[string]bool{}
	var walk func(v any, at string)
	walk = func(v any, at string) {
		switch in := v.(type) {
		case map[string]any:
			if ref, ok := in["$ref"].(string); ok {
				used[ref] = true
				if found, _ := s.get(any(s.doc), strings.Split(strings.TrimPrefix(ref, "#/"), "/")...); found == nil {
					t.Errorf("%s: %s leads nowhere", at, ref)
				}
			}
			for k, v := range in {
				walk(v, at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(k))
				if k == "schema" {
					s.schema(t, at+"/schema")
				}
			}
		case []any:
			for i, v := range in {
				walk(v, at+"/"+strconv.Itoa(i))
			}
		}
	}
	walk(s.doc, "#")
	for _, kind := range []string{"schemas", "parameters", "headers", "responses"} {
		all, _ := s.get(s.doc, "components", kind)
		for name := range all.(map[string]any) {
			if kind == "schemas" {
				s.schema(t, "#/components/schemas/"+name)
			}
			if !used["#/components/"+kind+"/"+name] {
				t.Errorf("nobody uses #/components/%s/%s", kind, name)
			}
		}
	}
	for path, item := range s.doc["paths"].(map[string]any) {
		declared := map[string]bool{}
		params, _ := item.(map[string]any)["parameters"].([]any)
		for _, p := range params {
			_, name, _ := strings.Cut(p.(map[string]any)["$ref"].(string), "/parameters/")
			declared["{"+name+"}"] = true
		}
		for part := range strings.SplitSeq(path, "/") {
			if strings.HasPrefix(part, "{") && !declared[part] {
				t.Errorf("%s: %s is not declared", path, part)
			}
		}
	}
}

func TestOpenAPIIsServedToEveryone(t *testing.T) {
	s := start(t)
	req, _ := http.NewRequest("GET", s.url+specPath, nil)
	a := s.send(req).expect(200)
	if a.str("openapi") != "3.1.0" || a.text != string(openapi) {
		t.Errorf("got another document: %.80s", a.text)
	}
	req, _ = http.NewRequest("POST", s.url+specPath, nil)
	s.send(req).expect(401)
}
