package main

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// originConfig is the origin's own streaming domain: hosts that no other one names.
type originConfig struct {
	AuthKey  string        `yaml:"auth_key"` // "": nothing is signed
	Validity time.Duration `yaml:"validity"` // of a signature
	Open     bool          `yaml:"open"`     // unsigned, even when another domain has a key
}

var authKeyForm = regexp.MustCompile(`^([A-Za-z0-9]{6,128})?$`) // as a domain's

func (c *originConfig) check() error {
	switch {
	case !authKeyForm.MatchString(c.AuthKey):
		return errors.New("origin.auth_key: is not 6 to 128 letters and digits")
	case c.AuthKey != "" && c.Open:
		return errors.New("origin.open: excludes origin.auth_key")
	case c.Validity < time.Second || c.Validity > 366*24*time.Hour:
		return fmt.Errorf("origin.validity: %v is not from 1s to 8784h", c.Validity)
	}
	return nil
}
