package discovery

import (
	"bufio"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// response reads an answer as it is on the wire.
func response(r *http.Request, text string) (*http.Response, error) {
	return http.ReadResponse(bufio.NewReader(strings.NewReader(text)), r)
}

// The rest of this file uses a real network on loopback.

func TestGetFollowsRedirectsOnTheSameHostOnly(t *testing.T) {
	var here, elsewhere *httptest.Server
	mux := http.NewServeMux()
	mux.HandleFunc("/0", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.UserAgent() != "caddy-okta" || r.Header.Get("Accept") != "application/json" {
			t.Errorf("the request is %s, %v", r.Method, r.Header)
		}
		_, _ = w.Write([]byte("here"))
	})
	for from, to := range map[string]string{"/1": "/0", "/2": "/1", "/3": "/2", "/4": "/3"} {
		mux.Handle(from, http.RedirectHandler(to, http.StatusFound))
	}
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/0", http.StatusFound)
	})
	mux.HandleFunc("/secure", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(here.URL, "http", "https", 1)+"/0", http.StatusFound)
	})
	here = httptest.NewServer(mux)
	defer here.Close()
	elsewhere = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect to another host was followed")
	}))
	defer elsewhere.Close()
	transport, err := Transport("")
	if err != nil {
		t.Fatal(err)
	}
	c := New(transport, false)
	defer c.CloseIdleConnections()
	for _, tt := range []struct{ path, want string }{
		{"/0", ""}, {"/1", ""}, {"/3", ""},
		{"/4", "redirected more than 3 times"},
		{"/away", "redirected to another place"},
		{"/secure", "redirected to another place"},
	} {
		d, err := c.Get(t.Context(), here.URL+tt.path)
		if tt.want == "" && (err != nil || string(d.Body) != "here") || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("Get(%s) = %v, %v, want an error with %q", tt.path, d, err, tt.want)
		}
	}
}

func TestRetryAfterOfAnOverloadedIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			status, value string
			want          time.Duration
		}{
			{"503 Busy", "7", 7 * time.Second},
			{"429 Slow", "7", 7 * time.Second},
			{"500 Broken", "7", 0},
			{"404 Nothing", "7", 0},
			{"503 Busy", "3600", time.Minute},
			{"503 Busy", strings.Repeat("9", 100), time.Minute},
			{"503 Busy", "", 0},
			{"503 Busy", "-7", 0},
			{"503 Busy", "7s", 0},
			{"503 Busy", time.Now().Add(9 * time.Second).UTC().Format(http.TimeFormat), 9 * time.Second},
			{"503 Busy", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), time.Minute},
			{"503 Busy", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0},
		} {
			at := pages{"https://a.test/": "HTTP/1.1 " + tt.status + "\r\nRetry-After: " + tt.value + "\r\n\r\n"}
			_, err := New(at, false).Get(t.Context(), "https://a.test/")
			var status *StatusError
			if !errors.As(err, &status) || status.RetryAfter != tt.want || status.URL != "https://a.test/" || status.Status == 0 {
				t.Errorf("%s with Retry-After %q: %+v, want %s", tt.status, tt.value, err, tt.want)
			}
		}
	})
}

func TestMaxAge(t *testing.T) {
	for _, tt := range []struct {
		header string
		want   time.Duration
		ok     bool
	}{
		{"Cache-Control: max-age=60", time.Minute, true},
		{"Cache-Control: no-store, MAX-AGE = \"60\" , must-revalidate", time.Minute, true},
		{"Cache-Control: private\r\nCache-Control: max-age=60", time.Minute, true},
		{"Cache-Control: max-age=0", 0, true},
		{"Cache-Control: s-maxage=60", 0, false},
		{"Cache-Control: max-age=-1", 0, false},
		{"Cache-Control: max-age", 0, false},
		{"X: y", 0, false},
	} {
		at := pages{"https://a.test/": "HTTP/1.1 200 OK\r\n" + tt.header + "\r\n\r\n"}
		d, err := New(at, false).Get(t.Context(), "https://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := d.MaxAge(); got != tt.want || ok != tt.ok {
			t.Errorf("MaxAge(%q) = %s, %t, want %s, %t", tt.header, got, ok, tt.want, tt.ok)
		}
	}
}
