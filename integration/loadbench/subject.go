package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// patience is how long anything that should take milliseconds may take.
const patience = 20 * time.Second

// subject is a gateway as the driver sees it.
type subject struct {
	kind        kind
	child       *child
	caddyfile   string
	address     string // host:port of the site
	admin       string // host:port
	connections []*connection
}

// ready waits until the configuration that the gateway was started with runs.
func (g *subject) ready() error { return g.child.answer(order{Do: "load"}, nil) }

func (g *subject) connect(ctx context.Context, n int) error {
	for range n {
		c, err := dial(ctx, g.address)
		if err != nil {
			return err
		}
		g.connections = append(g.connections, c)
	}
	return nil
}

func (g *subject) stop() error {
	for _, c := range g.connections {
		_ = c.Close()
	}
	return g.child.stop()
}

// drive sends requests on all connections at once, for some time or until the tokens come to an end, and returns how
// long each took.
func (g *subject) drive(length time.Duration, next func() (token, bool)) ([]time.Duration, error) {
	var group errgroup.Group
	took := make([][]time.Duration, len(g.connections))
	end := time.Now().Add(length)
	for i, c := range g.connections {
		group.Go(func() error {
			for t, ok := next(); ok; t, ok = next() {
				began := time.Now()
				if err := c.get("", t); err != nil {
					return fmt.Errorf("%s: %w", g.kind, err)
				}
				answered := time.Now()
				if took[i] = append(took[i], answered.Sub(began)); answered.After(end) {
					break
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return slices.Concat(took...), err
}

// connection is one connection to a gateway, with one request at a time.
type connection struct {
	net.Conn
	reader  *bufio.Reader
	request []byte
	host    string
}

// dial waits for a gateway that does not listen yet.
func dial(ctx context.Context, address string) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			return &connection{Conn: conn, reader: bufio.NewReader(conn), host: address}, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(time.Millisecond):
		}
	}
}

// get asks for the user's own resource, below a prefix. Anything but 200 is an error: answers that refuse are fast, and
// would make any gateway look good.
func (c *connection) get(prefix string, t token) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	c.request = fmt.Appendf(c.request[:0], "GET %s/users/%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: loadbench\r\n"+
		"Accept: application/json\r\nAccept-Encoding: gzip\r\nAuthorization: Bearer %s\r\n\r\n", prefix, t.user, c.host, t.text)
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer is %s %s", response.Status, response.Header.Get("WWW-Authenticate"))
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
