//go:build tools

// Package s3 pins the S3 server that origin/record's TestS3 uploads to.
package s3

import _ "github.com/versity/versitygw/cmd/versitygw"
