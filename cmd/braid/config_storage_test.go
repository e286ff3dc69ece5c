package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStorageConfig(t *testing.T) {
	const good = "storage: {dir: /srv/media, min_free_mb: 100, s3: {archive: {endpoint: 'https://s3.example.com', bucket: my-bucket, access_key: a, secret_key: s3cret, prefix: x/y}}}"
	for change, want := range map[string]string{
		"":                                 "",
		"min_free_mb: 100→min_free_mb: -1": "storage.min_free_mb: -1",
		"archive:→'an archive':":           `storage.s3: the name "an archive"`,
		"https://s3.example.com→s3.example.com":              "storage.s3.archive.endpoint",
		"https://s3.example.com→https://s3.example.com/path": "storage.s3.archive.endpoint",
		"my-bucket→My_Bucket":                                "storage.s3.archive.bucket",
		"secret_key: s3cret→secret_key: ''":                  "storage.s3.archive.access_key and secret_key",
		"prefix: x/y→prefix: ../y":                           "storage.s3.archive.prefix",
	} {
		text := good
		if old, new, ok := strings.Cut(change, "→"); ok {
			if text = strings.Replace(good, old, new, 1); text == good {
				t.Fatalf("%q is not there", old)
			}
		}
		name := filepath.Join(t.TempDir(), "braid.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readConfig(name)
		switch {
		case want == "" && (err != nil || c.mediaDir() != "/srv/media" || c.Storage.S3["archive"].Prefix != "x/y"):
			t.Errorf("got %+v, %v", c.Storage, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret")):
			t.Errorf("%s: got %v, want %q", change, err, want)
		}
	}
}
