package oktatest

import (
	"math/rand/v2"
	"net"
	"strconv"
)

// FreeAddress returns an address on loopback that nobody listens on, for a server that starts later or comes back after
// it was down. It stays out of the range that systems take the ports of outgoing connections from, so that none of
// those is in the way then.
func FreeAddress() (string, error) {
	var last error
	for range 100 {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000))))
		if err != nil {
			last = err
			continue
		}
		return listener.Addr().String(), listener.Close()
	}
	return "", last
}
