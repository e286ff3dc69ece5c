package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"braid/media"
	"braid/origin/storage"
)

// storageConfig says where recordings and pictures are kept.
type storageConfig struct {
	Dir     string              `yaml:"dir"`         // "": media in DataDir
	MinFree int64               `yaml:"min_free_mb"` // left free by recordings; 0: 64, at most a twentieth of the disk
	S3      map[string]s3Config `yaml:"s3"`          // by the name that templates use
}

type s3Config struct {
	Endpoint  string `yaml:"endpoint"`
	Bucket    string `yaml:"bucket"`
	Region    string `yaml:"region"`
	AccessKey string `yaml:"access_key"`
	SecretKey string `yaml:"secret_key"`
	Prefix    string `yaml:"prefix"`
	PathStyle bool   `yaml:"path_style"`
}

func (c s3Config) storage() storage.S3Config {
	return storage.S3Config{Endpoint: c.Endpoint, Bucket: c.Bucket, Region: c.Region, AccessKey: c.AccessKey, SecretKey: c.SecretKey,
		Prefix: c.Prefix, PathStyle: c.PathStyle}
}

func (c *config) checkStorage() error {
	if c.Storage.MinFree < 0 || c.Storage.MinFree > 1<<40 {
		return fmt.Errorf("storage.min_free_mb: %d is not from 0 to %d", c.Storage.MinFree, int64(1)<<40)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Storage.S3)) {
		if !media.IsID(name, media.MaxID) {
			return fmt.Errorf("storage.s3: the name %q is not 1 to 64 characters of A-Za-z0-9_-", name)
		}
		if err := c.Storage.S3[name].storage().Check(); err != nil {
			return fmt.Errorf("storage.s3.%s.%s", name, strings.TrimSuffix(err.Error(), ": invalid"))
		}
	}
	return nil
}

// mediaDir is where files are kept on this machine: recordings and snapshots have
// a directory each in it.
func (c *config) mediaDir() string {
	if c.Storage.Dir != "" {
		return c.Storage.Dir
	}
	return filepath.Join(c.DataDir, "media")
}

// openStorages are the S3 storages by name. They ask nothing of the services yet.
func (c *config) openStorages() (map[string]storage.Storage, error) {
	all := make(map[string]storage.Storage)
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	for name, s := range c.Storage.S3 {
		of := s.storage()
		of.Roots = roots
		s3, err := storage.NewS3(of)
		if err != nil {
			return nil, fmt.Errorf("storage.s3.%s: %w", name, err)
		}
		all[name] = s3
	}
	return all, nil
}
