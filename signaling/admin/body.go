package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"braid/media"
	"braid/signaling"
)

// object is a JSON object that is read field by field, each with its limits. It
// gathers all that is wrong; done tells it, and the fields that nobody read.
type object struct {
	prefix string // of field names: "" or "sei."
	left   map[string]json.RawMessage
	order  []string
	subs   []*object
	wrong  *signaling.Invalid
}

// json reads the body as an object. Names are compared exactly and may be there once.
func (c *call) json() (*object, error) {
	if len(c.body) == 0 {
		return nil, fmt.Errorf("the body is empty: a JSON object is needed: %w", media.ErrInvalid)
	}
	if !utf8.Valid(c.body) {
		return nil, fmt.Errorf("the body is not UTF-8: %w", media.ErrInvalid)
	}
	o := &object{wrong: &signaling.Invalid{}}
	if err := o.parse(c.body); err != nil {
		return nil, fmt.Errorf("the body: %w: %w", err, media.ErrInvalid)
	}
	return o, nil
}

func (o *object) parse(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	open, err := d.Token()
	if err != nil {
		return fmt.Errorf("it is not JSON: %w", err)
	}
	if open != json.Delim('{') {
		return fmt.Errorf("it is not a JSON object")
	}
	o.left = map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return fmt.Errorf("it is not JSON: %w", err)
		}
		name, _ := key.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("it is not JSON: %w", err)
		}
		if _, twice := o.left[name]; twice {
			return fmt.Errorf("%s is there twice", quote(o.prefix+name))
		}
		o.left[name] = value
		o.order = append(o.order, name)
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("it is not JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows the JSON object")
	}
	return nil
}

// refuse notes what is wrong with a field.
func (o *object) refuse(name, format string, args ...any) {
	*o.wrong = append(*o.wrong, signaling.FieldError{Field: o.prefix + name, Detail: fmt.Sprintf(format, args...)})
}

// done tells what was wrong, with the fields that are unknown.
func (o *object) done() error {
	o.unknown()
	if len(*o.wrong) > 0 {
		return *o.wrong
	}
	return nil
}

func (o *object) unknown() {
	for _, name := range o.order {
		if _, left := o.left[name]; left {
			o.refuse(short(name), "there is no such field")
		}
	}
	for _, sub := range o.subs {
		sub.unknown()
	}
}

// take removes a field; ok is false when it is not there. null is refused: a
// field that is not meant is left out.
func (o *object) take(name string) (value json.RawMessage, ok bool) {
	value, ok = o.left[name]
	delete(o.left, name)
	if ok && string(value) == "null" {
		o.refuse(name, "is null; leave it out instead")
		return nil, false
	}
	return value, ok
}

func (o *object) need(name string) {
	if _, there := o.left[name]; !there {
		o.refuse(name, "is missing")
	}
}

// str reads a text of min to max characters into to, and tells whether it was there.
func (o *object) str(name string, to *string, min, max int) bool {
	value, ok := o.take(name)
	if !ok {
		return false
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		o.refuse(name, "is not a string")
		return false
	}
	if err := text(s, min, max); err != "" {
		o.refuse(name, "%s", err)
		return false
	}
	*to = s
	return true
}

// text says what is wrong with a string, "" for nothing.
func text(s string, min, max int) string {
	n := utf8.RuneCountInString(s)
	switch {
	case n == 0 && min > 0:
		return fmt.Sprintf("is empty; it needs %d to %d characters", min, max)
	case n < min || n > max:
		return fmt.Sprintf("has %d characters; it may have %d to %d", n, min, max)
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }):
		return "has characters that cannot be printed"
	}
	return ""
}

// form reads a text of a given form; what says the form in words.
func (o *object) form(name string, to *string, form *regexp.Regexp, what string) bool {
	var s string
	if !o.str(name, &s, 0, 4096) {
		return false
	}
	if !form.MatchString(s) {
		o.refuse(name, "%s is not %s", quote(s), what)
		return false
	}
	*to = s
	return true
}

// oneOf reads one of a few words.
func (o *object) oneOf(name string, to *string, words ...string) bool {
	var s string
	if !o.str(name, &s, 0, 4096) {
		return false
	}
	for _, w := range words {
		if s == w {
			*to = s
			return true
		}
	}
	o.refuse(name, "%s is not one of %s", quote(s), strings.Join(words, ", "))
	return false
}

func (o *object) bool(name string, to *bool) bool {
	value, ok := o.take(name)
	if !ok {
		return false
	}
	if json.Unmarshal(value, to) != nil {
		o.refuse(name, "is not true or false")
		return false
	}
	return true
}

// int reads a whole number from min to max.
func (o *object) int(name string, to *int, min, max int) bool {
	value, ok := o.take(name)
	if !ok {
		return false
	}
	n, err := strconv.Atoi(string(value))
	switch {
	case err != nil:
		o.refuse(name, "is not a whole number")
		return false
	case n < min || n > max:
		o.refuse(name, "%d is not from %d to %d", n, min, max)
		return false
	}
	*to = n
	return true
}

// strs reads a list of at most items texts of 1 to max characters.
func (o *object) strs(name string, to *[]string, items, max int) bool {
	value, ok := o.take(name)
	if !ok {
		return false
	}
	var list []any
	if json.Unmarshal(value, &list) != nil {
		o.refuse(name, "is not a list")
		return false
	}
	if len(list) > items {
		o.refuse(name, "has %d items; it may have %d", len(list), items)
		return false
	}
	all := []string{}
	for i, v := range list {
		field := fmt.Sprintf("%s[%d]", name, i)
		s, isText := v.(string)
		if !isText {
			o.refuse(field, "is not a string")
			return false
		}
		if err := text(s, 1, max); err != "" {
			o.refuse(field, "%s", err)
			return false
		}
		all = append(all, s)
	}
	*to = all
	return true
}

// object reads an object inside; nil when it is not there.
func (o *object) object(name string) *object {
	value, ok := o.take(name)
	if !ok {
		return nil
	}
	sub := &object{prefix: o.prefix + name + ".", wrong: o.wrong}
	if err := sub.parse(value); err != nil {
		o.refuse(name, "%s", err)
		return nil
	}
	o.subs = append(o.subs, sub)
	return sub
}

// short is a client's text in an error: not longer than a line.
func short(s string) string {
	if r := []rune(s); len(r) > 64 {
		return string(r[:64]) + "…"
	}
	return s
}

func quote(s string) string { return strconv.Quote(short(s)) }
