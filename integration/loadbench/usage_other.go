//go:build !unix

package main

import (
	"errors"
	"time"
)

func processorTime() (time.Duration, error) {
	return 0, errors.New("this system has no getrusage: run loadbench on Linux, macOS or a BSD")
}
