package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// describe prints what runs where, and a curl line for each step.
func (w *world) describe(out io.Writer) {
	fmt.Fprintf(out, "gateway (Caddy)       http://%s\n", w.gateway)
	fmt.Fprintf(out, "Caddy's admin API     http://%s\n", w.admin)
	fmt.Fprintf(out, "authorization server  %s\n", w.issuer.Issuer())
	fmt.Fprintf(out, "echo backend          http://%s\n", w.backend.address())
	fmt.Fprintf(out, "stage (fresh tokens)  http://%s\n", w.stage.address())
	fmt.Fprintln(out, "\nPaste any line into a shell with curl. Behind each: what to expect. Ctrl-C ends.")
	for i, story := range stories() {
		fmt.Fprintf(out, "\n%d. %s\n", i+1, story.title)
		for _, step := range story.steps {
			fmt.Fprintf(out, "  # %s: %d\n  %s\n", step.says, step.want(), w.curl(step))
		}
	}
}

// curl returns the step as a command. Tokens come fresh from the stage each time.
func (w *world) curl(s step) string {
	var b strings.Builder
	b.WriteString("curl -si --path-as-is")
	if s.method != "" && s.method != http.MethodGet {
		b.WriteString(" -X " + s.method)
	}
	if s.token != "" {
		fmt.Fprintf(&b, ` -H "Authorization: Bearer $(curl -s http://%s/token/%s)"`, w.stage.address(), s.token)
	}
	for _, header := range s.headers {
		fmt.Fprintf(&b, " -H '%s'", header)
	}
	if s.post != "" {
		b.WriteString(" -H 'Content-Type: text/caddyfile' --data-binary @-")
	}
	fmt.Fprintf(&b, " 'http://%s%s'", w.address(s.server), s.path)
	if s.post != "" {
		return fmt.Sprintf("curl -s 'http://%s%s' | %s", w.stage.address(), s.post, b.String())
	}
	return b.String()
}

func (w *world) address(name serverName) string {
	switch name {
	case stage:
		return w.stage.address()
	case admin:
		return w.admin
	}
	return w.gateway
}

// play runs all stories and reports each request.
func (w *world) play(ctx context.Context, out io.Writer) error {
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	failed := 0
	for i, story := range stories() {
		fmt.Fprintf(out, "%d. %s\n", i+1, story.title)
		for _, step := range story.steps {
			verdict := "ok  "
			got, err := w.try(ctx, client, step)
			if err != nil {
				verdict = "FAIL"
				failed++
			}
			fmt.Fprintf(out, "   %s %-7s %-18s expected %d, got %d  (%s)\n", verdict, step.verb(), step.path, step.want(), got, step.says)
			if err != nil {
				fmt.Fprintf(out, "        %v\n", err)
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d requests were not answered as expected", failed)
	}
	return nil
}

func (s step) verb() string {
	if s.method == "" {
		return http.MethodGet
	}
	return s.method
}

// try sends the request of a step and compares what comes back.
func (w *world) try(ctx context.Context, client *http.Client, s step) (got int, err error) {
	want := s.want()
	r, err := w.request(ctx, client, s)
	if err != nil {
		return 0, err
	}
	reached := w.reached.Load()
	resp, err := client.Do(r)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		// Caddy drops a connection that waits for its old listener while a new configuration takes over.
		if r, err = w.request(ctx, client, s); err == nil {
			resp, err = client.Do(r)
		}
	}
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer bytes.Buffer
	if err := resp.Header.Write(&answer); err != nil {
		return resp.StatusCode, err
	}
	if _, err := answer.ReadFrom(resp.Body); err != nil {
		return resp.StatusCode, err
	}
	text := regexp.MustCompile(`\s+`).ReplaceAllString(answer.String(), " ")
	if resp.StatusCode != want && resp.StatusCode != s.want() { // the office may close in between
		return resp.StatusCode, fmt.Errorf("the answer was %s", text)
	}
	for _, part := range s.holds {
		if !strings.Contains(text, part) {
			return resp.StatusCode, fmt.Errorf("the answer lacks %s: %s", part, text)
		}
	}
	for _, part := range s.lacks {
		if strings.Contains(text, part) {
			return resp.StatusCode, fmt.Errorf("the answer holds %s: %s", part, text)
		}
	}
	if reachedNow := w.reached.Load() > reached; s.server == gateway && reachedNow != (s.backend && resp.StatusCode == http.StatusOK) {
		return resp.StatusCode, fmt.Errorf("the backend was reached: %t", reachedNow)
	}
	return resp.StatusCode, nil
}

func (w *world) request(ctx context.Context, client *http.Client, s step) (*http.Request, error) {
	var body io.Reader
	if s.post != "" {
		text, err := w.fetch(ctx, client, s.post)
		if err != nil {
			return nil, err
		}
		body = strings.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, s.verb(), "http://"+w.address(s.server), body)
	if err != nil {
		return nil, err
	}
	r.URL.Path = s.path
	if s.post != "" {
		r.Header.Set("Content-Type", "text/caddyfile")
	}
	for _, header := range s.headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header[name] = append(r.Header[name], value) // spelled as it is
	}
	if s.token != "" {
		token, err := w.fetch(ctx, client, "/token/"+s.token)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r, nil
}

// fetch gets something from the stage.
func (w *world) fetch(ctx context.Context, client *http.Client, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.stage.address()+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the stage answered %s to %s", resp.Status, path)
	}
	return string(text), err
}
