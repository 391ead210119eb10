//go:build !unix

package main

import (
	"errors"
	"time"
)

func resources() (cpu time.Duration, peak int64, err error) {
	return 0, 0, errors.New("this system has no getrusage: run loadbench on Linux, macOS or a BSD")
}
