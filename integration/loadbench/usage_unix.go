//go:build unix

package main

import (
	"runtime"
	"syscall"
	"time"
)

// resources are the processor time that the operating system has accounted to this process so far, and the most bytes of
// memory that it had.
func resources() (cpu time.Duration, peak int64, err error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, 0, err
	}
	unit := int64(1 << 10)
	if runtime.GOOS == "darwin" {
		unit = 1
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), int64(usage.Maxrss) * unit, nil
}
