// Command mcp is a small server of the Model Context Protocol, revision 2025-06-18, over streamable HTTP. It has no code
// that authenticates anybody: the gateway in front of it says in X-User-ID who is calling, and lets only those reach an
// endpoint who may use its tools.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// revision is the one revision of the protocol that this server speaks.
const revision = "2025-06-18"

// maxMessage bounds what is read of a request.
const maxMessage = 1 << 20

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	origins := flag.String("origins", "", "origins of web pages that may call, separated by commas")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	orders := newOrders()
	mux := http.NewServeMux()
	for path, tools := range map[string][]tool{"/mcp/read": orders.reading(), "/mcp/admin": orders.changing()} {
		mux.Handle(path, &endpoint{origins: strings.Split(*origins, ","), tools: tools})
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
	log.Fatal(server.Serve(listener))
}

// tool is what a client can call. The members with a JSON form are what tools/list shows.
type tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"inputSchema"`

	call func(caller, id string) (string, error)
}

// endpoint is an MCP endpoint with tools of its own: no other tool can be called here.
type endpoint struct {
	origins []string
	tools   []tool
}

// message is a request, a notification, or a response.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

// answer is a response to a request.
type answer struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *failure        `json:"error,omitempty"`
}

// failure is an error of JSON-RPC.
type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// The codes of JSON-RPC 2.0, §5.1.
const (
	parseError     = -32700
	invalidRequest = -32600
	methodNotFound = -32601
	invalidParams  = -32602
)

// ServeHTTP takes one message. Requests are answered with one JSON object; there are no streams and no sessions.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A web page could reach a server on the user's own machine by DNS rebinding. Programs send no Origin.
	if origin := r.Header.Get("Origin"); origin != "" && !slices.Contains(e.origins, origin) {
		http.Error(w, "this origin may not call", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "this server neither streams nor keeps sessions", http.StatusMethodNotAllowed)
		return
	}
	// Without the header a client speaks an older revision: nothing that this server does was different there.
	if v := r.Header.Get("MCP-Protocol-Version"); v != "" && v != revision {
		http.Error(w, "this server speaks "+revision, http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		failed := &failure{parseError, "the body is not JSON"}
		if json.Valid(body) {
			failed = &failure{invalidRequest, "the body is not one message"}
		}
		reply(w, http.StatusBadRequest, answer{ID: json.RawMessage("null"), Error: failed})
		return
	}
	switch {
	case m.Version != "2.0" || m.Method == "" && m.ID == nil || m.ID != nil && !isID(m.ID):
		reply(w, http.StatusBadRequest, answer{ID: json.RawMessage("null"), Error: &failure{invalidRequest, "not a message of JSON-RPC 2.0"}})
	case m.Method == "" || m.ID == nil: // a response or a notification: nothing here waits for one
		w.WriteHeader(http.StatusAccepted)
	default:
		result, failed := e.handle(&m, r.Header.Get("X-User-ID"))
		reply(w, http.StatusOK, answer{ID: m.ID, Result: result, Error: failed})
	}
}

// isID tells a text or a number. Unlike in JSON-RPC, null is not allowed.
func isID(id json.RawMessage) bool { return strings.ContainsRune(`"-0123456789`, rune(id[0])) }

func reply(w http.ResponseWriter, status int, a answer) {
	a.Version = "2.0"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(a); err != nil {
		log.Print(err)
	}
}

func (e *endpoint) handle(m *message, caller string) (result any, failed *failure) {
	switch m.Method {
	case "initialize": // whatever revision was asked for: this is the one that there is
		return map[string]any{
			"protocolVersion": revision,
			"capabilities":    map[string]any{"tools": map[string]any{}},
			"serverInfo":      map[string]any{"name": "orders", "version": "1.0.0"},
		}, nil
	case "ping":
		return struct{}{}, nil
	case "tools/list":
		return map[string]any{"tools": e.tools}, nil
	case "tools/call":
		return e.call(m.Params, caller)
	}
	return nil, &failure{methodNotFound, "there is no such method"}
}

// call runs a tool of this endpoint. What goes wrong in it is a result, for the model to read.
func (e *endpoint) call(params json.RawMessage, caller string) (result any, failed *failure) {
	var p struct {
		Name      string `json:"name"`
		Arguments struct {
			ID string `json:"id"`
		} `json:"arguments"`
	}
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, &failure{invalidParams, "the parameters do not fit"}
	}
	n := slices.IndexFunc(e.tools, func(t tool) bool { return t.Name == p.Name })
	if n < 0 {
		return nil, &failure{invalidParams, "there is no such tool"}
	}
	text, err := e.tools[n].call(caller, p.Arguments.ID)
	if err != nil {
		text = err.Error()
	}
	return map[string]any{"content": []any{map[string]any{"type": "text", "text": text}}, "isError": err != nil}, nil
}
