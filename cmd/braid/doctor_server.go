package main

func (d *doctor) server(string) {}
