package main

import "braid/mixer/slate"

// slate is what an application's mixes show when nobody is in them.
func (s *server) slate(app string, width, height int) ([]byte, error) {
	words := ""
	if a, ok := s.registry.application(app); ok {
		words = a.Name
	}
	return slate.PNG(words, width, height)
}
