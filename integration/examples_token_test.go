package integration

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// clientKeys are what clients hold beside their tokens, by the names that the script gives them.
type clientKeys struct {
	keys         map[string]*oktatest.Key
	certificates map[string]tls.Certificate
	proofs       map[string]string // the last one that each key made
	nonce        string            // the last one that the gateway gave out
}

func (c *clientKeys) key(name string) *oktatest.Key {
	if c.keys[name] == nil {
		c.keys[name] = oktatest.NewKey("ES256")
	}
	return c.keys[name]
}

// scriptToken is a token that an issuer makes.
type scriptToken struct {
	name, kind, subject, issuer string
	bound                       [2]string // "key" or "certificate", and its name
	at                          string    // the URL of the resource that leads to the issuer
	scopes                      []string
	options                     []oktatest.Option
}

// parseToken parses "<name> <kind> <subject> …".
func parseToken(args []string) (func(*example) error, error) {
	t := &scriptToken{name: args[0], kind: args[1], subject: args[2]}
	if !slices.Contains([]string{"user", "service", "id", "rfc9068", "org", "opaque", "refresh"}, t.kind) {
		return nil, fmt.Errorf("unknown kind of token %q", t.kind)
	}
	for words := args[3:]; len(words) > 0; words = words[1:] {
		claim, value, isClaim := strings.Cut(words[0], "=")
		switch {
		case words[0] == "of" && len(words) > 1:
			t.issuer, words = words[1], words[1:]
		case words[0] == "at" && len(words) > 1:
			t.at, words = words[1], words[1:]
		case words[0] == "bound" && len(words) > 2 && (words[1] == "key" || words[1] == "certificate"):
			t.bound, words = [2]string{words[1], words[2]}, words[2:]
		case words[0] == "expired":
			t.options = append(t.options, oktatest.IssuedAgo(2*time.Hour))
		case words[0] == "forged":
			t.options = append(t.options, oktatest.Forged())
		case !isClaim:
			return nil, fmt.Errorf("unknown word %q", words[0])
		case claim == "scopes":
			t.scopes = strings.Split(value, ",")
			t.options = append(t.options, oktatest.Scopes(t.scopes...))
		case claim == "groups":
			t.options = append(t.options, oktatest.Groups(strings.Split(value, ",")...))
		default:
			t.options = append(t.options, oktatest.With(claim, claimValue(value)))
		}
	}
	if t.at != "" {
		if t.kind != "service" || t.issuer != "" || t.bound[0] != "" || t.scopes == nil || len(t.options) > 1 {
			return nil, errors.New("a token from a URL is written token <name> service <client> at <url> scopes=<scope>,…")
		}
		return t.discover, nil
	}
	return t.issue, nil
}

// issue has the issuer make the token, on demand.
func (t *scriptToken) issue(e *example) error {
	issuer, err := e.issuer(t.issuer)
	if err != nil {
		return err
	}
	options := slices.Clone(t.options)
	switch t.bound[0] {
	case "key":
		options = append(options, oktatest.BoundTo(e.clients.key(t.bound[1]).Thumbprint()))
	case "certificate":
		options = append(options, oktatest.BoundToCertificate(e.certificate(t.bound[1]).Leaf))
	}
	kinds := map[string]func(string, ...oktatest.Option) string{
		"user": e.issuers[issuer].UserToken, "service": e.issuers[issuer].ServiceToken, "id": e.issuers[issuer].IDToken,
		"rfc9068": e.issuers[issuer].RFC9068Token, "org": e.issuers[issuer].OrgToken,
		"opaque": e.issuers[issuer].OpaqueToken, "refresh": e.issuers[issuer].RefreshToken,
	}
	e.tokens[t.name] = kinds[t.kind](t.subject, options...)
	return nil
}

var metadataOfResource = regexp.MustCompile(`resource_metadata="([^"]+)"`)

// discover gets the token as a client does that knows the URL of the resource, and a secret at the issuer: the challenge
// names the resource's metadata (RFC 9728 §5.1), that names the issuer, and the issuer's metadata (RFC 8414 §3) names
// where tokens are.
func (t *scriptToken) discover(e *example) error {
	if !e.running {
		e.load()
	}
	refused, err := e.client.Get(t.at)
	if err != nil {
		return err
	}
	refused.Body.Close()
	found := metadataOfResource.FindStringSubmatch(refused.Header.Get("WWW-Authenticate"))
	if refused.StatusCode != http.StatusUnauthorized || found == nil {
		return fmt.Errorf("status %d, and the challenge %q names no metadata", refused.StatusCode, refused.Header.Get("WWW-Authenticate"))
	}
	var resource struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
	}
	if err := getJSON(e.client, found[1], &resource); err != nil {
		return err
	}
	if resource.Resource != t.at || len(resource.Servers) != 1 { // RFC 9728 §3.3
		return fmt.Errorf("the metadata of %s is about %s, with the issuers %v", t.at, resource.Resource, resource.Servers)
	}
	for _, issuer := range e.issuers {
		if issuer.Issuer() != resource.Servers[0] {
			continue
		}
		issuer.RegisterClient(oktatest.Client{ID: t.subject, Secret: "the secret of the client", Scopes: t.scopes})
		var server struct {
			Token string `json:"token_endpoint"`
		}
		if err := getJSON(issuer.Client(), wellKnownOf(resource.Servers[0]), &server); err != nil {
			return err
		}
		form := url.Values{
			"grant_type": {"client_credentials"}, "scope": {strings.Join(t.scopes, " ")},
			"client_id": {t.subject}, "client_secret": {"the secret of the client"},
		}
		resp, err := issuer.Client().PostForm(server.Token, form)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var granted struct {
			Token string `json:"access_token"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&granted); err != nil || granted.Token == "" {
			return fmt.Errorf("the token endpoint answered %d: %v", resp.StatusCode, err)
		}
		e.tokens[t.name] = granted.Token
		return nil
	}
	return fmt.Errorf("%s is none of the issuers", resource.Servers[0])
}

// wellKnownOf returns where the metadata of an issuer is: between its host and its path (RFC 8414 §3.1).
func wellKnownOf(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return issuer
	}
	u.Path = "/.well-known/oauth-authorization-server" + u.Path
	return u.String()
}

func getJSON(client *http.Client, url string, into any) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: status %d", url, resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// revoke makes a token inactive at the issuer that knows it.
func (e *example) revoke(name string) error {
	token, ok := e.tokens[name]
	if !ok {
		return fmt.Errorf("no token %q", name)
	}
	for _, issuer := range e.issuers {
		issuer.Revoke(token)
	}
	return nil
}

// claimValue reads a time that is counted from now, JSON, or a text.
func claimValue(text string) any {
	if ago, err := time.ParseDuration(text); err == nil && strings.HasPrefix(text, "-") {
		return time.Now().Add(ago).Unix()
	}
	var value any
	if json.Unmarshal([]byte(text), &value) == nil {
		return value
	}
	return text
}

// What is said of keys, proofs and discovery must be said in full.
func TestExampleScriptsAreStrictAboutKeys(t *testing.T) {
	const good = "GET / -> 200\n"
	for name, text := range map[string]string{
		"bound to nothing":             good + "token alice user alice bound key\n",
		"bound to something else":      good + "token alice user alice bound card laptop\n",
		"a URL without scopes":         good + "token agent service 0oaAgent at https://api.example.com/\n",
		"a URL for a user":             good + "token alice user alice at https://api.example.com/ scopes=a\n",
		"a URL with claims":            good + "token agent service 0oaAgent at https://api.example.com/ scopes=a groups=b\n",
		"a URL and an issuer":          good + "token agent service 0oaAgent of acme at https://api.example.com/ scopes=a\n",
		"a proof without a token":      "GET / proof laptop -> 200\n",
		"a proof made in another way":  "GET / as alice proof laptop tomorrow -> 200\n",
		"a proof for a stream":         "GRPC /a.B/c as alice proof laptop -> OK\n",
		"a certificate for a stream":   "WEBSOCKET / certificate gate -> 101\n",
		"nothing to revoke":            good + "revoke\n",
		"a backend that runs nothing":  good + "backend a:1 runs\n",
		"a backend that runs and more": good + "backend a:1 runs . fast\n",
	} {
		if _, err := parseScript(text); err == nil {
			t.Errorf("%s: the script is accepted:\n%s", name, text)
		}
	}
	s, err := parseScript("token alice user alice bound key laptop\nGET / as alice proof laptop nonce certificate gate -> 200\nrevoke alice\n")
	if err != nil || len(s.steps) != 3 {
		t.Errorf("a good script = %v, %v", s, err)
	}
}
