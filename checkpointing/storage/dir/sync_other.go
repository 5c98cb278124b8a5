//go:build !unix

package dir

// syncFolder does nothing: elsewhere folders cannot be opened, and names are as durable as the system makes them.
func syncFolder(string) error { return nil }
