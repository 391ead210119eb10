package integration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// example is a running copy of one folder of ../examples. The files of the copy differ from what is committed in the
// texts that name other machines and places: the URLs of issuers, the addresses of backends, that of the load
// balancer, and the folder of the logs. Where Caddy listens, its certificate and its admin endpoint are changed in the
// adapted configuration.
type example struct {
	t        *testing.T
	name     string
	from     string // the folder that is copied
	dir      string
	issuers  map[string]*oktatest.Server // by the name in the configuration, or the first label of the host
	backends map[string]string           // addresses, by what the configuration dials
	tokens   map[string]string
	clients  clientKeys
	texts    *strings.Replacer
	ports    map[string]string // addresses, by the port in the configuration
	admin    string
	audit    string     // a file with every audit line
	ca       *authority // of clients; nil: they sign their certificates themselves
	roots    *x509.CertPool
	pair     map[string]any
	client   *http.Client
	running  bool
}

// loadBalancer is the address that examples trust as a proxy.
const loadBalancer = "192.0.2.10/32"

func newExample(t *testing.T, name string) *example {
	t.Helper()
	e := &example{
		t: t, name: name, dir: t.TempDir(), admin: freeAddress(t), issuers: make(map[string]*oktatest.Server),
		backends: make(map[string]string), tokens: make(map[string]string), ports: make(map[string]string),
		clients: clientKeys{
			keys: make(map[string]*oktatest.Key), certificates: make(map[string]tls.Certificate), proofs: make(map[string]string),
		},
	}
	e.audit = filepath.Join(e.dir, "check-audit.json")
	var err error
	if e.from, err = filepath.Abs(filepath.Join("..", "examples", name)); err != nil {
		t.Fatal(err)
	}
	config, err := configOf(e.from)
	if err != nil {
		t.Fatal(err)
	}
	replaced := e.startServers(config)
	e.texts = strings.NewReplacer(append(replaced, "/var/log/caddy/", filepath.Join(e.dir, "logs")+"/", loadBalancer, "127.0.0.1/32")...)
	e.copyFolder()
	e.certify()
	e.certifyClients(config)
	t.Chdir(e.dir)
	t.Cleanup(e.stop)
	return e
}

// configOf returns the configuration of a folder as JSON.
func configOf(dir string) (map[string]any, error) {
	file := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(file)
	if err != nil {
		file = filepath.Join(dir, "Caddyfile")
		if text, err = os.ReadFile(file); err != nil {
			return nil, err
		}
		var warnings []caddyconfig.Warning
		text, warnings, err = caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": file})
		if err != nil || len(warnings) > 0 {
			return nil, fmt.Errorf("%s: %v, warnings %v", file, err, warnings)
		}
	}
	var config map[string]any
	err = json.Unmarshal(text, &config)
	return config, err
}

// startServers starts an authorization server and a backend for each that the configuration names, and returns what is
// replaced by what.
func (e *example) startServers(config map[string]any) (replaced []string) {
	e.t.Helper()
	urls := make(map[string]*oktatest.Server)
	var dials []string
	walk(config, "", func(key string, object map[string]any) {
		if dial, ok := object["dial"].(string); ok && !slices.Contains(dials, dial) {
			dials = append(dials, dial)
		}
		address, ok := object["url"].(string)
		audiences, _ := object["audience"].([]any)
		if !ok || len(audiences) == 0 {
			return
		}
		u, err := url.Parse(address)
		if err != nil {
			e.t.Fatal(err)
		}
		if key == "issuer" { // in place
			key, _, _ = strings.Cut(u.Hostname(), ".")
		}
		if urls[address] == nil {
			_, id, _ := strings.Cut(u.Path, "/oauth2/")
			server, err := oktatest.Start(oktatest.Config{ID: id, Audience: audiences[0].(string)})
			if err != nil {
				e.t.Fatal(err)
			}
			e.t.Cleanup(server.Close)
			urls[address] = server
		}
		e.issuers[key] = urls[address]
		if introspection, ok := object["introspection"].(map[string]any); ok {
			e.register(urls[address], introspection)
		}
	})
	// The longest first: the URL of Okta's org server is the beginning of others.
	longest := func(a, b string) int { return len(b) - len(a) }
	for _, address := range slices.SortedFunc(maps.Keys(urls), longest) {
		replaced = append(replaced, address, urls[address].Issuer())
	}
	slices.SortFunc(dials, longest)
	for _, dial := range dials {
		e.backends[dial] = startBackend(e.t).address
		replaced = append(replaced, dial, e.backends[dial])
	}
	return replaced
}

// register makes the gateway a client of an issuer that it asks about tokens: with the key in the file that the
// configuration names, or the secret in the environment.
func (e *example) register(server *oktatest.Server, introspection map[string]any) {
	e.t.Helper()
	text := func(name string) string {
		value, _ := introspection[name].(string)
		return value
	}
	gateway := oktatest.Client{ID: text("client_id")}
	if file := text("private_key"); file != "" {
		key := oktatest.NewKey("RS256").WithID(text("private_key_id"))
		gateway.Keys = []*oktatest.Key{key}
		if err := os.WriteFile(filepath.Join(e.dir, file), key.PrivatePEM(), 0o600); err != nil {
			e.t.Fatal(err)
		}
	} else {
		name, ok := strings.CutPrefix(text("client_secret"), "{env.")
		if !ok {
			e.t.Fatal("the client_secret of introspection stands in the file: write {env.NAME}")
		}
		gateway.Secret = "the secret of the gateway"
		e.t.Setenv(strings.TrimSuffix(name, "}"), gateway.Secret)
	}
	server.RegisterClient(gateway)
}

// walk visits every object, with the key under which it stands.
func walk(value any, key string, visit func(key string, object map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(key, value)
		for name, member := range value {
			walk(member, name, visit)
		}
	case []any:
		for _, member := range value {
			walk(member, key, visit)
		}
	}
}

func (e *example) copyFolder() {
	e.t.Helper()
	err := filepath.WalkDir(e.from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(e.dir, strings.TrimPrefix(name, e.from))
		if entry.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(to, []byte(e.texts.Replace(string(text))), 0o600)
	})
	if err != nil {
		e.t.Fatal(err)
	}
}

// certify makes a certificate for every host under example.com.
func (e *example) certify() {
	e.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		e.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "examples"}, DNSNames: []string{"*.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		e.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		e.t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	e.pair = map[string]any{"certificate": block("CERTIFICATE", der), "key": block("PRIVATE KEY", secret)}
	e.roots = x509.NewCertPool()
	e.roots.AppendCertsFromPEM([]byte(e.pair["certificate"].(string)))
	e.client = e.newClient()
}

// certifyClients makes the authority whose certificate the configuration trusts for clients, and writes it where that says.
func (e *example) certifyClients(config map[string]any) {
	e.t.Helper()
	walk(config, "", func(key string, object map[string]any) {
		files, _ := object["pem_files"].([]any)
		if key != "ca" || len(files) == 0 {
			return
		}
		e.ca = newAuthority(e.t)
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.ca.cert.Raw})
		for _, file := range files {
			if err := os.WriteFile(filepath.Join(e.dir, file.(string)), text, 0o600); err != nil {
				e.t.Fatal(err)
			}
		}
	})
}

// certificate returns what a client presents: CN=<name>,O=Example of the authority, or one that it signed itself.
func (e *example) certificate(name string) tls.Certificate {
	made, ok := e.clients.certificates[name]
	if !ok {
		if made = *oktatest.NewClientCertificate(name); e.ca != nil {
			made = e.ca.issue(pkix.Name{CommonName: name, Organization: []string{"Example"}})
		}
		e.clients.certificates[name] = made
	}
	return made
}

func (e *example) trust() *tls.Config { return &tls.Config{RootCAs: e.roots} }

// newClient makes a client that presents these certificates where it is asked for one.
func (e *example) newClient(certificates ...tls.Certificate) *http.Client {
	settings := e.trust()
	settings.Certificates = certificates
	return &http.Client{
		Timeout: 20 * time.Second, CheckRedirect: noRedirect,
		Transport: &http.Transport{TLSClientConfig: settings, DialContext: (&dialer{e}).dial, DisableKeepAlives: true},
	}
}

// load starts Caddy, or reloads it, with the configuration of the folder.
func (e *example) load() {
	e.t.Helper()
	config, err := configOf(e.dir)
	if err != nil {
		e.t.Fatal(err)
	}
	text, err := json.Marshal(e.confine(config))
	if err != nil {
		e.t.Fatal(err)
	}
	if err := caddy.Load(text, true); err != nil {
		e.t.Fatalf("loading: %v", err)
	}
	e.running = true
}

// confine changes a configuration so that it listens on loopback only, on free ports, with the certificate of the
// test, and so that audit lines can be compared.
func (e *example) confine(config map[string]any) map[string]any {
	e.t.Helper()
	at := func(parent map[string]any, key string) map[string]any {
		child, ok := parent[key].(map[string]any)
		if !ok {
			child = make(map[string]any)
			parent[key] = child
		}
		return child
	}
	admin := at(config, "admin")
	admin["listen"], admin["config"] = e.admin, map[string]any{"persist": false}
	logs := at(at(config, "logging"), "logs")
	if normal := at(logs, "default"); normal["writer"] == nil {
		normal["writer"] = map[string]any{"output": "discard"}
	}
	logs["check"] = map[string]any{
		"writer": map[string]any{"output": "file", "filename": e.audit}, "encoder": map[string]any{"format": "json"},
		"include": []string{"http.handlers.okta_auth.audit", "http.handlers.cel_policy.audit"}, "level": "DEBUG",
	}
	apps := at(config, "apps")
	apps["tls"] = map[string]any{"certificates": map[string]any{"load_pem": []any{e.pair}}}
	servers := at(at(apps, "http"), "servers")
	for name := range servers {
		server := at(servers, name)
		listen, _ := server["listen"].([]any)
		if len(listen) != 1 {
			e.t.Fatalf("server %s listens on %v, want one address", name, listen)
		}
		_, port, err := net.SplitHostPort(listen[0].(string))
		if err != nil {
			e.t.Fatal(err)
		}
		if e.ports[port] == "" {
			e.ports[port] = freeAddress(e.t)
		}
		server["listen"] = []string{e.ports[port]}
		server["automatic_https"] = map[string]any{"disable": true}
		server["protocols"] = []string{"h1", "h2"}
		if port == "443" && server["tls_connection_policies"] == nil {
			server["tls_connection_policies"] = []any{map[string]any{}}
		}
	}
	return config
}

func (e *example) stop() {
	e.client.CloseIdleConnections()
	if err := caddy.Stop(); err != nil {
		e.t.Errorf("stopping Caddy: %v", err)
	}
	e.running = false
}

// defaultPort is where requests go: to the first of the usual ones that the example listens on.
func (e *example) defaultPort() string {
	for _, port := range []string{"443", "8080"} {
		if e.ports[port] != "" {
			return port
		}
	}
	e.t.Fatalf("the example listens on %v, want 443 or 8080", e.ports)
	return ""
}

// audited returns the audit lines behind an offset of the file, and the next offset.
func (e *example) audited(offset int64) (lines []map[string]any, next int64) {
	e.t.Helper()
	file, err := os.Open(e.audit)
	if err != nil {
		return nil, 0
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, offset, 1<<30))
	if err != nil {
		e.t.Fatal(err)
	}
	for text := range bytes.Lines(text) {
		var line map[string]any
		if err := json.Unmarshal(text, &line); err != nil {
			e.t.Fatalf("%v: %s", err, text)
		}
		lines = append(lines, line)
	}
	return lines, offset + int64(len(text))
}
