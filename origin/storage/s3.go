package storage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"braid/media"
)

// S3Config says where a bucket is and who may write to it.
type S3Config struct {
	Endpoint  string // scheme and host, such as https://s3.eu-central-1.amazonaws.com
	Bucket    string // it must be there already
	Region    string // "" asks the service, or is us-east-1
	AccessKey string
	SecretKey string
	Prefix    string // goes before each name, with a slash between; "" for none
	PathStyle bool   // the bucket is in the path, not in the host's name: most services other than Amazon's

	Roots *x509.CertPool // verify the service's certificate; nil: the system's
}

// S3 is a Storage in a bucket.
type S3 struct {
	client         *minio.Client
	transport      *http.Transport
	bucket, prefix string
}

// partSize is how large the pieces are in which a long file is sent: the memory
// of one upload, and 10,000 of them, the most there may be, make 160 GB.
const partSize = 16 << 20

var bucketForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Check names the first field that cannot be used.
func (c S3Config) Check() error {
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
		return fmt.Errorf("endpoint: %q is not http[s]://host[:port]: %w", c.Endpoint, media.ErrInvalid)
	case !bucketForm.MatchString(c.Bucket):
		return fmt.Errorf("bucket: %q is not 3 to 63 characters of a-z 0-9 . -: %w", c.Bucket, media.ErrInvalid)
	case c.AccessKey == "" || c.SecretKey == "":
		return fmt.Errorf("access_key and secret_key are both needed: %w", media.ErrInvalid)
	}
	if c.Prefix != "" {
		if err := CheckName(c.Prefix); err != nil {
			return fmt.Errorf("prefix: %w", err)
		}
	}
	return nil
}

// NewS3 is a bucket; it asks nothing of the service yet.
func NewS3(c S3Config) (*S3, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	u, _ := url.Parse(c.Endpoint) // checked
	lookup := minio.BucketLookupAuto
	if c.PathStyle {
		lookup = minio.BucketLookupPath
	}
	tr := transport(c.Roots)
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""), Secure: u.Scheme == "https",
		Region: c.Region, BucketLookup: lookup, Transport: tr,
		MaxRetries: 3, // within one call; whoever puts tries again for longer
	})
	if err != nil {
		return nil, fmt.Errorf("storage: S3 at %s: %w", u.Host, err)
	}
	s := &S3{client: client, transport: tr, bucket: c.Bucket}
	if c.Prefix != "" {
		s.prefix = c.Prefix + "/"
	}
	return s, nil
}

// transport gives up on a service that does not answer; the default one waits.
func transport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ResponseHeaderTimeout: time.Minute,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   4,
		DisableCompression:    true, // a range must be what was asked for
	}
}

// Close ends idle connections.
func (s *S3) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Put uploads, in parts when it is long. What a crash leaves of an unfinished
// upload is not an object; buckets are given a rule that clears such parts.
func (s *S3) Put(ctx context.Context, name string, r io.Reader, size int64, contentType string) error {
	if err := s.check(name); err != nil {
		return err
	}
	if err := s.put(ctx, name, r, size, minio.PutObjectOptions{ContentType: contentType}); err != nil {
		return s.fail("put", name, err)
	}
	return nil
}

// fileID is the object's metadata that says whose it is.
const fileID = "Braid-File"

// Create is Put for a name that nothing else has: media.ErrExists when there is an
// object that was not created with the same id. Where the service knows
// If-None-Match, of an upload in parts too, that holds for whoever does the same at
// the same time.
func (s *S3) Create(ctx context.Context, name, id string, r io.ReadSeeker, size int64, contentType string) error {
	if err := s.check(name); err != nil {
		return err
	}
	if there, err := s.taken(ctx, name, id); err != nil || there {
		return err
	}
	opts := minio.PutObjectOptions{ContentType: contentType, UserMetadata: map[string]string{fileID: id}}
	plain := opts
	opts.SetMatchETagExcept("*")
	err := s.put(ctx, name, r, size, opts)
	switch minio.ToErrorResponse(err).StatusCode {
	case http.StatusPreconditionFailed, http.StatusConflict:
		if there, err := s.taken(ctx, name, id); err != nil || there {
			return err
		}
	case http.StatusNotImplemented:
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return err
		}
		err = s.put(ctx, name, r, size, plain)
	}
	if err != nil {
		return s.fail("create", name, err)
	}
	return nil
}

// taken tells whether the object with this id is there; another one is media.ErrExists.
func (s *S3) taken(ctx context.Context, name, id string) (bool, error) {
	info, err := s.client.StatObject(ctx, s.bucket, s.prefix+name, minio.StatObjectOptions{})
	if minio.ToErrorResponse(err).StatusCode == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, s.fail("look at", name, err)
	}
	for key, value := range info.UserMetadata { // services write keys as they like
		if strings.EqualFold(key, fileID) && value == id {
			return true, nil
		}
	}
	return false, fmt.Errorf("storage: create %s in bucket %s: %w", name, s.bucket, media.ErrExists)
}

func (s *S3) put(ctx context.Context, name string, r io.Reader, size int64, opts minio.PutObjectOptions) error {
	body := io.LimitReader(r, size)
	if at, ok := r.(io.ReaderAt); ok { // what can be read again is not copied into memory
		body = io.NewSectionReader(at, 0, size)
	}
	opts.PartSize, opts.NumThreads = partSize, 1
	info, err := s.client.PutObject(ctx, s.bucket, s.prefix+name, body, size, opts)
	if err == nil && info.Size != size {
		err = fmt.Errorf("%d of %d bytes are there", info.Size, size)
	}
	return err
}

// Open asks for the object's size; the bytes are fetched as they are read.
func (s *S3) Open(ctx context.Context, name string) (Reader, Object, error) {
	if err := s.check(name); err != nil {
		return nil, Object{}, err
	}
	o, err := s.client.GetObject(ctx, s.bucket, s.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, Object{}, s.fail("open", name, err)
	}
	info, err := o.Stat()
	if err != nil {
		o.Close()
		return nil, Object{}, s.fail("open", name, err)
	}
	return o, Object{Name: name, Size: info.Size, Modified: info.LastModified}, nil
}

// Delete removes the object's newest version, as the bucket is set up.
func (s *S3) Delete(ctx context.Context, name string) error {
	if err := s.check(name); err != nil {
		return err
	}
	err := s.client.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{})
	if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchKey {
		return s.fail("delete", name, err)
	}
	return nil
}

// List gives the objects of the bucket below the prefix.
func (s *S3) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		for o := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}) {
			if o.Err != nil {
				yield(Object{}, s.fail("list", prefix, o.Err))
				return
			}
			if !yield(Object{Name: strings.TrimPrefix(o.Key, s.prefix), Size: o.Size, Modified: o.LastModified}, nil) {
				return
			}
		}
	}
}

func (s *S3) check(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if len(s.prefix)+len(name) > maxName {
		return fmt.Errorf("storage: name %.80q is longer than 1024 characters with the prefix: %w", name, media.ErrInvalid)
	}
	return nil
}

// fail tells what the service said; keys are never part of it.
func (s *S3) fail(what, name string, err error) error {
	var r minio.ErrorResponse
	if errors.As(err, &r) && (r.Code == minio.NoSuchKey || what == "open" && r.StatusCode == http.StatusNotFound && r.Code != minio.NoSuchBucket) {
		return fmt.Errorf("storage: %s %s in bucket %s: %w", what, name, s.bucket, media.ErrNotFound)
	}
	return fmt.Errorf("storage: %s %s in bucket %s: %w", what, name, s.bucket, err)
}
