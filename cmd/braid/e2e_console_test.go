package main

import (
	"testing"
	"time"
)

// TestConsole does what the seed describes, as a person would, by the names
// that the pages show.
func TestConsole(t *testing.T) {
	s := startBraid(t)
	c := startChrome(t, clip{ID: 8, W: 640, H: 360, FPS: 30, Seconds: 20, Speech: adaSays}.make(t))
	p := c.open("console", s.http+"/console/")
	p.fill("Admin token", adminToken)
	p.press("Sign in")
	p.reads("tests")
	p.shot("console-applications")

	p.press("Create Application")
	p.fill("Instance Name", "Voice chat, Asia")
	p.fill("AppID", "voice")
	p.shot("console-create")
	p.press("Create")
	p.reads("Show keys")
	p.press("Show keys")
	p.reads("Signing key")
	p.shot("console-application")

	p.press("Stream Relay")
	p.reads("SEI Insertion")
	p.tick("Stream Relay")
	p.fill("AppName", "a b")
	p.reads("AppName may have letters")
	p.fill("AppName", "show")
	p.tick("Insert SEI at Regular Intervals")
	p.fill("Interval", "999")
	p.reads("from 1,000 to 5,000 ms")
	p.fill("Interval", "2000")
	p.press("Save")
	p.reads("It applies at once")
	p.shot("console-relay")
	p.until(5*time.Second, "ends", "true")
}
