package main

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// wrongKind finds the first value of a config file that is not of its key's kind, and
// says in words what the key wants: the decoder would say it in Go's. What the decoder
// says well itself is left to it: unknown and repeated keys, lists and mappings that are
// none, and files that are no YAML.
func wrongKind(file []byte) error {
	var root any
	if yaml.Unmarshal(file, &root) != nil {
		return nil
	}
	return kindOf(root, reflect.TypeFor[config](), "")
}

func kindOf(v any, want reflect.Type, at string) error {
	if v == nil { // an empty value
		return nil
	}
	wrong := ""
	switch want.Kind() {
	case reflect.Pointer:
		return kindOf(v, want.Elem(), at)
	case reflect.Struct, reflect.Map, reflect.Slice:
		return kindsIn(v, want, at)
	case reflect.Int64, reflect.Int:
		if want == reflect.TypeFor[time.Duration]() {
			wrong = wrongDuration(v)
		} else {
			wrong = wrongWhole(v)
		}
	case reflect.Float64:
		if _, err := strconv.ParseFloat(fmt.Sprint(v), 64); err != nil {
			wrong = quoteValue(v) + " is not a number" + without(v)
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			wrong = quoteValue(v) + " is not true or false"
		}
	case reflect.String:
		switch v.(type) {
		case []any, map[string]any:
			wrong = "is not a text"
		}
	}
	if wrong != "" {
		return fmt.Errorf("%s: %s", at, wrong)
	}
	return nil
}

// kindsIn looks at what is in a mapping or a list, in the order of the config's fields.
func kindsIn(v any, want reflect.Type, at string) error {
	switch in := v.(type) {
	case map[string]any:
		switch want.Kind() {
		case reflect.Struct:
			for field := range want.Fields() {
				name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
				if err := kindOf(in[name], field.Type, strings.TrimPrefix(at+"."+name, ".")); name != "" && err != nil {
					return err
				}
			}
		case reflect.Map:
			for _, name := range slices.Sorted(maps.Keys(in)) {
				if err := kindOf(in[name], want.Elem(), at+"."+name); err != nil {
					return err
				}
			}
		}
	case []any:
		if want.Kind() != reflect.Slice {
			return nil
		}
		for i, one := range in {
			if err := kindOf(one, want.Elem(), fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

var days = regexp.MustCompile(`^([0-9]{1,5})\s*d(ays?)?$`)

// wrongDuration says what is wrong with a duration; "" for nothing.
func wrongDuration(v any) string {
	const such = "is not a duration such as 500ms, 5s, 1m30s or 72h"
	text, isText := v.(string)
	if !isText {
		if _, err := strconv.ParseFloat(fmt.Sprint(v), 64); err != nil {
			return quoteValue(v) + " " + such
		}
		return fmt.Sprintf("%v has no unit; write %vs for seconds, or %vm, or %vh", v, v, v, v)
	}
	if _, err := time.ParseDuration(text); err == nil {
		return ""
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return wrongDuration(any(yamlNumber(text)))
	}
	if m := days.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1]) // digits
		return fmt.Sprintf("%q has days, and hours are the largest unit; write %dh", text, 24*n)
	}
	return quoteValue(text) + " " + such
}

// yamlNumber is a number that stood in quotes.
type yamlNumber string

// wrongWhole says what is wrong with a whole number; "" for nothing. The decoder would
// cut a fraction off.
func wrongWhole(v any) string {
	n, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	if _, other := strconv.ParseInt(fmt.Sprint(v), 0, 64); other == nil || err == nil && n == math.Trunc(n) && math.Abs(n) < 1<<53 {
		return ""
	}
	return quoteValue(v) + " is not a whole number" + without(v)
}

var leading = regexp.MustCompile(`^([0-9]+)\s*[A-Za-z%]+$`)

// without says what a number is without its unit, which is in the key's name.
func without(v any) string {
	if m := leading.FindStringSubmatch(fmt.Sprint(v)); m != nil {
		return "; write " + m[1] + " without a unit"
	}
	return ""
}

// quoteValue shows a value of a config file, shortened.
func quoteValue(v any) string {
	switch one := v.(type) {
	case string:
		return fmt.Sprintf("%.64q", one)
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	}
	return fmt.Sprint(v) // a number or a truth value
}
