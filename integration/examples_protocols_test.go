package integration

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// speak puts a backend of another protocol in the place of the echo at an address.
func (e *example) speak(address, protocol string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := e.replaceBackend(address, listener.Addr().String()); err != nil {
		return err
	}
	if protocol == "grpc" {
		server := grpc.NewServer(grpc.UnknownServiceHandler(answerGRPC))
		go server.Serve(listener) //nolint:errcheck // it ends with Stop
		e.t.Cleanup(server.Stop)
		return nil
	}
	server := &http.Server{Handler: http.HandlerFunc(answerWebSocket), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener) //nolint:errcheck // it ends with Close
	e.t.Cleanup(func() { _ = server.Close() })
	return nil
}

// replaceBackend lets the configuration dial another address in the place of a backend's.
func (e *example) replaceBackend(address, by string) error {
	if !slices.Contains(slices.Collect(maps.Values(e.backends)), address) {
		return fmt.Errorf("the configuration has no backend %s", address)
	}
	for _, name := range []string{"Caddyfile", "config.json"} {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if err := os.WriteFile(name, bytes.ReplaceAll(text, []byte(address), []byte(by)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// runProgram builds the program in a folder of the example, and runs it in the place of the echo at an address. The
// program takes -listen, and its first line ends with the address that it listens on.
func (e *example) runProgram(address, folder string) error {
	program := filepath.Join(e.t.TempDir(), "program")
	build := exec.CommandContext(e.t.Context(), "go", "build", "-o", program, ".")
	build.Dir = filepath.Join(e.from, folder)
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	run := exec.Command(program, "-listen", "127.0.0.1:0")
	output, err := run.StdoutPipe()
	if err != nil {
		return err
	}
	if err := run.Start(); err != nil {
		return err
	}
	e.t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the program does not say where it listens: %w", err)
	}
	return e.replaceBackend(address, strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]))
}

// answerGRPC answers any method, one message for each, with the user that the gateway told it about. gRPC's health
// messages serve as messages, since they need no code of their own.
func answerGRPC(_ any, stream grpc.ServerStream) error {
	var message grpc_health_v1.HealthCheckRequest
	for {
		if err := stream.RecvMsg(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		told, _ := metadata.FromIncomingContext(stream.Context())
		message.Service += " from " + strings.Join(told.Get("x-user-id"), ",")
		stream.SetTrailer(metadata.Pairs("x-authorization", strings.Join(told.Get("authorization"), ",")))
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

// sendGRPC sends two messages through one stream, and waits for the answer of each before the next.
func (q *scriptRequest) sendGRPC(e *example, header http.Header) (*scriptAnswer, error) {
	_, host := q.url(e)
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(host, "443"),
		grpc.WithTransportCredentials(credentials.NewTLS(e.trust())), grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return (&dialer{e}).dial(ctx, "tcp", address)
		}))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx := e.t.Context()
	for name, values := range header {
		for _, value := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(name), value)
		}
	}
	a := &scriptAnswer{header: make(http.Header)}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, q.path)
	if err != nil {
		return nil, err
	}
	for n := range 2 {
		message := grpc_health_v1.HealthCheckRequest{Service: fmt.Sprint("message ", n)}
		if err = stream.SendMsg(&message); err != nil && !errors.Is(err, io.EOF) { // EOF: RecvMsg knows why
			break
		}
		if err = stream.RecvMsg(&message); err != nil {
			break
		}
		a.body += message.Service + "\n"
	}
	if err == nil {
		_ = stream.CloseSend()
		if err = stream.RecvMsg(new(grpc_health_v1.HealthCheckRequest)); errors.Is(err, io.EOF) {
			err = nil
		}
		if leaked := strings.Join(stream.Trailer().Get("x-authorization"), ""); leaked != "" {
			return nil, errors.New("the backend got the token")
		}
	}
	if a.status = status.Code(err).String(); status.Code(err) == codes.Unknown {
		return nil, err
	}
	return a, nil
}

// answerWebSocket upgrades, tells who the user is, and returns each text.
func answerWebSocket(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Cookie") != "" {
		http.Error(w, "want an upgrade without cookies", http.StatusBadRequest)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		webSocketAccept(r.Header.Get("Sec-WebSocket-Key")))
	if buffered.Flush() != nil {
		return
	}
	for {
		text, err := readFrame(buffered.Reader)
		if err != nil {
			return
		}
		answer := text + " from " + r.Header.Get("X-User-Id")
		buffered.Write([]byte{0x81, byte(len(answer))})
		buffered.WriteString(answer)
		if buffered.Flush() != nil {
			return
		}
	}
}

// webSocketAccept is RFC 6455 §4.2.2.
func webSocketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// readFrame reads a short text frame (RFC 6455 §5.2), masked or not.
func readFrame(in *bufio.Reader) (string, error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return "", err
	}
	size, masked := int(head[1]&0x7F), head[1]&0x80 != 0
	if head[0] != 0x81 || size > 125 {
		return "", errors.New("not a short text frame")
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(in, mask[:]); err != nil {
			return "", err
		}
	}
	text := make([]byte, size)
	_, err := io.ReadFull(in, text)
	for i := range text {
		text[i] ^= mask[i%4]
	}
	return string(text), err
}

// sendWebSocket upgrades a connection and, when that is allowed, exchanges a text.
func (q *scriptRequest) sendWebSocket(e *example, header http.Header) (*scriptAnswer, error) {
	scheme, host := q.url(e)
	if scheme != "https" {
		return nil, errors.New("WEBSOCKET needs port 443")
	}
	settings := e.trust()
	settings.ServerName = host
	raw, err := (&dialer{e}).dial(e.t.Context(), "tcp", net.JoinHostPort(host, "443"))
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, settings)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	r, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, "https://"+host+q.path, nil)
	if err != nil {
		return nil, err
	}
	r.Header = header
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", "websocket")
	header.Set("Sec-WebSocket-Version", "13")
	header.Set("Sec-WebSocket-Key", key)
	if err := r.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, r)
	if err != nil {
		return nil, err
	}
	a := &scriptAnswer{status: strconv.Itoa(resp.StatusCode), header: resp.Header}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		a.body = string(text)
		return a, err
	}
	if resp.Header.Get("Sec-WebSocket-Accept") != webSocketAccept(key) {
		return nil, errors.New("the upgrade is not the backend's")
	}
	if _, err := conn.Write([]byte{0x81, 0x80 | 5, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'}); err != nil {
		return nil, err
	}
	a.body, err = readFrame(in)
	return a, err
}
