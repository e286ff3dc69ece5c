//go:build !linux

package udp

func one(system) {}
