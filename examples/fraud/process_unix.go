//go:build unix

package main

import "syscall"

// ownGroup keeps signals of the terminal away from a process.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
