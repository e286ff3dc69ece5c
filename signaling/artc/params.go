package artc

import (
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Bounds of the tree: braid's own. The deepest documented parameter,
// TranscodeParams.Layout.UserPanes.1.UserInfo.UserId, has depth 6.
const (
	maxDepth = 8
	maxNodes = 8192
	maxIndex = 1000
)

// common are the parameters of the transport; they never reach an action.
var common = []string{"Action", "Version", "Format", "AccessKeyId", "Timestamp", "Signature", "SignatureMethod",
	"SignatureVersion", "SignatureNonce", "SignatureType", "SecurityToken", "RegionId"}

// structured are the parameters whose value may be a JSON text. Others, such
// as CustomSei, keep their text even when it looks like JSON.
var structured = []string{"MultiStreamURL", "SeiParams", "SingleSubParams", "TranscodeParams",
	"RecordParams", "SubscribeParams", "StorageParams", "MixTranscodeParams", "MixLayoutParams"}

// parts is an object or a list that is still being put together from dotted names.
type parts map[string]any

// lists are the parameters with a list of texts, which arrives in parts or, as
// one documented sample shows it, as a JSON text.
var lists = []string{"Events", "Users", "TerminalIds", "NotifyFileUploadedFormat"}

// decode turns a request's parameters into one tree, whichever way nested
// objects are encoded (artc-api.md section 1, points 4 and 5): one JSON text
// per parameter, dotted names with 1-based indexes, or a flattened list. The
// tree's nodes are map[string]any, []any and string; numbers and booleans of
// JSON become their text; null is the same as absent, and an error in a list.
func decode(params map[string]string) (map[string]any, error) {
	d := &decoder{}
	root := parts{}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if slices.Contains(common, name) {
			continue
		}
		var value any = params[name]
		if slices.Contains(structured, name) || slices.Contains(lists, name) && strings.HasPrefix(params[name], "[") {
			var err error
			if value, err = d.text(name, params[name]); err != nil {
				return nil, err
			}
		}
		if err := d.insert(root, name, value); err != nil {
			return nil, err
		}
	}
	tree := make(map[string]any, len(root))
	for name, v := range root {
		v, err := d.join(name, v)
		if err != nil {
			return nil, err
		}
		tree[name] = v
	}
	return tree, nil
}

type decoder struct {
	nodes int
}

// grow counts one node more.
func (d *decoder) grow(path string) error {
	if d.nodes++; d.nodes > maxNodes {
		return invalidParam("%s: more than %d values in the request", short(path), maxNodes)
	}
	return nil
}

// insert puts a value at the place that its dotted name says.
func (d *decoder) insert(root parts, name string, value any) error {
	if value == nil {
		return nil
	}
	steps := strings.SplitN(name, ".", maxDepth+1)
	if len(steps) > maxDepth {
		return invalidParam("%s: deeper than %d levels", short(name), maxDepth)
	}
	at := root
	for i, step := range steps {
		if step == "" {
			return invalidParam("%s is not a parameter name", quote(name))
		}
		old, exists := at[step]
		if i == len(steps)-1 {
			if exists {
				return conflict(steps[:i+1])
			}
			at[step] = value
			return d.grow(name)
		}
		if !exists {
			if err := d.grow(name); err != nil {
				return err
			}
			old = parts{}
			at[step] = old
		}
		next, ok := old.(parts)
		if !ok {
			return conflict(steps[:i+1])
		}
		at = next
	}
	return nil
}

func conflict(steps []string) error {
	return invalidParam("%s is given both as a value and in parts", short(strings.Join(steps, ".")))
}

// join makes an object or a list of finished parts: a list when the names are indexes.
func (d *decoder) join(path string, v any) (any, error) {
	p, ok := v.(parts)
	if !ok {
		return v, nil
	}
	object := make(map[string]any, len(p))
	indexes := 0
	for _, name := range slices.Sorted(maps.Keys(p)) {
		v, err := d.join(path+"."+name, p[name])
		if err != nil {
			return nil, err
		}
		object[name] = v
		if name[0] >= '0' && name[0] <= '9' {
			indexes++
		}
	}
	if indexes == 0 {
		return object, nil
	}
	if len(object) > maxIndex {
		return nil, invalidParam("%s: more than %d entries", short(path), maxIndex)
	}
	list := make([]any, len(object))
	for i := range list {
		v, ok := object[strconv.Itoa(i+1)]
		if !ok {
			return nil, invalidParam("%s: the indexes are not 1 to %d", short(path), len(list))
		}
		list[i] = v
	}
	return list, nil
}

// text reads a structured parameter that is not in parts: a JSON object or
// list, or nothing.
func (d *decoder) text(name, s string) (any, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, invalidParam("%s is not a JSON text: %s", name, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, invalidParam("%s is not a JSON text: more follows its end", name)
	}
	return d.plain(name, v, 1)
}

// plain turns a decoded JSON value into a part of the tree.
func (d *decoder) plain(path string, v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, invalidParam("%s: deeper than %d levels", short(path), maxDepth)
	}
	if err := d.grow(path); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			next, err := d.plain(path+"."+name, v[name], depth+1)
			if err != nil {
				return nil, err
			}
			if next == nil {
				delete(v, name)
				continue
			}
			v[name] = next
		}
	case []any:
		if len(v) > maxIndex {
			return nil, invalidParam("%s: more than %d entries", short(path), maxIndex)
		}
		for i := range v {
			at := path + "." + strconv.Itoa(i+1)
			next, err := d.plain(at, v[i], depth+1)
			if err != nil {
				return nil, err
			}
			if next == nil {
				return nil, invalidParam("%s is null", short(at))
			}
			v[i] = next
		}
	}
	return v, nil
}
