package snapshot

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"braid/media"
)

// DefaultPattern is that of pictures whose template names none.
const DefaultPattern = "{domain}/{app}/{stream}/{time}"

// timeLayout sorts as time does, and stands in a URL and a file name as it is.
const timeLayout = "20060102T150405Z"

// noDomain stands for the origin's own domain, which has no name.
const noDomain = "origin"

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// CheckPattern refuses what makes no good names: a path of words of letters, digits
// and "-_.=", in which {domain}, {app} and {stream} stand for the stream's, {time} for
// the picture's time (20061231T235959Z, UTC) and {sequence} for its number since the
// stream began; at least one of the last two. ".jpg" is added.
func CheckPattern(pattern string) error {
	if pattern == "" {
		return nil
	}
	fail := func(why string) error {
		return fmt.Errorf("snapshot: name %.80q %s: %w", pattern, why, media.ErrInvalid)
	}
	if len(pattern) > 255 {
		return fail("is longer than 255 characters")
	}
	if !strings.Contains(pattern, "{time}") && !strings.Contains(pattern, "{sequence}") {
		return fail("has neither {time} nor {sequence}: every picture would be written over")
	}
	for _, p := range placeholder.FindAllString(pattern, -1) {
		switch p {
		case "{domain}", "{app}", "{stream}", "{time}", "{sequence}":
		default:
			return fail("has the placeholder " + p + "; there are {domain}, {app}, {stream}, {time} and {sequence}")
		}
	}
	plain := placeholder.ReplaceAllString(pattern, "x")
	for part := range strings.SplitSeq(plain, "/") {
		if part == "" || part == "." || part == ".." {
			return fail("has an empty part, or one that is a way up")
		}
	}
	if strings.Trim(plain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.=/") != "" {
		return fail("has characters other than A-Z a-z 0-9 - _ = . /")
	}
	return nil
}

// Latest is the name of a stream's newest picture.
func Latest(domain, app, stream string) string {
	return cmp.Or(domain, noDomain) + "/" + app + "/" + stream + "/latest.jpg"
}

// fill puts the stream's words into the pattern.
func (j *job) fill(t, sequence string) string {
	return strings.NewReplacer("{domain}", cmp.Or(j.Domain, noDomain), "{app}", j.App, "{stream}", j.Name,
		"{time}", t, "{sequence}", sequence).Replace(cmp.Or(j.Pattern, DefaultPattern)) + ".jpg"
}

// name is that of a picture in the history.
func (j *job) name(t time.Time) string {
	return j.fill(t.UTC().Format(timeLayout), fmt.Sprintf("%06d", j.number))
}

// prefix is what the names of all of the stream's pictures begin with.
func (j *job) prefix() string {
	const mark = "\x00"
	before, _, _ := strings.Cut(j.fill(mark, mark), mark)
	return before
}

// form matches the names that the pattern makes for this stream; its group is the
// sequence number.
func (j *job) form() *regexp.Regexp {
	const t, n = "\x00", "\x01"
	text := regexp.QuoteMeta(j.fill(t, n))
	text = strings.ReplaceAll(text, t, `\d{8}T\d{6}Z`)
	text = strings.Replace(text, n, `(\d{6,})`, 1)
	return regexp.MustCompile("^" + strings.ReplaceAll(text, n, `\d{6,}`) + "$")
}
